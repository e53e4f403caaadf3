"""What a training run tells W&B, read back from what wandb wrote offline: one run,
metrics, tables, artifacts.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from evaluation.wandb_rollouts import COLUMNS, COMPONENTS, LONGEST_TRANSCRIPT
from tests.fakes.offline_wandb import OFFLINE, documented, python
from tests.fakes.wandb_files import OfflineRun, offline_runs
from training_runs.wandb_log import TrainingLog, checkpoints


def test_a_log_that_is_attached_to_nothing_does_nothing(tmp_path: Path) -> None:
    told = TrainingLog()
    told.examined("val", 0, [])
    told.conclude(tmp_path, {}, [], 0)
    assert list(tmp_path.iterdir()) == []


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
    assert tuple(table["columns"]) == COLUMNS
    right, *_, hostile = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
    parts = [right[f"reward_{name}"] for name in COMPONENTS]
    assert len(table["data"]) == 4
    says = ("s0", "answered", "right", "quotes decisive evidence")
    assert (right["scenario"], right["ending"], right["verdict"], right["reason"]) == says
    assert right["reward"] == pytest.approx(sum(parts))
    assert right["reward_band"] > 0
    assert "Orders fail" in right["transcript"]
    assert "Orders \\ud800 fail <script>" in hostile["transcript"]
    assert "characters left out" in hostile["transcript"]
    assert len(hostile["transcript"]) < LONGEST_TRANSCRIPT + 100


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
    found = checkpoints({"base_model": "tiny", "best_checkpoint": 1}, rows, "run:step{}".format)
    assert found["best"] == {"step": 1, "name": "run:step1"}
    assert found["latest"] == {"step": 2, "name": "run:step2"}
    assert [(one["name"], one["reward"]) for one in found["validated"]] == [
        ("run:step0", -0.5),
        ("run:step1", 0.25),
    ]
