"""Reads back what the tools print: log rows, span trees, cursors.

Scripted policies see only text, as a model does; this is their eye. It knows the printed format and nothing
of the database, so a test that plays scripts through the real tools breaks when the format moves.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from core.log_stores.printing import printed_rows
from project_types import Level

_SPAN = re.compile(
    r"^(?P<indent> *)(?P<service>\S+) (?P<operation>.*?) ?(?P<ms>\d+) ms(?: \((?:own|gap) [^()]*\))?"
    r"(?: (?P<status>error|timeout))?(?: \(parent missing\))?$"
)
_CURSOR = re.compile(r"cursor=(?P<cursor>\d+)")


class ShownRow(NamedTuple):
    """One printed log row; ids are the short ones, `alike` is how many lines it stands for."""

    id: str
    time: str
    level: Level
    service: str
    alike: int
    message: str
    trace: str | None
    differs: str = ""
    """What differs among the lines it stands for, or how they changed."""


class ShownSpan(NamedTuple):
    """One printed span; `depth` is 0 for the root."""

    depth: int
    service: str
    operation: str
    duration_ms: float
    failed: bool


def rows(text: str) -> list[ShownRow]:
    """The log rows in a tool's output, in printed order."""
    found = printed_rows(text)
    return [
        ShownRow(
            row.id, row.time, Level[row.level], row.service, row.times, row.message, row.trace_id, row.differs
        )
        for row in found
    ]


def spans(text: str) -> list[ShownSpan]:
    """The spans in the output of read_trace, in printed order: what stands between its first line and
    'lines'.
    """
    tree = text.split("\n")[1:]
    tree = tree[: tree.index("lines")] if "lines" in tree else tree
    return [
        ShownSpan(
            len(m["indent"]) // 2, m["service"], m["operation"], float(m["ms"]), m["status"] is not None
        )
        for m in map(_SPAN.match, tree)
        if m
    ]


def cursor(text: str) -> int | None:
    """The cursor for the rest of a cut result, or None when all was shown."""
    match = _CURSOR.search(text.partition("\n")[0])
    return int(match["cursor"]) if match else None
