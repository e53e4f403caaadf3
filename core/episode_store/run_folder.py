"""The folder of a run, read: what was asked, where it stands, its rows, its episodes, its scenarios.

    training run                                   evaluation
    config.json      the resolved settings         run.json        what was asked
    metrics.jsonl    one row per step and measure  summary.json    what came out
    episodes/SPLIT-NNNN-SAMPLING.jsonl             episodes.jsonl
    failures.jsonl   rollouts and jobs that failed failures.jsonl  samples that failed
    art/             ART's files; state.json has `run`
    summary.json, report.html, learning_curve.*    what `training_runs` makes of all that

SAMPLING is t0 (one sample at temperature 0), t1 (k samples at temperature 1) or rollouts (those that training
step NNNN learned from). A folder may be half-written, damaged or made by an enemy: what can be read is given,
and `troubles` names the rest. A `RunFolder` reads each file once, when it is first asked for; make another
one to look again. Writing is `run_writer` and `evaluation_store`; which runs there are, `runs`.
"""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, datetime
from enum import StrEnum
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import ValidationError

from core.episode_store.episodes import latest, read
from core.episode_store.failures import FAILURES
from core.episode_store.lines import EpisodesError, last_text, read_lines
from core.episode_store.scenarios import PlayedScenarios
from core.files import is_held
from project_types import Episode, EpisodeConfig, Scenario

GREEDY, SAMPLED, ROLLOUTS = "t0", "t1", "rollouts"
"""The ways a split is run, see SAMPLING above."""
EPISODES, CONFIG, RUN, METRICS, SUMMARY = (
    "episodes.jsonl",
    "config.json",
    "run.json",
    "metrics.jsonl",
    "summary.json",
)
TRAINING_LOCK, EVALUATION_LOCK = ".lock", ".writing"
LARGEST_JSON = 8 << 20
LARGEST_METRICS = 64 << 20
"""Bytes of a settings file and of metrics.jsonl that are still read."""

Kind = Literal["training", "evaluation"]
_EPISODE_FILE = re.compile(r"(?P<split>[A-Za-z0-9]+)-(?P<step>\d{1,9})-(?P<sampling>[a-z0-9]+)\.jsonl")


class State(StrEnum):
    """Where a run stands."""

    RUNNING = "running"
    """A live process holds its folder."""
    FINISHED = "finished"
    OUT_OF_TIME = "out_of_time"
    """The time limit ended it before half of its training steps; it can be resumed with more minutes."""
    STOPPED = "stopped"
    """Nobody works on it and it did not finish; it can be resumed."""


class EpisodeFile(NamedTuple):
    """A file of episodes and what its name says about them."""

    path: Path
    split: str = ""
    sampling: str = ""
    step: int | None = None

    def __str__(self) -> str:
        return f"{self.split} at step {self.step} ({self.sampling})" if self.split else self.path.name


