"""The whole training loop runs with either line of ART, against one service."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from chaos.shipped import split_folder
from core.episode_store.scenarios import scenario_paths
from tests.fakes.art_clients import art_pythons
from tests.training_service.random_model import write_random_model
from tests.training_service.service_process import ServiceProcess

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
RULES = "--prompt brief --tool-budget-tokens 180 --max-completion-tokens 300 --max-turns 2 --repairs 0"
STEPS = "--steps 2 --groups-per-step 2 --rollouts-per-group 6 --validate-every 1 --test-samples 0"


@pytest.mark.parametrize("python", art_pythons())
def test_a_run_trains_two_steps_and_reports(tmp_path: Path, python: str) -> None:
    base = write_random_model(tmp_path / "random", context=1024)
    for split in ("train", "val", "test"):
        (tmp_path / "log_scenarios" / split).mkdir(parents=True)
        for path in scenario_paths(split_folder(split), 2):
            shutil.copy(path, tmp_path / "log_scenarios" / split)
    options = ("--base-models", f"random={base}", "--device", "cpu")
    with ServiceProcess(tmp_path / "data", *options, module="training_service") as service:
        place = ("--service-url", f"{service.url}/v1", "--base-model", "random", "--name", "lines")
        done = subprocess.run(
            [python, str(ROOT / "train_serverless.py"), *place, *RULES.split(), *STEPS.split()],
            cwd=tmp_path,
            env={name: value for name, value in os.environ.items() if name != "WANDB_API_KEY"},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
    assert done.returncode == 0, done.stderr[-3000:]
    rows = [json.loads(line) for line in (tmp_path / "runs/lines/metrics.jsonl").read_text().splitlines()]
    trained = [row for row in rows if row["split"] == "train"]
    assert [row["step"] for row in trained] == [1, 2]
    assert all(row["job"] for row in trained if row["flat_groups"] < row["groups"])
    assert (tmp_path / "runs" / "lines" / "report.html").is_file()
