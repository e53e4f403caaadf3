"""Which lines of a scenario a stored search asked for: its filters applied again, to the scenario file
instead of logs.db.

Close to `search_logs`, not equal: a keyword here matches anywhere in a line. So it is only used to say that a
decisive line was asked for and not shown, or excluded by the times given. It runs no tool and needs no
database.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from project_types import Level, LogRecord

_TIME = re.compile(
    r"(?:(\d{4}-\d\d-\d\d)[T ])?(\d{1,2}):(\d\d)(?::(\d\d))?(?:\.\d+)?\s*(?:Z|UTC|\+00:00)?", re.IGNORECASE
)
_NUMBERS = re.compile(r"[0-9a-f]*\d[0-9a-f]*|'[^']*'|\"[^\"]*\"", re.IGNORECASE)


def matches(arguments: Mapping[str, Any], row: LogRecord, *, whenever: bool = False) -> bool:
    """Whether a search with these arguments asked for this line; `whenever`: its times left aside."""
    service, level, words = (_text(arguments, name) for name in ("service", "min_level", "keywords"))
    if service and not row.service.lower().startswith(service.lower()):
        return False
    if level.upper() in Level.__members__ and Level[row.level] < Level[level.upper()]:
        return False
    line = f"{row.service} {row.level} {row.message}".lower()
    if any(word not in line for word in words.lower().split()):
        return False
    return whenever or in_window(arguments, row.timestamp)


def in_window(arguments: Mapping[str, Any], at: datetime | None) -> bool:
    """Whether a moment lies between the times of a search; a time that cannot be read excludes nothing."""
    if at is None:
        return not windows([arguments])
    start, end = (_moment(_text(arguments, name), at) for name in ("start_time", "end_time"))
    if start is not None and at < start[0]:
        return False
    return end is None or at < end[1]


def alike(one: LogRecord, other: LogRecord) -> bool:
    """Whether a search shows the two as one kind: same service and level, and messages that differ in numbers
    and ids only.
    """
    same = one.service == other.service and one.level == other.level
    return same and _NUMBERS.sub("#", one.message) == _NUMBERS.sub("#", other.message)


def windows(searches: Iterable[Mapping[str, Any]]) -> bool:
    """Whether any of these searches names a time."""
    return any(_text(one, "start_time") or _text(one, "end_time") for one in searches)


def _moment(text: str, near: datetime) -> tuple[datetime, datetime] | None:
    """First and last moment that a time means, on the day of `near` unless it names another."""
    found = _TIME.fullmatch(text.strip())
    if not found:
        return None
    date, hour, minute, second = found.groups()
    try:
        day = datetime.fromisoformat(date).replace(tzinfo=near.tzinfo) if date else near
        start = day.replace(hour=int(hour), minute=int(minute), second=int(second or 0), microsecond=0)
    except ValueError:
        return None
    return start, start + timedelta(seconds=1 if second else 60)


def _text(arguments: Mapping[str, Any], name: str) -> str:
    value = arguments.get(name)
    if isinstance(value, list):
        value = " ".join(map(str, value))
    return value.strip() if isinstance(value, str) else ""
