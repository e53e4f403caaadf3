"""Records of one kind, one a line of a JSON Lines file: a bad one is named by file, line and field, or left
out where a kill may have cut it.

Not here: what a record is (`cases`, `preferences`), and how lines are read (`core.episode_store.lines`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from core.episode_store.lines import read_lines
from project_types import ConfigurationError

Record = TypeVar("Record", bound=BaseModel)


def records(path: Path, kind: type[Record], make: str, mend: str) -> Iterator[Record]:
    """Read the records of a file. `make` says how to get such a file, `mend` what to do with a bad line.

    Raises ConfigurationError for a file that is missing and for a bad line, EpisodesError for one that cannot
    be read.
    """
    if not path.exists():
        raise ConfigurationError(f"{path}: there is no such file; {make}")
    for line in read_lines(path):
        try:
            yield kind.model_validate_json(line.content or b"")
        except ValidationError as trouble:
            first = trouble.errors(include_url=False)[0]
            where = ".".join(map(str, first["loc"])) or "line"
            raise ConfigurationError(f"{path}:{line.number}: {where}: {first['msg']}; {mend}") from trouble


def kept(path: Path, kind: type[Record]) -> Iterator[Record]:
    """Read what earlier runs noted; nothing when there is no file. A line that a kill has cut is left out."""
    for line in read_lines(path) if path.exists() else ():
        try:
            yield kind.model_validate_json(line.content or b"")
        except ValidationError:
            continue
