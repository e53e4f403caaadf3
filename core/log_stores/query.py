"""A search's arguments as a `LogQuery`: the one place that decides what they mean.

A service may be named by its beginning, a level by any common name, a time of day without its date. What
makes no sense raises ToolInputError. Nobody else reads these arguments: the tool and every analysis of what
was asked go through `asked`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from core.log_stores.contract import LogQuery, LogStore, Stretch
from core.log_stores.printing import clip, clock_text
from project_types import SEARCH_LEVELS, Level, ToolInputError

# ---------------------------------------------------------------------------------------------------- arguments


def _blank_is_none(value: Any) -> Any:
    return None if isinstance(value, str) and not value.strip() else value


def _joined(value: Any) -> Any:
    words = isinstance(value, list) and all(isinstance(word, str) for word in value)
    return " ".join(value) if words else value


OptionalText = Annotated[str | None, BeforeValidator(_blank_is_none)]
OptionalNumber = Annotated[int | None, BeforeValidator(_blank_is_none)]
ServiceName = Annotated[
    OptionalText, Field(description="Only this service; a unique beginning of its name is enough.")
]
StartTime = Annotated[OptionalText, Field(description="HH:MM, HH:MM:SS or ISO 8601, UTC.")]
EndTime = Annotated[
    OptionalText, Field(description="Like start_time; the minute or second named is included.")
]


class Arguments(BaseModel):
    """Arguments as models write them: numbers may be text and text numbers, blank is left out, an unknown
    name is refused.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True)


class SearchArguments(Arguments):
    """Arguments of `search_logs`; all may be left out."""

    keywords: Annotated[
        OptionalText,
        BeforeValidator(_joined),
        Field(description="Words that must all occur in a line (service, level or message)."),
    ] = None
    service: ServiceName = None
    min_level: Annotated[
        OptionalText,
        Field(
            description="Only this severity and worse.",
            json_schema_extra={"enum": [level.name for level in SEARCH_LEVELS]},
        ),
    ] = None
    start_time: StartTime = None
    end_time: EndTime = None
    limit: Annotated[OptionalNumber, Field(description="Most kinds of lines to show.")] = None
    cursor: Annotated[
        OptionalNumber, Field(description="Goes on where an earlier result of the same search stopped.")
    ] = None


# ------------------------------------------------------------------------------------------------------- queries


class Asked(NamedTuple):
    """A query, and each filter in words, by the name of its argument."""

    query: LogQuery
    told: Mapping[str, str]

    def without(self, argument: str) -> LogQuery:
        """Return the query with one filter less."""
        field = _FIELDS[argument]
        return self.query.model_copy(update={field: LogQuery.model_fields[field].default})


_FIELDS = {
    "keywords": "words",
    "service": "service",
    "min_level": "min_level",
    "start_time": "start_us",
    "end_time": "end_us",
}


class NoSuchService(Exception):
    """The service asked for is not there. It is an answer and no mistake: the name may come from a line."""


def asked(arguments: SearchArguments, store: LogStore) -> Asked:
    """Return what the arguments ask for.

    Raises:
        ToolInputError: a level, a time or keywords that cannot be used.
        NoSuchService: the service is not known, or several begin so.
    """
    start_us, end_us = window(arguments.start_time, arguments.end_time, store.stretch())
    query = LogQuery(
        words=words(arguments.keywords),
        service=None if arguments.service is None else known_service(arguments.service, store),
        min_level=None if arguments.min_level is None else _level(arguments.min_level),
        start_us=start_us,
        end_us=end_us,
    )
    return Asked(query, _told(query, store.stretch()))


def _told(query: LogQuery, stretch: Stretch | None) -> dict[str, str]:
    told = {
        "keywords": f"keywords={' '.join(query.words)}" if query.words else "",
        "service": f"service={query.service}" if query.service else "",
        "min_level": f"level>={query.min_level.name}" if query.min_level else "",
        "start_time": "" if query.start_us is None else f"from {clock_text(query.start_us, stretch)}",
        "end_time": "" if query.end_us is None else f"to {clock_text(query.end_us, stretch)}",
    }
    return {name: text for name, text in told.items() if text}


def known_service(name: str, store: LogStore) -> str:
    """Return the service named, whatever its case, or the only one that begins with the name.

    Raises:
        NoSuchService: none or several do.
    """
    name, services = name.strip(), store.services()
    if name in services:
        return name
    lowered = name.lower()
    same = [one for one in services if one.lower() == lowered]
    begins = [one for one in services if one.lower().startswith(lowered)]
    for found in (same, begins):
        if len(found) == 1:
            return found[0]
    raise NoSuchService(name)


def words(keywords: str | None) -> tuple[str, ...]:
    """Return the words of a query. Raises ToolInputError for too many."""
    text = "".join(char if char.isprintable() else " " for char in keywords or "")
    found = tuple(text.split())
    if len(found) > 12 or sum(map(len, found)) > 200:
        raise ToolInputError("keywords: too long; give at most 12 words and 200 letters, the rarest you know")
    return found


_LEVELS = {level.name: level for level in SEARCH_LEVELS} | {
    "TRACE": Level.DEBUG, "NOTICE": Level.INFO, "INFORMATION": Level.INFO, "WARNING": Level.WARN, "ERR": Level.ERROR,
    "SEVERE": Level.ERROR, "CRIT": Level.FATAL, "CRITICAL": Level.FATAL, "ALERT": Level.FATAL, "EMERGENCY": Level.FATAL,
    "PANIC": Level.FATAL,
}  # fmt: skip


def _level(text: str) -> Level:
    try:
        return _LEVELS[text.strip().upper()]
    except KeyError:
        names = ", ".join(level.name for level in SEARCH_LEVELS)
        raise ToolInputError(f"min_level={clip(repr(text), 12)} is no level; use one of {names}") from None


# --------------------------------------------------------------------------------------------------------- times

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
    """Return the two ends in microseconds. Raises ToolInputError for what is no time, or for a wrong order."""
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
