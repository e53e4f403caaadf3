"""What an evaluation tells W&B, read back from what wandb wrote offline; and nothing without a key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evaluation.summary import MEASURES, PASS
from evaluation.wandb_rollouts import COLUMNS, COMPONENTS
from evaluation.wandb_session import WandbError
from project_types import ConfigurationError
from tests.builders.scenarios import write_scenarios
from tests.fakes.offline_wandb import OFFLINE, documented, python
from tests.fakes.wandb_files import offline_runs


@pytest.mark.slow
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
    measured = {*MEASURES, PASS} - {"false_accusation"}  # something is wrong in every scenario here
    expected = {f"evaluation/{name}{end}" for name in measured for end in ("", "_low", "_high")}
    assert one.metrics() == expected | {"evaluation/rollouts", "evaluation/scenarios", "evaluation/episodes"}
    assert one.artifacts[f"{one.id}-report"]["files"] == {"report.html", "summary.json", "run.json"}
    assert not (tmp_path / "foreign.log").exists()


def test_the_columns_of_the_table_are_documented_and_no_other() -> None:
    parts = {f"reward_{name}" for name in COMPONENTS}
    assert documented("Table of rollouts") == (set(COLUMNS) - parts) | {"reward_COMPONENT"}


def test_a_refusal_of_wandb_is_a_mistake_in_the_settings() -> None:
    assert issubclass(WandbError, ConfigurationError)


@pytest.mark.slow
def test_errors_of_wandb_are_reported_to_nobody_unless_asked_for(tmp_path: Path) -> None:
    code = "import os; from make_judge_model import prepare_wandb; prepare_wandb(); print(os.environ['WANDB_ERROR_REPORTING'])"
    said: dict[str, Any] = {
        asked: python(tmp_path, "-c", code, **asked_for(asked)).stdout.strip() for asked in ("", "true")
    }
    assert said == {"": "false", "true": "true"}


def asked_for(reporting: str) -> dict[str, str]:
    return {"WANDB_ERROR_REPORTING": reporting} if reporting else {}
