"""Stored episodes: the one reader everything uses, and the one writer.

A run is a folder with `episodes.jsonl` (finished episodes, one per line), `failures.jsonl` (samples that
ended in no episode, and why) and `run.json` (what was asked). Lines are only ever appended. The reader never
gives up on a file: it returns what it could read and says which lines it could not, so a killed run, a torn
line or a run still being written loses nothing. The schema is in docs/episodes.md. It does not interpret
episodes; `evaluation.summary` does.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, NamedTuple, Self, TypeVar

from pydantic import BaseModel, ValidationError

from project_types import ConfigurationError, Episode, Frozen, InvestigatorError, Timestamp

EPISODES, FAILURES, RUN, LOCK = "episodes.jsonl", "failures.jsonl", "run.json", ".writing"
DIGEST = "scenario_digest"
"""Key of an episode's metadata: the hash of the scenario file it was played on."""
TORN = "torn.txt"
"""Where the writer keeps the half-written line that a killed run left."""

Key = tuple[str, int]
"""Scenario id and sample number: what identifies an episode within a run."""


class EpisodesError(InvestigatorError):
    """Stored episodes cannot be read or written; the text names the path and the fix."""


class Failure(Frozen):
    """A sample that ended in no episode: the provider, the judge or a file failed. It is not a result and is
    redone.
    """

    scenario_id: str
    sample: int
    error: str
    """Class of the exception."""
    message: str
    at: Timestamp
    episode: Episode | None = None
    """How far it got, when it began."""

    @classmethod
    def of(cls, scenario_id: str, sample: int, trouble: BaseException) -> Failure:
        """The failure that an exception stands for; long texts are cut."""
        text, unfinished = str(trouble).strip() or repr(trouble), getattr(trouble, "episode", None)
        return cls(
            scenario_id=scenario_id,
            sample=sample,
            error=type(trouble).__name__,
            message=text[:2000],
            at=datetime.now(UTC),
            episode=unfinished if isinstance(unfinished, Episode) else None,
        )


class BadLine(NamedTuple):
    """A line that is not an episode."""

    path: Path
    number: int
    why: str
    torn: bool
    """The last line, cut short: a writer was killed, or is writing it now."""

    def __str__(self) -> str:
        if self.torn:
            return f"{self.path}:{self.number}: the last line is half-written and was left out"
        return f"{self.path}:{self.number}: left out, {self.why}; mend or remove it, or run the command again to redo the episode"


class Loaded(NamedTuple):
    """Everything a run's folder holds."""

    path: Path
    episodes: list[Episode]
    """One per (scenario, sample), the latest where a sample was stored twice; in order of first appearance.
    """
    failures: list[Failure]
    """Samples that failed and have no episode yet."""
    bad_lines: list[BadLine]
    run: dict[str, Any]
    """`run.json`; empty for a bare JSONL file."""
    being_written: bool

    @property
    def name(self) -> str:
        """What to call this run in a table."""
        return str(
            self.run.get("policy") or (self.episodes[0].policy if self.episodes else "") or self.path.name
        )

    def warnings(self) -> list[str]:
        """What a reader should know about what is missing, worst first."""
        notes = [str(bad) for bad in self.bad_lines[:5]]
        if len(self.bad_lines) > 5:
            notes.append(f"{self.path}: {len(self.bad_lines) - 5} more lines could not be read")
        if self.being_written:
            notes.append(
                f"{self.path}: a run is still writing here; these are the {len(self.episodes)} episodes so far"
            )
        if self.failures:
            first = self.failures[0]
            notes.append(
                f"{self.path}: {len(self.failures)} samples failed and are not counted, e.g. {first.scenario_id} #{first.sample} "
                f"({first.error}: {first.message[:200]}); run the same command again to redo them"
            )
        return notes


def load(where: Path) -> Loaded:
    """Read a run's folder, or one JSONL file of episodes.

    Raises:
        EpisodesError: there is nothing to read at `where`.
    """
    path = episodes_file(where)
    folder = path.parent
    kept: dict[Key, Episode] = {}
    bad: list[BadLine] = []
    for item in read(path):
        if isinstance(item, BadLine):
            bad.append(item)
        else:
            kept[item.scenario_id, item.sample] = item
    whole_run = where.is_dir()
    failures = (
        [f for f in read_failures(folder) if (f.scenario_id, f.sample) not in kept] if whole_run else []
    )
    run = read_run(folder) if whole_run else {}
    return Loaded(where, list(kept.values()), failures, bad, run, whole_run and being_written(folder))


def episodes_file(where: Path) -> Path:
    """The JSONL file meant by a folder or a file. Raises EpisodesError when there is none."""
    path = where / EPISODES if where.is_dir() else where
    if not path.exists():
        raise EpisodesError(
            f"{path}: no such file; make one: python -m evaluation run --policy script:first-error --out {where}"
        )
    return path


Model = TypeVar("Model", bound=BaseModel)


def read_models(path: Path, model: type[Model]) -> Iterator[Model]:
    """The lines of a JSONL file that are what they should be; the others are skipped, and a missing file is
    empty.
    """
    if not path.exists():
        return
    for _, line, _whole in _lines(path):
        with suppress(ValidationError):
            yield model.model_validate_json(line)


