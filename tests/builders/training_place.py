"""What tests of training runs share: a folder in which `train_serverless.py` trains
a random model in seconds.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from chaos.shipped import split_folder
from core.episode_store.scenarios import scenario_paths

ROOT = Path(__file__).parents[2]
GUARD = ROOT / "tests" / "fakes" / "only_loopback"
FLAGS = (
    *("--backend", "embedded", "--groups-per-step", "2", "--rollouts-per-group", "6"),
    *("--validate-every", "1", "--val-samples", "1", "--test-samples", "2"),
    *("--max-completion-tokens", "300", "--max-turns", "2", "--repairs", "0", "--max-minutes", "none"),
)


class Place:
    """A folder with a few scenarios and a random model, and the command, run in it behind a guard against
    foreign sockets.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "foreign_sockets.log"
        for split, count in (("train", 4), ("val", 2), ("test", 2)):
            (folder / "log_scenarios" / split).mkdir(parents=True)
            for path in scenario_paths(split_folder(split), count):
                shutil.copy(path, folder / "log_scenarios" / split)
        code = "import sys, pathlib; from tests.training_service.random_model import write_random_model as write; "
        code += "write(pathlib.Path(sys.argv[1]), context=1024)"  # in a process of its own: this one may import art
        subprocess.run(
            [sys.executable, "-c", code, str(folder / "random")], cwd=ROOT, check=True, capture_output=True
        )

    def command(self, *flags: str) -> list[str]:
        return [sys.executable, str(ROOT / "train_serverless.py"), *FLAGS, "--base-model", "random", *flags]

    def environment(self) -> dict[str, str]:
        keyless = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("WANDB_") and name != "JUDGE_MODEL"
        }
        return keyless | {"PYTHONPATH": str(GUARD), "ONLY_LOOPBACK_LOG": str(self.log), "WANDB_API_KEY": ""}

    def run(self, *flags: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return self._ended(self.command(*flags), self.environment() | environment)

    def typed(self, *flags: str) -> subprocess.CompletedProcess[str]:
        """The command with these flags and no others."""
        return self._ended([sys.executable, str(ROOT / "train_serverless.py"), *flags], self.environment())

    def _ended(self, command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=900
        )

    def start(self, *flags: str, **environment: str) -> subprocess.Popen[str]:
        both: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        return subprocess.Popen(
            self.command(*flags), cwd=self.folder, env=self.environment() | environment, **both
        )

    def rows(self, name: str, split: str | None = None) -> list[dict[str, Any]]:
        path = self.folder / "runs" / name / "metrics.jsonl"
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        rows = [json.loads(line) for line in lines if line.endswith("\n")]
        return [row for row in rows if split in (None, row["split"])]

    def history(self, name: str, metric: str) -> list[int]:
        """The steps at which ART logged a metric."""
        path = self.folder / "runs" / name / "art" / "log-investigator" / "models" / name / "history.jsonl"
        return [row["step"] for row in map(json.loads, path.read_text().splitlines()) if metric in row]

    def service_pid(self, name: str) -> int:
        return int((self.folder / "runs" / name / "service" / "lock").read_text())