class RunFolder:
    """One run: the folder of a training run or of an evaluation, or a single file of episodes."""

    def __init__(self, path: Path, name: str = "") -> None:
        self.path = path
        self.name = name or path.name
        """What the run is called by whoever asks."""
        self._troubles: dict[str, None] = {}

    @property
    def home(self) -> Path:
        """The folder that its paths are shown relative to."""
        return self.path if self.path.is_dir() else self.path.parent

    @cached_property
    def kind(self) -> Kind:
        """Training run or evaluation; a single file of episodes counts as an evaluation."""
        training = (self.path / CONFIG).exists() or (self.path / METRICS).exists()
        return "training" if training else "evaluation"

    # -- what was asked, and where it stands

    @cached_property
    def settings(self) -> dict[str, Any]:
        """`config.json` or `run.json`; empty when there is none or it cannot be read."""
        return self._json(CONFIG if self.kind == "training" else RUN)

    @property
    def config(self) -> dict[str, Any]:
        """The settings of a training run; of an evaluation the rules of its episodes."""
        return _mapping(self.settings.get("config"))

    @property
    def rules(self) -> EpisodeConfig:
        """The rules its episodes were played by. Raises EpisodesError when they cannot be read."""
        config = self.settings.get("config", {})
        try:
            return EpisodeConfig.model_validate(config.get("episode", config))
        except (AttributeError, ValidationError) as trouble:
            raise EpisodesError(f"{self.path}: the rules of its episodes cannot be read") from trouble

    @cached_property
    def progress(self) -> dict[str, Any]:
        """What a training run remembers of itself in ART's state file: `finished`, `best_checkpoint`, ..."""
        states = sorted(self.path.glob("art/*/models/*/state.json"))
        return _mapping(self._json(str(states[0].relative_to(self.path))).get("run")) if states else {}

    @cached_property
    def summary(self) -> dict[str, Any]:
        """`summary.json`; empty when there is none yet."""
        return {} if self.path.is_file() else self._json(SUMMARY)

    @cached_property
    def state(self) -> State:
        """Where the run stands now."""
        if self.being_written():
            return State.RUNNING
        if self.kind == "evaluation":
            return State.FINISHED if self.summary else State.STOPPED
        if self.progress.get("finished"):
            return State.FINISHED
        return State.OUT_OF_TIME if self.progress.get("ended_by") == "time" else State.STOPPED

    def being_written(self) -> bool:
        """Return whether a live process holds the folder."""
        return any(is_held(self.home / name) for name in (TRAINING_LOCK, EVALUATION_LOCK))

    @property
    def goes_on_with(self) -> str:
        """The command that trains the rest, '' when the run does not say."""
        found = self.summary.get("go_on")
        return found if isinstance(found, str) else ""

    @property
    def best_checkpoint(self) -> int | None:
        """The checkpoint that validated best, None when nobody said."""
        found = self.progress.get("best_checkpoint", self.summary.get("best_checkpoint"))
        return found if isinstance(found, int) and not isinstance(found, bool) else None

    @property
    def started(self) -> datetime | None:
        """When it began, by its settings."""
        return moment(self.settings.get("at") or self.settings.get("started"))

    @cached_property
    def changed(self) -> datetime | None:
        """When the newest of its own files was written; None when the folder has gone."""
        times = []
        for path in (*self.home.glob("*.json*"), *self.home.glob("episodes/*.jsonl"), self.home):
            try:
                times.append((path != self.home, path.stat().st_mtime))
            except OSError:  # it has just gone
                continue
        return datetime.fromtimestamp(max(times)[1], UTC) if times else None

    @property
    def troubles(self) -> tuple[str, ...]:
        """What cannot be read, for a person."""
        for name in ("settings", "progress", "summary", "rows"):
            getattr(self, name)
        return tuple(self._troubles)

    # -- rows of metrics.jsonl

    @cached_property
    def rows(self) -> tuple[dict[str, Any], ...]:
        """Rows of metrics.jsonl that can be read; a half-written last line is not there yet."""
        path = self.path / METRICS
        try:
            facts = path.stat()
            rows, bad = _read_rows(path, facts.st_size, facts.st_mtime_ns)
        except (FileNotFoundError, NotADirectoryError):
            return ()
        except (OSError, EpisodesError) as trouble:
            self._note(f"{METRICS}: cannot be read ({getattr(trouble, 'strerror', trouble)})")
            return ()
        if bad:
            self._note(
                f"{METRICS}: {bad} line{'s' if bad > 1 else ''} could not be read and "
                f"{'are' if bad > 1 else 'is'} left out"
            )
        return rows

    def of(self, split: str) -> tuple[dict[str, Any], ...]:
        """Return the rows of one split, in order."""
        return tuple(row for row in self.rows if row.get("split") == split)

    def latest(self, split: str, name: str) -> float | None:
        """Return the last number of this name in a split, None when there is none."""
        numbers = (number(row.get(name)) for row in reversed(self.of(split)))
        return next((value for value in numbers if value is not None), None)

    @property
    def steps(self) -> int:
        """Training steps done."""
        return max((whole(row.get("step")) for row in self.of("train")), default=0)

    @property
    def most_steps(self) -> int:
        """Training steps asked for, 0 when nobody said."""
        return whole(self.config.get("steps"))

    # -- episodes, failures, scenarios

    def episode_files(self) -> list[EpisodeFile]:
        """List the files that hold episodes, in name order."""
        if self.path.is_file():
            return [EpisodeFile(self.path)]
        if self.kind == "evaluation":
            path = self.path / EPISODES
            return [EpisodeFile(path)] if path.is_file() else []
        found = []
        for path in sorted(self.path.glob("episodes/*.jsonl")):
            if named := _EPISODE_FILE.fullmatch(path.name):
                found.append(EpisodeFile(path, named["split"], named["sampling"], int(named["step"])))
        return found

    def episodes_path(self, split: str, step: int, sampling: str) -> Path:
        """Return where a training run keeps the episodes of one split, checkpoint and way of sampling."""
        return self.path / "episodes" / f"{split}-{step:04d}-{sampling}.jsonl"

    def episodes(self, split: str, step: int, sampling: str) -> list[Episode]:
        """Read the whole episodes there, the latest of each sample; none when there is no file."""
        path = self.episodes_path(split, step, sampling)
        return latest(read(path)) if path.exists() else []

    @property
    def failures_path(self) -> Path:
        """Where the run says which samples and jobs failed."""
        return self.home / FAILURES

    def service_log(self, characters: int) -> str:
        """Return the end of the log of the embedded service, '' when there is none."""
        path = self.path / "service.log"
        try:
            return last_text(path, characters)
        except OSError:
            return ""

    @cached_property
    def scenarios(self) -> PlayedScenarios:
        """The scenarios its episodes were played on, looked for where the run found them."""
        named = (self.settings.get("scenarios"), self.config.get("scenarios"))
        return PlayedScenarios(self.home, [name for name in named if isinstance(name, str) and name])

    def scenario(self, scenario_id: str, split: str) -> Scenario | None:
        """Return the scenario an episode was played on, None when its file is not where the run found it."""
        return self.scenarios.get(scenario_id, split)

    # -- reading

    def _json(self, name: str) -> dict[str, Any]:
        path = self.home / name
        try:
            if path.stat().st_size > LARGEST_JSON:
                raise ValueError(f"larger than {LARGEST_JSON >> 20} MiB")
            found = json.loads(path.read_bytes())
            if not isinstance(found, dict):
                raise ValueError("not a JSON object")
        except FileNotFoundError:  # not written yet
            return {}
        except (OSError, ValueError, RecursionError) as trouble:
            reason = getattr(trouble, "strerror", None) or trouble
            self._note(f"{name}: cannot be read ({reason}); shown without it")
            return {}
        return found

    def _note(self, trouble: str) -> None:
        self._troubles[trouble.encode("utf-8", "backslashreplace").decode("utf-8")] = None


@lru_cache(maxsize=512)
def _read_rows(path: Path, _size: int, _changed_ns: int) -> tuple[tuple[dict[str, Any], ...], int]:
    """Return the rows, and how many lines are none; a file that did not change is not read again."""
    rows, bad = list[dict[str, Any]](), 0
    for line in read_lines(path):
        if line.end > LARGEST_METRICS:
            break
        row = _row(line.content)
        if row is not None:
            rows.append(row)
        else:
            bad += line.whole
    return tuple(rows), bad


def _row(content: bytes | None) -> dict[str, Any] | None:
    try:
        found = json.loads(content or b"")
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def moment(value: object) -> datetime | None:
    """Return an ISO 8601 text with a zone as a time in UTC, None for anything else."""
    try:
        found = datetime.fromisoformat(value) if isinstance(value, str) else None
        return found.astimezone(UTC) if found and found.tzinfo else None
    except (ValueError, OverflowError):
        return None


def number(value: object) -> float | None:
    """Return a finite number, or None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) else None


def whole(value: object) -> int:
    """Return a whole number, 0 for anything else."""
    return int(number(value) or 0)
