"""The folder of a training run, written so that it survives the death of whoever writes it.

A file is only ever appended to, line by line, or replaced whole. One process holds the folder at a time. The
layout is in `run_folder`, which reads it. Nothing here knows ART or what a number means.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from core.episode_store.failures import Failure
from core.episode_store.lines import append, mend
from core.episode_store.run_folder import CONFIG, METRICS, RUN, TRAINING_LOCK, RunFolder
from core.files import held, replace_file
from project_types import ConfigurationError, Episode

RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""A run's name is also the name of its folder, its model and its W&B run."""


def _unexplained(_: Failure) -> None:
    return None


class RunWriter:
    """The files of a training run under way."""

    def __init__(
        self, path: Path, explain: Callable[[Failure], dict[str, str] | None] = _unexplained
    ) -> None:
        """`explain` says why something failed, when its failure is written down."""
        self.path, self._explain = path, explain
        self.rows: list[dict[str, Any]] = []
        """Those of metrics.jsonl."""

    @contextmanager
    def claimed(self, resume: bool) -> Iterator[None]:
        """Hold the folder, making it when it is new.

        Raises:
            ConfigurationError: it is in use, or used and not resumed, or of an evaluation.
        """
        holds_episodes = any(self.path.glob("episodes/*.jsonl"))
        if not resume and (holds_episodes or any((self.path / name).exists() for name in (METRICS, RUN))):
            raise ConfigurationError(
                f"{self.path} holds a run; add --resume to go on with it, or choose another --name"
            )
        (self.path / "episodes").mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            try:
                stack.enter_context(held(self.path / TRAINING_LOCK))
            except BlockingIOError as trouble:
                raise ConfigurationError(
                    f"{self.path}: another process trains this run; wait for it or stop it"
                ) from trouble
            yield

    def settings(self) -> dict[str, Any]:
        """Read config.json. Raises ConfigurationError when there is none or it cannot be read."""
        found = RunFolder(self.path)
        if not (self.path / CONFIG).exists():
            raise ConfigurationError(
                f"{self.path} holds no run; start it without --resume, or name another with --name"
            )
        if not found.config:
            raise ConfigurationError(
                f"{self.path / CONFIG}: cannot be read; start a new run with another --name"
            )
        return found.settings

    def add_settings(self, **facts: Any) -> None:
        """Add what was found out only later to config.json."""
        text = json.dumps({**self.settings(), **facts}, indent=2)
        self.write(CONFIG, f"{text}\n".encode())

    def write(self, name: str, content: bytes) -> None:
        """Replace one file as a whole."""
        replace_file(self.path / name, content)

    def take_up(self, *more: Path) -> None:
        """Read the rows an earlier process left; mend what it was writing when it died, there and in `more`.

        Raises:
            ConfigurationError: a row cannot be read, so that nobody knows how far the run has come.
        """
        for path in (*self.path.glob("*.jsonl"), *self.path.glob("episodes/*.jsonl"), *more):
            mend(path)
        found = RunFolder(self.path)
        self.rows = list(found.rows)
        if damaged := [trouble for trouble in found.troubles if trouble.startswith(METRICS)]:
            raise ConfigurationError(
                f"{self.path}/{damaged[0]}; mend or remove what is damaged there, then --resume"
            )

    def add(self, row: dict[str, Any]) -> None:
        """Append a row to metrics.jsonl, to stay."""
        with (self.path / METRICS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, allow_nan=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self.rows.append(row)

    def fail(self, trouble: BaseException) -> None:
        """Append to failures.jsonl why a rollout, a job or the run failed; a rollout with how far it got."""
        with append(RunFolder(self.path).failures_path) as add:
            failure = Failure.of(trouble)
            add(failure.model_copy(update={"failure_analysis": self._explain(failure)}).model_dump_json())

    def of(self, split: str) -> list[dict[str, Any]]:
        """Return the rows of a split, in order."""
        return [row for row in self.rows if row["split"] == split]

    def episodes_path(self, split: str, step: int, sampling: str) -> Path:
        """Return where the episodes of one split, checkpoint and way of sampling are kept."""
        return RunFolder(self.path).episodes_path(split, step, sampling)

    def episodes(self, split: str, step: int, sampling: str) -> list[Episode]:
        """Read the whole episodes there, the latest of each sample; none when there is no file."""
        return RunFolder(self.path).episodes(split, step, sampling)
