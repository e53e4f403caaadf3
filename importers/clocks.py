"""Clocks as sources write them, in nanoseconds since 1970, UTC.

A number tells its unit by its size. A time without a zone is UTC, or what `utc_offset` says. A clock without
a year is of the latest such day that is not after the file. Anything else is no clock: None.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

SECOND_NS = 1_000_000_000
_MONTHS = {name: number for number, name in enumerate(
    ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), 1)}  # fmt: skip
ISO = (
    r"(?P<year>\d{4})[-/.](?P<month>\d\d)[-/.](?P<day>\d\d)[T _]+(?P<clock>\d\d:\d\d:\d\d)"
    r"(?:[.,](?P<fraction>\d{1,9})\d*)?(?: ?(?P<zone>Z|UTC|GMT|[+-]\d\d(?::?\d\d)?)(?![\w:]))?"
)
_ISO = re.compile(ISO)
_UNITS = ((1e17, 1), (1e14, 1000), (1e11, 1_000_000), (0, SECOND_NS))
"""From which size on a number counts how many nanoseconds: nanoseconds,
microseconds, milliseconds, seconds.
"""
_NS_OF_DIGITS = tuple(10 ** (9 - digits) for digits in range(10))
"""Nanoseconds of the last digit of a fraction, by how many digits it has."""
_SMALLEST_S, _LARGEST_NS = 1e8, 1 << 62


def nanoseconds(
    year: int | str, month: int | str, day: int | str, clock: str, fraction: str | None, zone: str | None
) -> int | None:
    """Return a moment; None when there is no such day or time."""
    second = _second(year, month, day, clock)
    if second is None:
        return None
    at = (second - _offset_s(zone)) * SECOND_NS
    return at + int(fraction[:9]) * _NS_OF_DIGITS[len(fraction[:9])] if fraction else at


@lru_cache(maxsize=1024)
def _second(year: int | str, month: int | str, day: int | str, clock: str) -> int | None:
    hour, minute, second = map(int, clock.split(":"))
    try:  # a leap second is the second after
        at = datetime(int(year), int(month), int(day), hour, minute, min(second, 59), tzinfo=UTC)
    except ValueError:
        return None
    return int(at.timestamp()) + (second == 60)


@lru_cache(maxsize=64)
def _offset_s(zone: str | None) -> int:
    """Seconds east of UTC."""
    if not zone or zone[0] not in "+-":
        return 0
    digits = zone[1:].replace(":", "").ljust(4, "0")
    seconds = int(digits[:2]) * 3600 + int(digits[2:]) * 60
    return -seconds if zone[0] == "-" else seconds


def moment(value: Any, utc_offset: str | None = None) -> int | None:
    """Return the moment that a field holds: a number of any unit, or a text."""
    if not isinstance(value, str):
        return of_number(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
    text = value.strip()
    quick = _usual(text)
    if quick is not None:
        return quick
    found = _ISO.match(text)
    if found:
        return of_iso(found, utc_offset)
    try:
        return of_number(int(text) if text.isdecimal() else float(text))
    except ValueError:
        return None


_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
_USUAL_LENGTHS = {
    len("2026-03-04T14:05:01Z"),
    len("2026-03-04T14:05:01.123Z"),
    len("2026-03-04T14:05:01.123456Z"),
}


def _usual(text: str) -> int | None:
    """Return the moment of a text as most programs write it, a third of the time that a pattern takes."""
    if len(text) not in _USUAL_LENGTHS or text[10] + text[13] + text[16] + text[-1] != "T::Z":
        return None
    if text[19] not in ".Z":
        return None
    try:
        return (datetime.fromisoformat(text) - _EPOCH) // _MICROSECOND * 1000
    except ValueError:
        return None


def of_iso(found: re.Match[str], utc_offset: str | None = None) -> int | None:
    """Return the moment of a match of `ISO`."""
    year, month, day, clock, fraction, zone = found.group("year", "month", "day", "clock", "fraction", "zone")
    return nanoseconds(year, month, day, clock, fraction, zone or utc_offset)


def of_number(value: float) -> int | None:
    """Return the moment of a count of seconds, milliseconds, microseconds or nanoseconds since 1970."""
    if not abs(value) >= _SMALLEST_S:  # nor is nan a clock
        return None
    unit = next(unit for least, unit in _UNITS if abs(value) >= least)
    at = value * unit if isinstance(value, int) else round(value * unit)
    return at if abs(at) < _LARGEST_NS else None


def month_of(name: str) -> int:
    """Return the number of a month by its first three letters. Raises KeyError."""
    return _MONTHS[name[:3].lower()]


def without_year(month: int, day: int, clock: str, fraction: str | None, written: datetime) -> int | None:
    """Return the latest such moment that is not after the file was written, a day of grace for zones."""
    for year in (written.year, written.year - 1):
        at = nanoseconds(year, month, day, clock, fraction, None)
        if at is not None and at / SECOND_NS <= (written + timedelta(days=1)).timestamp():
            return at
    return None


def of_day(clock: str, fraction: str | None, written: datetime) -> int | None:
    """Return a time of day on the day on which the file was written."""
    return nanoseconds(written.year, written.month, written.day, clock, fraction, None)


@lru_cache(maxsize=4096)
def _iso_second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S") if second >= -62135596800 else ""


def iso(at_ns: int) -> str:
    """Write a moment as ISO 8601, to the nanosecond where it has any."""
    second, rest = divmod(at_ns, SECOND_NS)
    if not rest:
        return f"{_iso_second(second)}Z"
    return f"{_iso_second(second)}.{rest:09d}".rstrip("0") + "Z"
