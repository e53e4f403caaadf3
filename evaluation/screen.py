"""Reads back what the tools print: log rows, span trees, cursors.

Scripted policies see only text, as a model does; this is their eye. It knows the format of log_search_tools and nothing of the
database, so a test that plays scripts through the real tools breaks when the format moves.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from project_types import Level

_ROW = re.compile(
    r"^\s*(?P<id>[0-9A-Za-z][\w.:/-]*) (?P<time>\d\d:\d\d:\d\d(?:\.\d+)?) (?P<level>DEBUG|INFO|WARN|ERROR|FATAL) (?P<service>\S+)"
    r"(?: x(?P<count>\d+))? (?P<message>.*?)(?: trace (?P<trace>\S+))?$"
)
_SPAN = re.compile(
    r"^(?P<indent> *)(?P<service>\S+) (?P<operation>.+?) (?P<ms>\d+(?:\.\d+)?) ms(?: (?P<status>ok|error|timeout))?$"
)
_CURSOR = re.compile(r"cursor=(?P<cursor>[^\s,;)]+)")


class ShownRow(NamedTuple):
    """One printed log row; `alike` is how many lines look like it."""

    id: str
    time: str
    level: Level
    service: str
    alike: int
    message: str
    trace: str | None


class ShownSpan(NamedTuple):
    """One printed span; `depth` is its indentation, 0 for the root."""

    depth: int
    service: str
    operation: str
    duration_ms: float
    failed: bool


def rows(text: str) -> list[ShownRow]:
    """The log rows in a tool's output, in printed order."""
    found = (_ROW.match(line) for line in text.splitlines())
    return [
        ShownRow(m["id"], m["time"], Level[m["level"]], m["service"], int(m["count"] or 1), m["message"], m["trace"])
        for m in found
        if m
    ]


def spans(text: str) -> list[ShownSpan]:
    """The spans in the output of read_trace, in printed order."""
    return [
        ShownSpan(len(m["indent"]) // 2, m["service"], m["operation"], float(m["ms"]), m["status"] in ("error", "timeout"))
        for line in text.splitlines()
        if (m := _SPAN.match(line)) and not _ROW.match(line)
    ]


def cursor(text: str) -> str | None:
    """The cursor for the rest of a cut result, or None when all was shown."""
    header = text.partition("\n")[0]
    match = _CURSOR.search(header)
    return match["cursor"] if match else None
