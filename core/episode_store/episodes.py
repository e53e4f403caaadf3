"""Episodes in JSON Lines files: the one reader everything uses, and the one writer.

Lines are only ever appended. Where a sample was stored twice, the later line counts. The reader never gives
up on a file: a line that is no episode is given as a `BadLine`, so a killed run, a torn line or a run still
being written loses nothing else. The schema is in docs/episodes.md. What episodes mean, `evaluation` says;
how a run's folder is laid out, `run_folder`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError

from core.episode_store.lines import EpisodesError, Line, read_lines
from project_types import ConfigurationError, Episode

__all__ = [
    "DIGEST",
    "BadLine",
    "EpisodesError",
    "Key",
    "latest",
    "parse_episode",
    "played",
    "read",
    "read_at",
    "read_episodes",
    "read_models",
    "read_numbered",
    "write_episode",
]

DIGEST = "scenario_digest"
"""Key of an episode's metadata: the hash of the scenario file it was played on."""

Key = tuple[str, int]
"""Scenario id and sample number: what identifies an episode within a file."""
Model = TypeVar("Model", bound=BaseModel)


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
        return (
            f"{self.path}:{self.number}: left out, {self.why}; "
            "mend or remove it, or run the command again to redo the episode"
        )


def write_episode(file: IO[str], episode: Episode) -> None:
    """Append one episode as one JSON line and flush it."""
    file.write(episode.model_dump_json() + "\n")
    file.flush()


def parse_episode(line: Line) -> Episode:
    """Read a line as an episode. Raises ValueError, whose text says what is wrong with the line."""
    if line.content is None:
        raise ValueError("the line is too long for an episode")
    try:
        return Episode.model_validate_json(line.content)
    except ValidationError as trouble:
        raise ValueError(first_problem(trouble)) from trouble


def read(path: Path) -> Iterator[Episode | BadLine]:
    """Read every line of a file in order, as an Episode or as the reason it is none. Raises EpisodesError."""
    for line in read_lines(path):
        try:
            yield parse_episode(line)
        except ValueError as trouble:
            yield BadLine(path, line.number, str(trouble), torn=not line.whole)


def read_episodes(path: Path) -> Iterator[Episode]:
    """Read the episodes of a file in order; a half-written last line is left out.

    Raises:
        ConfigurationError: a line before the last is no episode; the text names it.
    """
    for found in read(path):
        if isinstance(found, Episode):
            yield found
        elif not found.torn:
            raise ConfigurationError(
                f"{path}:{found.number}: not an episode ({found.why}); remove this line, or redo its episode"
            )


def read_at(path: Path, offset: int) -> Episode:
    """Read the episode whose line begins at `offset`. Raises ValueError when there is none, EpisodesError."""
    line = next(read_lines(path, offset), None)
    if line is None or line.offset != offset:
        raise ValueError("no line begins there")
    return parse_episode(line)


def read_numbered(path: Path, number: int) -> Episode:
    """Read the episode of one line, counted from 1. Raises EpisodesError when the line is none."""
    line = next((line for line in read_lines(path) if line.number == number), None)
    if line is None:
        raise EpisodesError(f"{path}:{number}: the file has no such line")
    try:
        return parse_episode(line)
    except ValueError as trouble:
        raise EpisodesError(f"{path}:{number}: not an episode ({trouble})") from trouble


def latest(found: Iterable[Episode | BadLine]) -> list[Episode]:
    """Return the latest episode of each scenario and sample, in order of first appearance."""
    kept = {(one.scenario_id, one.sample): one for one in found if isinstance(one, Episode)}
    return list(kept.values())


def played(path: Path) -> dict[Key, str]:
    """Return which samples a file holds, and the digest of the scenario file each was played on.

    The digest is '' where none is known. A missing file holds none.
    """
    if not path.exists():
        return {}
    found = (one for one in read(path) if isinstance(one, Episode))
    return {(one.scenario_id, one.sample): str(one.metadata.get(DIGEST, "")) for one in found}


def read_models(path: Path, model: type[Model]) -> Iterator[Model]:
    """Read the lines of a file that are what they should be; others are skipped, a missing file is empty."""
    for line in read_lines(path) if path.exists() else ():
        try:
            yield model.model_validate_json(line.content or b"")
        except ValidationError:
            continue


def first_problem(trouble: ValidationError) -> str:
    """Say in a few words what is wrong with a line; nothing of the line itself is repeated."""
    first = trouble.errors(include_url=False, include_input=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    return f"field {field}: {first['msg']}"[:200] if field else first["msg"][:200]
