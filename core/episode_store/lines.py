"""JSON Lines files: read line by line in bounded memory; a kill costs a file that grows one line at most.

A reader can begin anywhere, and gets every line with its number and its place in the file. A last line
without its newline may still be written to: it is given as it is and marked. What a line means is decided
elsewhere (`episodes`, `run_folder`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

from project_types import InvestigatorError

LONGEST_LINE = 16 << 20
"""Bytes; a longer line is skipped and its place is given."""
TORN = "torn.txt"
"""Where a writer keeps the half-written line that a killed run left."""


class EpisodesError(InvestigatorError):
    """Stored episodes cannot be read or written; the text names the path and the fix."""


class Line(NamedTuple):
    """A line of a file that is not blank."""

    number: int
    """From 1 on."""
    offset: int
    length: int
    """In bytes, its newline included."""
    content: bytes | None
    """None when the line is longer than LONGEST_LINE."""
    whole: bool
    """Ends in a newline. The last line of a file may not, when a writer was killed or is writing it now."""

    @property
    def end(self) -> int:
        """Where the next line begins."""
        return self.offset + self.length


def read_lines(path: Path, offset: int = 0, number: int = 0) -> Iterator[Line]:
    """Read the lines from `offset` on; `number` is that of the line before it. Raises EpisodesError."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            while content := file.readline(LONGEST_LINE):
                number += 1
                length = len(content)
                if length == LONGEST_LINE and not content.endswith(b"\n"):
                    length += _rest_of_line(file)
                    yield Line(number, offset, length, None, whole=True)
                elif content.strip():
                    yield Line(number, offset, length, content, content.endswith(b"\n"))
                offset += length
    except OSError as trouble:
        raise EpisodesError(
            f"{path}: cannot be read ({trouble.strerror}); "
            "check the path and its permissions, or put the file back"
        ) from trouble


def _rest_of_line(file: IO[bytes]) -> int:
    length = 0
    while part := file.readline(LONGEST_LINE):
        length += len(part)
        if part.endswith(b"\n"):
            break
    return length


def last_text(path: Path, characters: int) -> str:
    """Return the end of a text file of any size; bytes that are no UTF-8 are shown as such."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - 4 * characters))
        return file.read(4 * characters).decode("utf-8", "replace").replace("\0", "")[-characters:]


@contextmanager
def append(path: Path) -> Iterator[Callable[[str], None]]:
    """Append lines to a file that one process writes: `with append(path) as add: add(line)`."""
    with open_to_append(path) as file:

        def add(line: str) -> None:
            add_line(file, line)

        yield add


def add_line(file: IO[bytes], line: str) -> None:
    """Write one line and flush it."""
    file.write(line.encode("utf-8", "backslashreplace") + b"\n")
    file.flush()


def open_to_append(path: Path) -> IO[bytes]:
    """Open for appending; a half-written last line is put aside first, so that the next one is whole."""
    try:
        mend(path)
        return path.open("ab")
    except OSError as trouble:
        raise EpisodesError(
            f"{path}: cannot be written ({trouble.strerror}); check its permissions"
        ) from trouble


def mend(path: Path) -> None:
    """Move a half-written last line to TORN beside the file; end a whole one that lacks its newline."""
    if not path.exists():
        return
    with path.open("r+b") as file:
        torn = _unended(file)
        if not torn:
            return
        if _is_json(torn):
            file.seek(0, 2)
            file.write(b"\n")
            return
        with path.with_name(TORN).open("ab") as kept:
            kept.write(torn + b"\n")
        file.truncate(file.seek(0, 2) - len(torn))


def _unended(file: IO[bytes]) -> bytes:
    """What follows the last newline."""
    start, tail = file.seek(0, 2), b""
    while start > 0 and b"\n" not in tail:
        step = min(1 << 16, start)
        start -= step
        file.seek(start)
        tail = file.read(step) + tail
    return tail.rpartition(b"\n")[2]


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
