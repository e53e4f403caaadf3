"""What a folder of a run holds, seen from outside: which files have episodes, which have failures, where its
scenarios are.

Knows the layouts that train_serverless.py and `python -m evaluation run` write (docs/episodes.md) by their
files alone, and writes nothing into them. A file that is being written, half-written or not JSON is what it
is: read as far as it goes.
"""

from __future__ import annotations

import fcntl
import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from failure_analysis.records import ExperimentType, StoreError
from project_types import Scenario, ScenarioError, read_jsonl, read_scenario

EPISODES, FAILURES = "episodes.jsonl", "failures.jsonl"
_TRAINING_FILE = re.compile(r"(?P<split>[A-Za-z0-9]+)-(?P<step>\d{1,9})-(?P<sampling>[a-z0-9]+)\.jsonl")
_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,199}")
_KEPT_SCENARIOS = 64
LARGEST_JSON = 64 << 20
"""Bytes of a settings file or a scenario that are still read."""


class EpisodeFile(NamedTuple):
    """A JSONL file of episodes and what its name says about them."""

    path: Path
    split: str
    sampling: str
    step: int | None


class RunFolder:
    """One run: a folder of a training run or of an evaluation, or a single JSONL file of episodes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._scenarios: dict[str, Scenario | None] = {}

    @property
    def home(self) -> Path:
        """The folder that its paths are shown relative to."""
        return self.path if self.path.is_dir() else self.path.parent

    @cached_property
    def type(self) -> ExperimentType:
        """Training run or evaluation."""
        training = (self.path / "config.json").exists() or (self.path / "metrics.jsonl").exists()
        return ExperimentType.TRAINING_RUN if training else ExperimentType.EVALUATION

    def episode_files(self) -> Iterator[EpisodeFile]:
        """The files that hold episodes, in name order."""
        if self.path.is_file():
            yield EpisodeFile(self.path, "", "", None)
        elif self.type is ExperimentType.EVALUATION:
            yield EpisodeFile(self.path / EPISODES, "", "", None)
        else:
            for path in sorted(self.path.glob("episodes/*.jsonl")):
                if named := _TRAINING_FILE.fullmatch(path.name):
                    yield EpisodeFile(path, named["split"], named["sampling"], int(named["step"]))

    @cached_property
    def settings(self) -> Mapping[str, Any]:
        """config.json or run.json; empty when there is none or it cannot be read."""
        return _json_object(
            self.home / ("config.json" if self.type is ExperimentType.TRAINING_RUN else "run.json")
        )

    def metrics(self) -> list[dict[str, Any]]:
        """Rows of metrics.jsonl, as far as they can be read."""
        path = self.path / "metrics.jsonl"
        try:
            return read_jsonl(path) if path.stat().st_size <= LARGEST_JSON else []
        except (OSError, ScenarioError, RecursionError):
            return []

    def finished(self) -> bool:
        """Whether a training run says that it came to its end."""
        states = sorted(self.path.glob("art/*/models/*/state.json"))
        run = _json_object(states[0]).get("run", {}) if states else {}
        return bool(isinstance(run, dict) and run.get("finished"))

    def being_written(self) -> bool:
        """Whether a live process holds the folder."""
        return any(locked(self.home / name) for name in (".lock", ".writing"))

    def changed_at(self) -> datetime:
        """When the newest of its own files was written."""
        files = [
            path
            for path in (*self.home.glob("*.json*"), *self.home.glob("episodes/*.jsonl"))
            if path.is_file()
        ]
        newest = max((path.stat().st_mtime for path in files), default=self.home.stat().st_mtime)
        return datetime.fromtimestamp(newest, UTC)

    def scenario(self, scenario_id: str, split: str) -> Scenario | None:
        """The scenario that an episode was played on, when its file is where the run found it; None
        otherwise.
        """
        if scenario_id not in self._scenarios:
            if len(self._scenarios) >= _KEPT_SCENARIOS:
                self._scenarios.pop(next(iter(self._scenarios)))
            found = self.scenario_file(scenario_id, split)
            self._scenarios[scenario_id] = found[0] if found else None
        return self._scenarios[scenario_id]

    def scenario_file(
        self, scenario_id: str, split: str, folder: Path | None = None
    ) -> tuple[Scenario, Path] | None:
        """The scenario and its file, looked for in `folder` or where the run says its scenarios are; None
        when it is not.
        """
        if not _SAFE_NAME.fullmatch(scenario_id):  # from a file that anybody may have written: never a path
            return None
        for place in (
            [folder, folder / "train", folder / "val", folder / "test"]
            if folder
            else self._scenario_folders(split)
        ):
            path = place / f"scenario-{scenario_id}.json"
            try:
                if path.stat().st_size <= LARGEST_JSON:
                    found = read_scenario(path)
                    return (found, path) if found.id == scenario_id else None
            except (OSError, ScenarioError):
                continue
        return None

    def _scenario_folders(self, split: str) -> Iterator[Path]:
        config = self.settings.get("config")
        named = [
            self.settings.get("scenarios"),
            config.get("scenarios") if isinstance(config, dict) else None,
            "log_scenarios",
        ]
        for base in (Path(), self.home, *self.home.resolve().parents[:4]):
            for name in named:
                if isinstance(name, str) and name:
                    if _SAFE_NAME.fullmatch(split):
                        yield base / name / split
                    yield base / name


def find_runs(path: Path) -> list[RunFolder]:
    """The runs at a path: itself, or those in the folders below it. Raises StoreError when there is none."""
    if not path.exists():
        raise StoreError(f"{path}: no such file or folder; give the folder of a run, such as runs/seed1")
    if path.is_file() or _is_run(path):
        return [RunFolder(path)]
    found = [RunFolder(one) for one in sorted(path.glob("*/")) + sorted(path.glob("*/*/")) if _is_run(one)]
    if not found:
        raise StoreError(
            f"{path}: holds no run; give a folder that train_serverless.py or python -m evaluation run wrote"
        )
    return found


def _is_run(path: Path) -> bool:
    training = (path / "config.json").is_file() and (
        (path / "episodes").is_dir() or (path / "metrics.jsonl").is_file()
    )
    return (
        training
        or (path / EPISODES).is_file()
        or ((path / FAILURES).is_file() and (path / "run.json").is_file())
    )


def _json_object(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > LARGEST_JSON:
            return {}
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def locked(path: Path) -> bool:
    """Whether a live process holds this lock file."""
    try:
        with path.open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
