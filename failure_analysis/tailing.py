"""Reads what was added to a file of lines since the last time, in bounded memory.

A file is known by a hash of how it begins: one that was replaced or cut is read again from its start. A last
line without its newline may still be written to and stays for the next time; `unended_line` gives what there
is of it. A line longer than LONGEST_LINE is skipped and said. `last_text` gives the end of a log of any size
by reading only its end.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

from failure_analysis.store import Source

HEAD_BYTES = 4096
LONGEST_LINE = 16 << 20


class Line(NamedTuple):
    """A whole line of a file."""

    number: int
    offset: int
    length: int
    """In bytes, its newline included."""
    content: bytes | None
    """None when the line is longer than LONGEST_LINE."""


def unchanged_start(path: Path, known: Source | None) -> Source:
    """Where to go on: what is known, or the start of the file when it is not the file that was read before."""
    name = known.path if known else ""
    if known is None or known.offset == 0:
        return Source(path=name)
    with path.open("rb") as file:
        same = path.stat().st_size >= known.offset and _head(file, known.offset) == known.head
    return known if same else Source(path=name)


def new_lines(path: Path, start: Source) -> Iterator[Line]:
    """The whole lines after `start`."""
    offset, number = start.offset, start.line
    with path.open("rb") as file:
        file.seek(offset)
        while True:
            content = file.readline(LONGEST_LINE)
            length, whole = len(content), content.endswith(b"\n")
            if not whole and length == LONGEST_LINE:
                length, whole = length + _rest_of_line(file), True
                content = b""
            if not whole or length == 0:
                return
            number += 1
            yield Line(number, offset, length, content or None)
            offset += length


def unended_line(path: Path, after: Line) -> Line | None:
    """What follows the last whole line: a line that breaks off, or one whose newline nobody wrote."""
    offset = after.offset + after.length
    with path.open("rb") as file:
        file.seek(offset)
        content = file.read(LONGEST_LINE)
    return Line(after.number + 1, offset, len(content), content) if content else None


def reached(path: Path, name: str, line: Line, trouble: str) -> Source:
    """What to remember after `line`."""
    end = line.offset + line.length
    with path.open("rb") as file:
        return Source(path=name, offset=end, line=line.number, head=_head(file, end), trouble=trouble)


def last_text(path: Path, characters: int) -> str:
    """The end of a text file, whatever its size; bytes that are no UTF-8 are shown as such."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - 4 * characters))
        return file.read(4 * characters).decode("utf-8", "replace").replace("\0", "")[-characters:]


def _head(file: IO[bytes], read: int) -> str:
    file.seek(0)
    return hashlib.sha256(file.read(min(HEAD_BYTES, read))).hexdigest()[:16]


def _rest_of_line(file: IO[bytes]) -> int:
    length = 0
    while part := file.readline(LONGEST_LINE):
        length += len(part)
        if part.endswith(b"\n"):
            break
    return length
