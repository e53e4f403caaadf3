"""Where reading a growing file goes on: what failures.db remembers of each file of lines.

A file is known by a hash of how it begins: one that was replaced or cut is read again from its start. The
lines themselves come from `core.episode_store.lines`.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import IO

from core.episode_store.lines import Line
from failure_analysis.store import Source

HEAD_BYTES = 4096


def unchanged_start(path: Path, known: Source | None) -> Source:
    """Where to go on: what is known, or the start of the file when it is not the
    file that was read before.
    """
    name = known.path if known else ""
    if known is None or known.offset == 0:
        return Source(path=name)
    with path.open("rb") as file:
        same = path.stat().st_size >= known.offset and _head(file, known.offset) == known.head
    return known if same else Source(path=name)


def reached(path: Path, name: str, line: Line, trouble: str) -> Source:
    """What to remember after `line`."""
    with path.open("rb") as file:
        return Source(
            path=name, offset=line.end, line=line.number, head=_head(file, line.end), trouble=trouble
        )


def _head(file: IO[bytes], read: int) -> str:
    file.seek(0)
    return hashlib.sha256(file.read(min(HEAD_BYTES, read))).hexdigest()[:16]
