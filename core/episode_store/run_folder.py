"""The folder of a training run: what is in it, who holds it, and how it survives the death of whoever writes
it.

    config.json            the resolved settings, the git revision, the command
    metrics.jsonl          one row per training step, and per split and checkpoint that was run
    episodes/SPLIT-NNNN-KIND.jsonl
                           the episodes of one checkpoint: KIND is t0 (temperature 0), t1 (k samples at temperature 1) or
                           rollouts (those that training step NNNN learned from)
    failures.jsonl         why rollouts, training jobs and the run failed; read by failure_analysis
    art/                   ART's own files: history.jsonl, trajectories, state.json (whose key `run` is the run's state)
    service/, service.log  the embedded service's weights and words
    summary.json, report.html, learning_curve.*   what `training_report` makes of all that

A file is only ever appended to, line by line, or replaced whole. Nothing here knows ART or what a number
means.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from core.episode_store.episodes import BadLine, read
from project_types import ConfigurationError, Episode, InvestigatorError, read_jsonl

GREEDY, SAMPLED, ROLLOUTS = "t0", "t1", "rollouts"
"""The ways a split is run: one sample at temperature 0, k samples at temperature 1, the rollouts of a
training step.
"""
RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""A run's name is also the name of its folder, its model and its W&B run."""


class RunFolderError(InvestigatorError):
    """A run's folder lacks something; the text says what."""


class RunFolder:
    """The files of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[dict[str, Any]] = []

    @contextmanager
    def claimed(self, resume: bool) -> Iterator[None]:
        """Hold the folder, making it when it is new. Raises ConfigurationError when it is in use, or used and
        not resumed.
        """
        if not resume and ((self.path / "metrics.jsonl").exists() or any(self.path.glob("episodes/*.jsonl"))):
            raise ConfigurationError(
                f"{self.path} holds a run; add --resume to go on with it, or choose another --name"
            )
        (self.path / "episodes").mkdir(parents=True, exist_ok=True)
        with (self.path / ".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as trouble:
                raise ConfigurationError(
                    f"{self.path}: another process trains this run; wait for it or stop it"
                ) from trouble
            yield

    def settings(self) -> dict[str, Any]:
        """What config.json says. Raises ConfigurationError when there is none."""
        path = self.path / "config.json"
        if not path.exists():
            raise ConfigurationError(
                f"{self.path} holds no run; start it without --resume, or name another with --name"
            )
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found

    def write(self, name: str, content: bytes) -> None:
        """Replace one file as a whole."""
        fresh = self.path / f"{name}.new"
        fresh.write_bytes(content)
        os.replace(fresh, self.path / name)

    def take_up(self, *more: Path) -> None:
        """Read the rows an earlier process left; cut what it was writing when it died, there and in `more`
        JSONL files.
        """
        metrics = self.path / "metrics.jsonl"
        for path in (metrics, self.path / "failures.jsonl", *self.path.glob("episodes/*.jsonl"), *more):
            _cut_torn_line(path)
        self.rows = read_jsonl(metrics) if metrics.exists() else []

    def add(self, row: dict[str, Any]) -> None:
        """Append a row to metrics.jsonl, to stay."""
        with (self.path / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, allow_nan=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self.rows.append(row)

    def fail(self, trouble: BaseException) -> None:
        """Append to failures.jsonl why a rollout, a training job or the run failed; a rollout with how far it
        got.
        """
        row: dict[str, Any] = {
            "error": type(trouble).__name__,
            "message": str(trouble)[:4000],
            "at": datetime.now(UTC).isoformat(),
        }
        episode = getattr(trouble, "episode", None)
        if isinstance(episode, Episode):
            row |= {
                "scenario_id": episode.scenario_id,
                "sample": episode.sample,
                "episode": episode.model_dump(mode="json"),
            }
        with (self.path / "failures.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def of(self, split: str) -> list[dict[str, Any]]:
        """The rows of a split, in order."""
        return [row for row in self.rows if row["split"] == split]

    def episodes_path(self, split: str, step: int, kind: str) -> Path:
        """Where the episodes of one split, checkpoint and kind are kept."""
        return self.path / "episodes" / f"{split}-{step:04d}-{kind}.jsonl"

    def episodes(self, split: str, step: int, kind: str) -> list[Episode]:
        """The whole episodes there, the latest of each scenario and sample; none when there is no file."""
        path = self.episodes_path(split, step, kind)
        if not path.exists():
            return []
        kept = {(e.scenario_id, e.sample): e for e in read(path) if not isinstance(e, BadLine)}
        return list(kept.values())


@dataclass(frozen=True)
class Comparison:
    """The episodes of one split before and after training, by kind; a side that was not run is empty."""

    split: str
    samples: int
    before: Mapping[str, list[Episode]]
    after: Mapping[str, list[Episode]]


@dataclass(frozen=True)
class RunFiles:
    """A run's folder, read for a report."""

    folder: RunFolder
    config: dict[str, Any]
    state: dict[str, Any]

    @property
    def seed(self) -> int:
        """Seed of the run, also of its bootstrap."""
        return int(self.config["config"]["seed"])

    def comparison(self, split: str) -> Comparison:
        """Checkpoint 0 against the best one; what was interrupted before its row was written does not count."""

        def side(step: int | None) -> dict[str, list[Episode]]:
            measured = {row["split"] for row in self.folder.rows if row["step"] == step}
            names = {GREEDY: split, SAMPLED: f"{split}_sampled"}
            whole = {kind for kind, name in names.items() if name in measured}
            return {
                kind: self.folder.episodes(split, int(step or 0), kind) if kind in whole else []
                for kind in names
            }

        best = self.state.get("best_checkpoint") or (0 if self.state.get("finished") else None)
        samples = self.config["config"].get(f"{split}_samples") or self.config["config"]["test_samples"]
        return Comparison(split, int(samples), side(0), side(best))


def read_run(path: Path) -> RunFiles:
    """Read the folder of a run. Raises RunFolderError when it has no config.json."""
    folder = RunFolder(path)
    if not (path / "config.json").exists():
        raise RunFolderError(
            f"{path}: no config.json, so no training run; give a folder that train_serverless.py wrote"
        )
    if (path / "metrics.jsonl").exists():
        folder.rows = read_jsonl(path / "metrics.jsonl")
    states = sorted(path.glob("art/*/models/*/state.json"))
    state = json.loads(states[0].read_text(encoding="utf-8")).get("run", {}) if states else {}
    return RunFiles(folder, folder.settings(), dict(state))


def latest(runs: Path) -> str:
    """The name of the run that was started or resumed last. Raises ConfigurationError when there is none."""
    found = sorted(runs.glob("*/config.json"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise ConfigurationError(f"--resume: {runs} holds no run yet; start one without --resume")
    return found[-1].parent.name


def fingerprint(scenarios: Path) -> str:
    """A hash of the scenario files of the three splits: a run is measured before and after on the same ones."""
    digest = hashlib.sha256()
    for path in sorted(
        path for split in ("train", "val", "test") for path in (scenarios / split).glob("scenario-*.json")
    ):
        digest.update(f"{path.relative_to(scenarios)}\0{path.stat().st_size}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _cut_torn_line(path: Path) -> None:
    if not path.exists():
        return
    content = path.read_bytes()
    if content and not content.endswith(b"\n"):
        with path.open("r+b") as file:
            file.truncate(content.rfind(b"\n") + 1)
