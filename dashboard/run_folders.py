"""Training runs and evaluations as folders: what is under `runs/`, where each stands, and its rows.

Reads `config.json`, `metrics.jsonl` and ART's state as docs/training.md describes them, and `run.json` and
`summary.json` of an evaluation. A folder may be half-written, damaged or named by an enemy: what can be read
is shown and the rest is named in `troubles`. Episodes are not read here; those are in the store.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from failure_analysis.run_folders import locked
from project_types import Frozen, InvestigatorError

LARGEST_JSON = 8 << 20
LARGEST_METRICS = 64 << 20
MOST_RUNS = 2000


class UnknownRun(InvestigatorError):
    """There is no run of this name."""


class State(StrEnum):
    """Where a run stands."""

    RUNNING = "running"
    """A live process holds its folder."""
    FINISHED = "finished"
    OUT_OF_TIME = "out_of_time"
    """The time limit ended it before half of its training steps; it can be resumed with more minutes."""
    STOPPED = "stopped"
    """Nobody works on it and it did not finish; it can be resumed."""


class Run(Frozen):
    """One run as far as its folder can be read."""

    name: str
    """Its folder, relative to that of failures.db; what is no UTF-8 is escaped."""
    kind: Literal["training", "evaluation"]
    state: State
    started: datetime | None = None
    changed: datetime | None = None
    settings: dict[str, Any] = Field(default_factory=dict)
    """`config.json` or `run.json`."""
    rows: tuple[dict[str, Any], ...] = ()
    """Of metrics.jsonl."""
    best_checkpoint: int | None = None
    summary: dict[str, Any] = Field(default_factory=dict)
    troubles: tuple[str, ...] = ()
    """What could not be read, for a person."""

    @property
    def config(self) -> dict[str, Any]:
        """The resolved settings of a training run, of an evaluation the rules of its episodes."""
        found = self.settings.get("config")
        return found if isinstance(found, dict) else {}

    @property
    def steps(self) -> int:
        """Training steps done."""
        return max((whole(row.get("step")) for row in self.of("train")), default=0)

    @property
    def most_steps(self) -> int:
        """Training steps asked for, 0 when nobody said."""
        return whole(self.config.get("steps"))

    def of(self, split: str) -> tuple[dict[str, Any], ...]:
        """The rows of one split."""
        return tuple(row for row in self.rows if row.get("split") == split)

    @property
    def goes_on_with(self) -> str:
        """The command that trains the rest, '' when the run does not say."""
        found = self.summary.get("go_on")
        return found if isinstance(found, str) else ""

    def latest(self, split: str, name: str) -> float | None:
        """The last number of this name in a split."""
        return next(
            (value for row in reversed(self.of(split)) if (value := number(row.get(name))) is not None), None
        )


class Runs:
    """The runs under one folder. Looks at the folders on every call; a metrics.jsonl that did not change is
    not read again.
    """

    def __init__(self, root: Path, named_from: Path) -> None:
        self.root, self._named_from = root, named_from.resolve()
        """A run is called by its path from the folder of failures.db, as it is there."""

    def all(self, *, rows: bool = True) -> list[Run]:
        """Every run, latest first, MOST_RUNS at most; without `rows` metrics.jsonl stays unread."""
        found = [self._read(name, path, rows=rows) for name, path in self._found().items()]
        return sorted(
            found, key=lambda run: (run.changed or datetime.min.replace(tzinfo=UTC), run.name), reverse=True
        )

    def get(self, name: str, *, rows: bool = True) -> Run:
        """One run. Raises UnknownRun; a name is looked up among the folders there are, never opened as a
        path.
        """
        path = self._found().get(name)
        if path is None:
            raise UnknownRun(f"no run is called {name[:200]!r} in {self.root}; the list of runs is at /runs")
        return self._read(name, path, rows=rows)

    def _found(self) -> dict[str, Path]:
        found: dict[str, Path] = {}
        for path in _run_folders(self.root, depth=2):
            found[printable(os.path.relpath(path.resolve(), self._named_from))] = path
            if len(found) == MOST_RUNS:
                break
        return found

    def _read(self, name: str, path: Path, *, rows: bool) -> Run:
        troubles: list[str] = []
        training = (path / "config.json").exists() or (path / "metrics.jsonl").exists()
        settings = _json(path / ("config.json" if training else "run.json"), troubles)
        states = sorted(path.glob("art/*/models/*/state.json")) if training else []
        progress = _json(states[0], troubles).get("run", {}) if states else {}
        progress = progress if isinstance(progress, dict) else {}
        summary = _json(path / "summary.json", troubles) if (path / "summary.json").exists() else {}
        held = locked(path / (".lock" if training else ".writing"))
        progress = progress if training else {"finished": bool(summary)}
        best = progress.get("best_checkpoint", summary.get("best_checkpoint"))
        return Run(
            name=name,
            kind="training" if training else "evaluation",
            state=State.RUNNING if held else _ended(progress),
            started=_moment(settings.get("at") or settings.get("started")),
            changed=_changed(path),
            settings=settings,
            rows=_rows(path / "metrics.jsonl", troubles) if rows and training else (),
            best_checkpoint=best if isinstance(best, int) else None,
            summary=summary,
            troubles=tuple(printable(text) for text in troubles),
        )


def _ended(progress: Mapping[str, Any]) -> State:
    """Where a run stands that nobody works on."""
    if progress.get("finished"):
        return State.FINISHED
    return State.OUT_OF_TIME if progress.get("ended_by") == "time" else State.STOPPED


def _run_folders(root: Path, depth: int) -> Iterator[Path]:
    try:
        children = sorted(path for path in root.iterdir() if path.is_dir() and not path.is_symlink())
    except OSError:
        return
    for path in children:
        if any(
            (path / name).exists() for name in ("config.json", "run.json", "metrics.jsonl", "episodes.jsonl")
        ):
            yield path
        elif depth > 1:
            yield from _run_folders(path, depth - 1)


def _json(path: Path, troubles: list[str]) -> dict[str, Any]:
    try:
        if path.stat().st_size > LARGEST_JSON:
            raise ValueError(f"larger than {LARGEST_JSON >> 20} MiB")
        found = json.loads(path.read_bytes())
        if not isinstance(found, dict):
            raise ValueError("not a JSON object")
    except (OSError, ValueError, RecursionError) as trouble:
        troubles.append(
            f"{path.name}: cannot be read ({getattr(trouble, 'strerror', None) or trouble}); shown without it"
        )
        return {}
    return found


def _rows(path: Path, troubles: list[str]) -> tuple[dict[str, Any], ...]:
    """Whole lines of metrics.jsonl; a half-written last line is not there yet, any other bad one is counted."""
    try:
        facts = path.stat()
        rows, bad = _read_rows(path, facts.st_size, facts.st_mtime_ns)
    except FileNotFoundError:
        return ()
    except OSError as trouble:
        troubles.append(f"{path.name}: cannot be read ({trouble.strerror})")
        return ()
    if bad:
        troubles.append(
            f"{path.name}: {bad} line{'s' if bad > 1 else ''} could not be read and {'are' if bad > 1 else 'is'} left out"
        )
    return rows


@lru_cache(maxsize=512)
def _read_rows(path: Path, _size: int, _changed_ns: int) -> tuple[tuple[dict[str, Any], ...], int]:
    """The rows, and how many lines are none; read again when the file has changed."""
    with path.open("rb") as file:
        lines = file.read(LARGEST_METRICS).split(b"\n")
    rows, bad = list[dict[str, Any]](), 0
    for line in lines[:-1]:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if isinstance(row, dict):
            rows.append(row)
        elif line.strip():
            bad += 1
    return tuple(rows), bad


def _changed(path: Path) -> datetime | None:
    times = []
    for name in ("metrics.jsonl", "episodes.jsonl", "config.json", "run.json"):
        try:
            times.append((path / name).stat().st_mtime)
        except OSError:
            continue
    return datetime.fromtimestamp(max(times), UTC) if times else None


def _moment(text: object) -> datetime | None:
    try:
        found = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return found.astimezone(UTC) if found and found.tzinfo else None


def number(value: object) -> float | None:
    """A finite number, or None for anything else."""
    good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if good else None  # type: ignore[arg-type]


def whole(value: object) -> int:
    """A whole number, 0 for anything else."""
    return int(number(value) or 0)


def printable(text: str) -> str:
    """Text that can be written as UTF-8, whatever a file was called."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
