"""A search's arguments as a `LogQuery`: the one place that decides what they mean.

A service may be named by its beginning, a level by any common name, a time of day without its date. What
makes no sense raises ToolInputError. Nobody else reads these arguments: the tool and every analysis of what
was asked go through `asked`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from core.log_stores.contract import LogQuery, LogStore, Stretch
from core.log_stores.printing import clip, clock_text
from core.log_stores.times import window
from project_types import SEARCH_LEVELS, Level, ToolInputError

# -------------------------------------------------------------------------------------------------- arguments


def blank_is_none(value: Any) -> Any:
    """Take a blank text for an argument that was left out."""
    return None if isinstance(value, str) and not value.strip() else value


def _joined(value: Any) -> Any:
    words = isinstance(value, list) and all(isinstance(word, str) for word in value)
    return " ".join(value) if words else value


OptionalText = Annotated[str | None, BeforeValidator(blank_is_none)]
OptionalNumber = Annotated[int | None, BeforeValidator(blank_is_none)]
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


# ---------------------------------------------------------------------------------------------------- queries


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
