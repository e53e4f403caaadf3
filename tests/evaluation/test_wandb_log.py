"""What wandb wrote offline is read back: one run per training run, metrics, tables, artifacts; and nothing
without a key.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from evaluation import wandb_log
from evaluation.summary import MEASURES, PASS
from project_types import ConfigurationError
from tests.evaluation.made import write_scenarios
from tests.fakes.wandb_files import OfflineRun, offline_runs

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "wandb.md").read_text(encoding="utf-8")
GUARD = ROOT / "tests" / "fakes" / "only_loopback"
OURS = ("WANDB_", "WEAVE_", "WF_")


def python(folder: Path, *arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run Python with W&B's files below `folder`, where every socket that leaves the machine is refused and
    written down.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    guard = {
        "PYTHONPATH": f"{GUARD}{os.pathsep}{ROOT}",
        "ONLY_LOOPBACK_LOG": str(folder / "foreign.log"),
        "WANDB_DIR": str(folder),
    }
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(
        command,
        cwd=folder,
        env=kept | guard | variables,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


OFFLINE: Mapping[str, str] = {"WANDB_API_KEY": 40 * "0", "WANDB_MODE": "offline"}


def documented(section: str) -> set[str]:
    """The names in the first column of a section's table; NAME/* stands for every metric that begins so."""
    text = PAGE.split(f"\n## {section}\n", 1)[1].split("\n## ", 1)[0]
    cells = re.findall(r"^\| (`.+?) \|", text, re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


# ---------------------------------------------------------------------------------------------- without a key


def test_without_a_key_nothing_is_told(tmp_path: Path) -> None:
    split = write_scenarios(tmp_path / "split", "aa01")
    (tmp_path / "run.py").write_text(
        "import sys; from evaluation.__main__ import main; code = main(sys.argv[1:]);"
        "print(code, sorted({'wandb', 'weave'} & set(sys.modules)))"
    )
    command = (
        "run",
        "--policy",
        "script:first-error",
        "--split",
        split,
        "--out",
        tmp_path / "out",
        "--no-explain",
    )
    done = python(tmp_path, tmp_path / "run.py", *command)
    assert done.stdout.splitlines()[-1] == "0 []"
    assert not (tmp_path / "foreign.log").exists()
    assert not (tmp_path / "wandb").exists()


def test_a_log_that_is_attached_to_nothing_does_nothing(tmp_path: Path) -> None:
    told = wandb_log.TrainingLog()
    told.examined("val", 0, [])
    told.conclude(tmp_path, {}, [], 0)
    assert list(tmp_path.iterdir()) == []


# --------------------------------------------------------------------------------------------- a training run


@pytest.fixture(scope="module")
def sessions(tmp_path_factory: pytest.TempPathFactory) -> list[OfflineRun]:
    """The two sessions of a run that was resumed after its first step."""
    folder = tmp_path_factory.mktemp("wandb") / "seed7"
    folder.mkdir()
    contents = {
        "config.json": json.dumps({"name": "seed7", "config": {"steps": 2}}),
        "summary.json": "{}",
        "metrics.jsonl": "",
    }
    for name, content in {**contents, "report.html": "<h1>before and after</h1>"}.items():
        (folder / name).write_text(content)
    for step in (1, 2):
        python(folder, "-m", "tests.fakes.wandb_training", folder, step, step, **OFFLINE)
    assert not (folder / "foreign.log").exists()
    return offline_runs(folder)


@pytest.mark.slow
def test_a_resumed_training_run_is_one_run_of_wandb(sessions: list[OfflineRun]) -> None:
    assert [(run.id, run.project, run.exit_code) for run in sessions] == 2 * [("seed7", "tests", 0)]


@pytest.mark.slow
def test_the_configuration_of_a_run_is_what_its_folder_says(sessions: list[OfflineRun]) -> None:
    assert sessions[0].config["name"] == "seed7"
    assert sessions[0].config["config"] == {"steps": 2}


@pytest.mark.slow
def test_every_metric_is_documented_and_no_other(sessions: list[OfflineRun]) -> None:
    names = documented("Metrics of a training run")
    families = {name[:-1] for name in names if name.endswith("/*")}
    logged = sessions[0].metrics()
    split = re.compile(r"(train|val|val_sampled|test|test_sampled)/")
    plain = {split.sub("SPLIT/", name) for name in logged if not name.startswith(tuple(families))}
    assert plain == {name for name in names if not name.endswith("/*")}
    assert all(any(name.startswith(family) for name in logged) for family in families)


@pytest.mark.slow
def test_every_evaluation_has_checkpoints_as_its_axis(sessions: list[OfflineRun]) -> None:
    assert {"train/*", "val/*", "val_sampled/*", "test/*", "test_sampled/*"} <= sessions[0].steps.keys()
    assert set(sessions[0].steps.values()) == {"training_step"}
    at = [row["training_step"] for session in sessions for row in session.history if "val/rollouts" in row]
    assert at == [1, 2]


@pytest.mark.slow
@pytest.mark.parametrize("split", ["val", "test", "test_sampled"])
def test_an_evaluation_is_a_table_of_rollouts(sessions: list[OfflineRun], split: str) -> None:
    table = sessions[1].table(f"{split}/rollouts")
    assert tuple(table["columns"]) == wandb_log.COLUMNS
    right, *_, hostile = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
    parts = [right[f"reward_{name}"] for name in wandb_log.COMPONENTS]
    assert len(table["data"]) == 4
    says = ("s0", "answered", "right", "decided by the test")
    assert (right["scenario"], right["ending"], right["verdict"], right["reason"]) == says
    assert (
        right["reward"]
        == pytest.approx(sum(parts))
        == pytest.approx(right["reward_band"] + right["reward_few_turns"])
    )
    assert "Orders fail." in right["transcript"]
    assert "Orders \\ud800 fail <script>" in hostile["transcript"]
    assert "characters left out" in hostile["transcript"]
    assert len(hostile["transcript"]) < wandb_log.LONGEST_TRANSCRIPT + 100


@pytest.mark.slow
def test_the_report_the_configuration_and_the_names_of_checkpoints_are_an_artifact(
    sessions: list[OfflineRun],
) -> None:
    report = sessions[1].artifacts["seed7-report"]
    assert report["type"] == "report"
    assert report["files"] == {
        "report.html",
        "summary.json",
        "config.json",
        "metrics.jsonl",
        "checkpoints.json",
    }
    assert report["metadata"] == {"base_model": "tiny", "best": "seed7@2", "latest": "seed7@2"}
    (shown,) = [row["report"]["path"] for row in sessions[1].history if "report" in row]
    assert "before and after" in (sessions[1].files / shown).read_text()


def test_checkpoints_are_called_what_the_backend_calls_them() -> None:
    rows = [
        {"split": "val", "step": 0, "checkpoint": 0, "reward": -0.5},
        {"split": "train", "step": 1, "checkpoint": 1, "reward": 0.0},
        {"split": "val", "step": 1, "checkpoint": 1, "reward": 0.25},
        {"split": "train", "step": 2, "checkpoint": 2, "reward": 0.1},
    ]
    found = wandb_log.checkpoints({"base_model": "tiny", "best_checkpoint": 1}, rows, "run:step{}".format)
    assert found["best"] == {"step": 1, "name": "run:step1"}
    assert found["latest"] == {"step": 2, "name": "run:step2"}
    assert [(one["name"], one["reward"]) for one in found["validated"]] == [
        ("run:step0", -0.5),
        ("run:step1", 0.25),
    ]


# ---------------------------------------------------------------------------------------------- an evaluation


@pytest.mark.slow
def test_an_evaluation_is_logged_once_and_goes_on_in_its_run(tmp_path: Path) -> None:
    split = write_scenarios(tmp_path / "split", "aa01", "aa02")
    command = (
        "-m",
        "evaluation",
        "run",
        "--policy",
        "script:first-error",
        "--split",
        split,
        "--out",
        tmp_path / "eval-first",
    )
    first = python(tmp_path, *command, "--no-explain", **OFFLINE)
    again = python(tmp_path, *command, "--no-explain", **OFFLINE)
    (tmp_path / "eval-first" / "wandb.json").write_text("{damaged")
    more = python(tmp_path, *command, "--no-explain", "--k", 2, **OFFLINE)
    silent = python(tmp_path, *command, "--no-explain", "--k", 3, "--no-wandb", **OFFLINE)
    assert "W&B run eval-" in first.stderr
    assert "W&B has these episodes" in again.stderr
    assert "W&B run eval-" in more.stderr
    assert "W&B" not in silent.stderr
    one, two = offline_runs(tmp_path)
    assert one.id == two.id == json.loads((tmp_path / "eval-first" / "wandb.json").read_text())["run"]
    assert [len(run.table("evaluation/rollouts")["data"]) for run in (one, two)] == [2, 4]
    assert (one.job_type, one.config["evaluation"]["policy"]) == ("evaluation", "script:first-error")
    expected = {f"evaluation/{name}{end}" for name in (*MEASURES, PASS) for end in ("", "_low", "_high")}
    assert one.metrics() == expected | {"evaluation/rollouts", "evaluation/scenarios", "evaluation/episodes"}
    assert one.artifacts[f"{one.id}-report"]["files"] == {"report.html", "summary.json", "run.json"}
    assert not (tmp_path / "foreign.log").exists()


# --------------------------------------------------------------------------------------------------- the page


def test_the_columns_of_the_table_are_documented_and_no_other() -> None:
    parts = {f"reward_{name}" for name in wandb_log.COMPONENTS}
    assert documented("Table of rollouts") == (set(wandb_log.COLUMNS) - parts) | {"reward_COMPONENT"}


def test_a_refusal_of_wandb_is_a_mistake_in_the_settings() -> None:
    assert issubclass(wandb_log.WandbError, ConfigurationError)


def test_errors_of_wandb_are_reported_to_nobody_unless_asked_for(tmp_path: Path) -> None:
    code = "import os; from make_judge_model import prepare_wandb; prepare_wandb(); print(os.environ['WANDB_ERROR_REPORTING'])"
    said: dict[str, Any] = {
        asked: python(tmp_path, "-c", code, **asked_for(asked)).stdout.strip() for asked in ("", "true")
    }
    assert said == {"": "false", "true": "true"}


def asked_for(reporting: str) -> dict[str, str]:
    return {"WANDB_ERROR_REPORTING": reporting} if reporting else {}
