"""What a time in a tool's arguments means: a moment, or a stretch of time, in an incident.

A time of day means the incident's date. A moment is as long as it is precise: "14:05" lasts a minute, a date
a day. Nanoseconds and zones of hours only are understood. All times are UTC unless they say otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

from core.log_stores.contract import LogStore, Stretch
from core.log_stores.ordering import mass
from core.log_stores.printing import clip, clock_text
from project_types import ToolInputError

_TIME = re.compile(
    r"(?P<date>[12]\d{3}-\d\d-\d\d)?[T ]?(?P<minute>\d{1,2}:\d\d)?(?P<second>:\d\d)?(?:[.,](?P<fraction>\d{1,9}))?"
    r" ?(?P<zone>Z|UTC|[+-]\d\d(?::?\d\d)?)?",
    re.ASCII | re.IGNORECASE,
)
_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
_SECOND_US = 1_000_000
_HALF_A_DAY_US, _DAY_US = 43_200 * _SECOND_US, 86_400 * _SECOND_US


def window(
    start_time: str | None,
    end_time: str | None,
    stretch: Stretch | None,
    names: tuple[str, str] = ("start_time", "end_time"),
) -> tuple[int | None, int | None]:
    """Return the two ends in microseconds. Raises ToolInputError for what is no
    time, or for a wrong order.
    """
    given = {name: text for name, text in zip(names, (start_time, end_time), strict=True) if text is not None}
    if given and stretch is None:
        raise ToolInputError(f"{', '.join(given)}: the lines of this incident have no clock; leave times out")
    start = (
        None if start_time is None or stretch is None else _moment(names[0], start_time, stretch, end=False)
    )
    end = None if end_time is None or stretch is None else _moment(names[1], end_time, stretch, end=True)
    if start is not None and end is not None and start > end:
        told = f"{names[0]} {clock_text(start, stretch)} is after {names[1]} {clock_text(end, stretch)}"
        raise ToolInputError(f"{told}; swap them")
    return start, end


def _moment(name: str, text: str, stretch: Stretch, *, end: bool) -> int:
    """Return microseconds since 1970: the moment named, or as an end the last one of the minute, second or
    day named.

    A time of day means the incident's date. When its lines span several, a start means the first date on
    which that time is less than 12 hours before the first line, an end the last one on which it is less than
    12 hours after the last line.
    """
    usage = f"{name}={clip(repr(text), 16)} is no time; write HH:MM, HH:MM:SS or 2025-01-31T14:05:00Z (UTC)"
    parts = _TIME.fullmatch(text.strip())
    if not parts or not (parts["date"] or parts["minute"]) or (parts["second"] and not parts["minute"]):
        raise ToolInputError(usage)
    first, last = (_date(at_us) for at_us in stretch)
    try:
        if parts["date"]:
            at = _at(parts, parts["date"])
        elif end:
            at = _at(parts, last.isoformat())
            at -= _DAY_US if at >= stretch.last_us + _HALF_A_DAY_US and first < last else 0
        else:
            at = _at(parts, first.isoformat())
            at += _DAY_US if at <= stretch.first_us - _HALF_A_DAY_US and first < last else 0
    except (ValueError, OverflowError):
        raise ToolInputError(usage) from None
    return at + _precision_us(parts) - 1 if end else at


def _at(parts: re.Match[str], day: str) -> int:
    fraction = (parts["fraction"] or "").ljust(6, "0")[:6]
    clock = f"{(parts['minute'] or '0:00').zfill(5)}{parts['second'] or ':00'}.{fraction}"
    zone = (parts["zone"] or "Z").upper().replace("UTC", "Z")
    return (datetime.fromisoformat(f"{day}T{clock}{zone}") - _EPOCH) // _MICROSECOND


def _precision_us(parts: re.Match[str]) -> int:
    """How long the moment is that a time names: a day, a minute, a second or less."""
    if parts["fraction"]:
        return int(10 ** max(0, 6 - len(parts["fraction"])))
    if parts["second"]:
        return _SECOND_US
    return 60 * _SECOND_US if parts["minute"] else _DAY_US


def _date(at_us: int) -> date:
    return (_EPOCH + timedelta(microseconds=at_us)).date()


# -------------------------------------------------------------------------------------------------- stretches

_BETWEEN = re.compile(r"\s*/\s*|\s+(?:to|-|–)\s+|\s*\.\.\s*")
_TWO_TIMES = re.compile(r"(\d{1,2}:\d\d(?::\d\d)?)[-–](\d{1,2}:\d\d(?::\d\d)?)", re.ASCII)
"""Two times of day with a hyphen between them; in a date or a zone it stands for something else."""


def stretch_named(name: str, text: str, whole: Stretch) -> Stretch:
    """Return the stretch of time that a text such as '14:05/14:20' names; '14:05' alone lasts to the end.

    Raises:
        ToolInputError: it names none.
    """
    two_times = _TWO_TIMES.fullmatch(text.strip())
    parts = list(two_times.groups()) if two_times else _BETWEEN.split(text.strip())
    if len(parts) > 2:
        raise ToolInputError(
            f"{name}={clip(repr(text), 24)} is no stretch of time; write 14:05/14:20, or 14:05 for all since then"
        )
    begin, end = window(parts[0], parts[1] if len(parts) == 2 else None, whole, (name, name))
    start = whole.first_us if begin is None else begin
    return Stretch(start, max(whole.last_us, start) if end is None else end)


def windows(
    store: LogStore, window_text: str | None, baseline_text: str | None, data: Stretch | None = None
) -> tuple[Stretch, Stretch | None]:
    """Return the window to look at and the baseline to compare it with.

    Left out, the baseline is the incident's healthy window, else all that comes before the window. Left out,
    the window is all that follows the baseline, else the second half of the incident.

    Args:
        store: the incident.
        window_text: names the window, or None.
        baseline_text: names the baseline, or None.
        data: how far the data reaches, where that is more than the incident.

    Raises:
        ToolInputError: a text that names no stretch, or an incident without clocks.
    """
    whole = data or store.stretch()
    if whole is None:
        raise ToolInputError("nothing in this incident has a clock; use search_logs")
    named = None if baseline_text is None else stretch_named("baseline", baseline_text, whole)
    healthy = named or store.baseline()
    if window_text is not None:
        looked_at = stretch_named("window", window_text, whole)
    elif healthy and healthy.last_us < whole.last_us:
        looked_at = Stretch(healthy.last_us + 1, whole.last_us)
    else:
        looked_at = Stretch((whole.first_us + whole.last_us) // 2, whole.last_us)
    before = Stretch(whole.first_us, looked_at.first_us - 1) if looked_at.first_us > whole.first_us else None
    return looked_at, healthy or before


def widened(stretch: Stretch | None, ordered_us: Sequence[int]) -> Stretch | None:
    """Return a stretch together with that of other moments, which are in order; clocks far off left aside."""
    if not ordered_us:
        return stretch
    first, last = mass(ordered_us)
    ends = [ordered_us[first], ordered_us[last], *(stretch or ())]
    return Stretch(min(ends), max(ends))


def told(stretch: Stretch, whole: Stretch | None) -> str:
    """A stretch of time in print."""
    return f"{clock_text(stretch.first_us, whole)}/{clock_text(stretch.last_us, whole)}"
