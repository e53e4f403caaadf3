"""How a tool prints log lines, and how a printed line is read back: the one form
that policies are trained on.

A row is `time LEVEL service xCOUNT{what differs} message trace ID log ID`. A message that would break its
budget keeps its head, its tail and what was searched for. Everything printed is somebody else's text and
stays on its line. Counting tokens is `core.log_stores.token_budget`; what the tools answer is `core.tools`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from core.log_stores.contract import Kind, Line, LogStore, Stretch
from core.log_stores.token_budget import clip, clip_around, estimate_tokens
from project_types import Level

_EPOCH, _DAY_US = datetime(1970, 1, 1, tzinfo=UTC), 86_400_000_000
NO_CLOCK = "--:--:--"
"""Printed instead of the time of a line without a clock."""

# ------------------------------------------------------------------------------------------------------ times


def when(at_us: float) -> datetime:
    """The moment, in UTC."""
    return _EPOCH + timedelta(microseconds=at_us)


def one_day(stretch: Stretch | None) -> bool:
    """Whether an incident lies on one date, which rows then leave out."""
    return stretch is None or stretch.first_us // _DAY_US == stretch.last_us // _DAY_US


def clock_text(at_us: int, stretch: Stretch | None) -> str:
    """The time of day, with the date when it is not the one date of the incident."""
    if stretch is None or not one_day(stretch) or at_us // _DAY_US != stretch.first_us // _DAY_US:
        return f"{when(at_us):%Y-%m-%dT%H:%M:%S}"
    minutes, seconds = divmod(at_us // 1_000_000, 60)
    return f"{minutes // 60 % 24:02d}:{minutes % 60:02d}:{seconds:02d}"


# ---------------------------------------------------------------------------------------------- rows in print


def one_line(text: str) -> str:
    """The text with a space for whatever cannot be printed, so that it cannot end its row."""
    if text.isprintable():  # most are, and this takes a fraction of the time
        return text.strip()
    return "".join(char if char.isprintable() else " " for char in text).strip()


_LEVEL_NAMES = {level.value: level.name for level in Level}
_NAMED_SERVICES = 3


class Row(NamedTuple):
    """A printed row."""

    text: str
    tokens: int
    shows_match: bool
    """Whether every word that was searched for and stands in the line was printed."""


def printed(store: LogStore, kind: Kind, room_tokens: int, *, trace: bool, words: Sequence[str] = ()) -> Row:
    """Print the first line of a kind; its message is cut when the row would take more than `room_tokens`.

    The ids come last: a model that repeats what it read of a row then only has to read on (docs/adr/0003).
    """
    line = kind.first
    time = clock_text(line.at_us, store.stretch()) if line.has_clock else NO_CLOCK
    head = f"{time} {_LEVEL_NAMES[line.level]} {line.service}"
    tail = f" trace {store.short('trace', line.trace_id)}" if trace and line.trace_id else ""
    tail += f" log {store.short('log', line.id)}"
    if kind.times != 1 or kind.differs:
        head += f" x{kind.times}{_differing(kind, room_tokens // 3)}"
    text = one_line(line.text)
    row = f"{head} {text}{tail}"
    tokens = estimate_tokens(row)
    if tokens > room_tokens:
        shown = clip_around(text, room_tokens - estimate_tokens(head + tail), words)
        row = f"{head} {shown}{tail}"
        tokens = estimate_tokens(row)
    return Row(row, tokens, shows(row, line, words))


def shows(printed_row: str, line: Line, words: Sequence[str]) -> bool:
    """Whether the printed row holds every word that the whole line holds."""
    whole = f"{line.service} {_LEVEL_NAMES[line.level]} {line.text}".casefold()
    shown = printed_row.casefold()
    return all(word.casefold() in shown for word in words if word.casefold() in whole)


def _differing(kind: Kind, room_tokens: int) -> str:
    """Which services wrote lines of a kind, and what differs among them, as far as there is room."""
    parts = list(kind.differs)
    if len(kind.services) > 1:
        named = ", ".join(kind.services[:_NAMED_SERVICES])
        more = ", ..." if len(kind.services) > _NAMED_SERVICES else ""
        parts.insert(0, f"in {len(kind.services)} services: {named}{more}")
    while parts:
        text = "{" + "; ".join(parts) + "}"
        if estimate_tokens(text) <= room_tokens:
            return text
        parts.pop()
    return ""


PRINTED_ROW = re.compile(
    r"^(?P<time>(?:\d{4}-\d\d-\d\dT)?\d\d:\d\d:\d\d|--:--:--) (?P<level>[A-Z]+) (?P<service>\S+)"
    r"(?: x(?P<times>\d+)(?:\{(?P<differs>[^{}]*)\})?)? "
    r"(?P<message>.*?)(?: trace (?P<trace>\S+))? log (?P<log>\S+)$",
    re.ASCII | re.MULTILINE,
)
"""A row as a tool prints it, with a name for each part; finds all rows of a result."""
OLD_ROW = re.compile(
    r"(?:(?P<log>[0-9a-f]{4,16}) )?(?:\d{4}-\d\d-\d\dT)?\d\d:\d\d:\d\d (?P<level>[A-Z]{4,5}) "
    r".*?(?: trace (?P<trace>[0-9a-f]{4,16}))?",
    re.ASCII | re.DOTALL,
)
"""A row as stored episodes from before docs/adr/0003 have it: its log id came first, or was missing."""


class PrintedRow(NamedTuple):
    """A row as a tool printed it; ids are the short ones."""

    id: str
    time: str
    level: str
    service: str
    times: int
    message: str
    trace_id: str | None
    differs: str = ""
    """What differs among the lines it stands for."""


def printed_rows(text: str) -> list[PrintedRow]:
    """The rows in a tool's result, for whoever knows only what was printed: scripts, analyses, pages."""
    found = (PRINTED_ROW.fullmatch(line) for line in text.split("\n"))
    return [
        PrintedRow(
            row["log"],
            row["time"],
            row["level"],
            row["service"],
            int(row["times"] or 1),
            row["message"],
            row["trace"],
            row["differs"] or "",
        )
        for row in found
        if row
    ]


def count(number: int, thing: str) -> str:
    """'1 line', '2 lines'."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


__all__ = ["NO_CLOCK", "OLD_ROW", "PRINTED_ROW", "PrintedRow", "Row", "clip", "clock_text", "count", "estimate_tokens", "one_day",
           "one_line", "printed", "printed_rows", "shows", "when"]  # fmt: skip