def read(path: Path) -> Iterator[Episode | BadLine]:
    """Every line of a JSONL file in order, one at a time, as an Episode or as the reason it is none."""
    for number, line, whole in _lines(path):
        try:
            yield Episode.model_validate_json(line)
        except ValidationError as trouble:
            yield BadLine(path, number, _why(trouble), torn=not whole)


def played(path: Path) -> dict[Key, str]:
    """Which samples a JSONL file holds, and the digest of the scenario file each was played on ('' where none
    is known).
    """
    if not path.exists():
        return {}
    found = (item for item in read(path) if not isinstance(item, BadLine))
    return {(item.scenario_id, item.sample): str(item.metadata.get(DIGEST, "")) for item in found}


def read_failures(folder: Path) -> list[Failure]:
    """The latest failure of each sample, in order; a line that is torn or not a failure is skipped."""
    latest = {
        (failure.scenario_id, failure.sample): failure for failure in read_models(folder / FAILURES, Failure)
    }
    return list(latest.values())


def read_run(folder: Path) -> dict[str, Any]:
    """What the run was asked to do; empty when nobody wrote it down. Raises EpisodesError when it is not
    JSON.
    """
    path = folder / RUN
    if not path.exists():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as trouble:
        raise EpisodesError(
            f"{path}: cannot be read ({trouble}); delete it and rerun with the same options"
        ) from trouble
    if not isinstance(found, dict):
        raise EpisodesError(f"{path}: is not a JSON object; delete it and rerun with the same options")
    return found


def being_written(folder: Path) -> bool:
    """Whether a live process holds the folder's lock."""
    path = folder / LOCK
    if not path.exists():
        return False
    with path.open("rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


class Store:
    """Appends episodes and failures to one folder, which it locks while open: `with Store(folder) as store`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock: IO[bytes] | None = None
        self._episodes: IO[bytes] | None = None
        self._failures: IO[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = (self.folder / LOCK).open("ab")
        except OSError as trouble:
            raise ConfigurationError(
                f"{self.folder}: cannot write here ({trouble.strerror}); choose another --out"
            ) from trouble
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as trouble:
            self._lock.close()
            raise EpisodesError(
                f"{self.folder}: another run is writing here; wait for it, or choose another --out"
            ) from trouble
        self._episodes, self._failures = self._open(EPISODES), self._open(FAILURES)
        return self

    def __exit__(self, *_: object) -> None:
        for file in (self._episodes, self._failures, self._lock):
            if file is not None:
                file.close()

    def add(self, line: str) -> None:
        """Store one episode, given as its JSON."""
        assert self._episodes is not None, "a Store is used inside `with`"
        self._episodes.write(line.encode() + b"\n")
        self._episodes.flush()

    def fail(self, failure: Failure) -> None:
        """Store why one sample gave no episode."""
        assert self._failures is not None, "a Store is used inside `with`"
        self._failures.write(failure.model_dump_json().encode() + b"\n")
        self._failures.flush()

    def _open(self, name: str) -> IO[bytes]:
        return _open_to_append(self.folder / name)


@contextmanager
def append(path: Path) -> Iterator[Callable[[str], None]]:
    """Appends lines to a JSONL file that one process writes: `with append(path) as add: add(line)`."""
    with _open_to_append(path) as file:

        def add(line: str) -> None:
            file.write(line.encode() + b"\n")
            file.flush()

        yield add


def _open_to_append(path: Path) -> IO[bytes]:
    """Open for appending, after putting aside a half-written last line so that the next one starts cleanly."""
    try:
        if path.exists():
            with path.open("r+b") as file:
                _put_torn_line_aside(file, path.with_name(TORN))
        return path.open("ab")
    except OSError as trouble:
        raise EpisodesError(
            f"{path}: cannot be written ({trouble.strerror}); check its permissions"
        ) from trouble


def _put_torn_line_aside(file: IO[bytes], aside: Path) -> None:
    size = file.seek(0, 2)
    start, tail = size, b""
    while start > 0 and b"\n" not in tail:
        step = min(1 << 16, start)
        start -= step
        file.seek(start)
        tail = file.read(step) + tail
    torn = tail.rpartition(b"\n")[2]
    if not torn:
        return
    try:
        json.loads(torn)
    except ValueError:
        with aside.open("ab") as kept:
            kept.write(torn + b"\n")
        file.truncate(size - len(torn))
    else:
        file.seek(0, 2)
        file.write(b"\n")


def _lines(path: Path) -> Iterator[tuple[int, bytes, bool]]:
    """(number, line, ends in a newline) of every line that is not blank."""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, line, line.endswith(b"\n")
    except OSError as trouble:
        raise EpisodesError(
            f"{path}: cannot be read ({trouble.strerror}); check the path and its permissions"
        ) from trouble


def _why(trouble: ValidationError) -> str:
    first = trouble.errors(include_url=False, include_input=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    return f"field {field}: {first['msg']}" if field else first["msg"]
