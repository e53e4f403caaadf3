"""What an incident consists of: log lines, spans, metrics and events, with their clocks and names.

Which of them prove what is `scenario`.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)

_HOUR_ONLY_ZONE = re.compile(r":\d\d(?:[.,]\d+)?[+-]\d\d")


def _whole_zone(given: Any) -> Any:
    """Write the zone of PostgreSQL and many loggers, +01, as ISO 8601 has it, +01:00."""
    if isinstance(given, str) and _HOUR_ONLY_ZONE.fullmatch(given[16:]):
        return f"{given}:00"
    return given


def _in_utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC)


Timestamp = Annotated[AwareDatetime, BeforeValidator(_whole_zone), AfterValidator(_in_utc)]
"""A moment in UTC. A time without an offset is refused rather than guessed."""
Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]*$")]
"""An identifier that is safe to print, to put in a file name and to quote: scenario ids, services, log and
trace ids.
"""


class Frozen(BaseModel):
    """Immutable data with no unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Level(IntEnum):
    """Severity, ordered so that `>=` means 'at least as severe'. A line without a level is UNKNOWN."""

    UNKNOWN = 0
    DEBUG = 10
    INFO = 20
    WARN = 30
    ERROR = 40
    FATAL = 50


SEARCH_LEVELS = tuple(level for level in Level if level is not Level.UNKNOWN)
"""The levels that a search may ask for."""
LevelName = Literal["UNKNOWN", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"]
Scalar = str | int | float | bool
_NANOSECONDS = re.compile(r"[.,]\d{6}(\d{1,3})")


def nanoseconds_beyond(timestamp: str) -> int:
    """Return what an ISO 8601 timestamp says beyond its microseconds, 0 to 999 nanoseconds."""
    found = _NANOSECONDS.search(timestamp)
    return int(found[1].ljust(3, "0")) if found else 0


def _with_nanoseconds(given: Any, clock: str) -> Any:
    """Keep the digits of a nanosecond clock that a datetime has no room for."""
    if not isinstance(given, dict) or not isinstance(given.get(clock), str):
        return given
    beyond = nanoseconds_beyond(given[clock])
    return {"nanosecond": beyond} | given if beyond else given


Nanosecond = Annotated[int, Field(ge=0, le=999)]


class LogRecord(Frozen):
    """One log line. A line without a clock has no timestamp and is ordered by its sequence number."""

    id: Name
    timestamp: Timestamp | None
    """UTC, to the microsecond."""
    service: Name
    level: LevelName
    message: str
    trace_id: Name | None = None
    span_id: Name | None = None
    attributes: dict[str, Scalar] = Field(default_factory=dict)
    nanosecond: Nanosecond = 0
    """Nanoseconds beyond the timestamp's microseconds; read from a timestamp that has them."""
    sequence: Annotated[int, Field(ge=0)] | None = None
    """Place among the lines as their source wrote them. It decides between lines of one moment, and puts a
    line without a clock behind its neighbour. Left out, the place in the file is meant.
    """

    @model_validator(mode="before")
    @classmethod
    def _keep_nanoseconds(cls, given: Any) -> Any:
        return _with_nanoseconds(given, "timestamp")

    @property
    def sort_key(self) -> tuple[datetime, int, int]:
        """Time order; a line without a clock comes before all others.
        `core.log_stores.ordering` places it better.
        """
        return (self.timestamp or _NO_CLOCK, self.nanosecond, self.sequence or 0)


_NO_CLOCK = datetime.min.replace(tzinfo=UTC)


class Span(Frozen):
    """One operation of one service inside a trace. `start` is UTC, `duration_ms` milliseconds."""

    trace_id: Name
    span_id: Name
    parent_span_id: Name | None = None
    service: Name
    operation: str
    start: Timestamp
    duration_ms: Annotated[float, Field(ge=0)]
    status: Literal["ok", "error", "timeout", "unknown"]
    """'unknown' where the source does not say."""
    nanosecond: Nanosecond = 0
    """Nanoseconds beyond the microseconds of `start`."""

    @model_validator(mode="before")
    @classmethod
    def _keep_nanoseconds(cls, given: Any) -> Any:
        return _with_nanoseconds(given, "start")

    @property
    def failed(self) -> bool:
        """Whether the span is known to have failed."""
        return self.status in FAILED


FAILED = frozenset({"error", "timeout"})
"""The span statuses that mean a failure."""


class MetricSeries(Frozen):
    """A metric of one service: `points`, (UTC time, value), or values at regular steps.

    Steps are compact: `start`, `step_s` and `values`, where null says that nothing was measured. Either way
    `points` reads the same.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", serialize_by_alias=True)

    service: Name
    name: str
    given: tuple[tuple[Timestamp, float], ...] = Field((), alias="points")
    start: Timestamp | None = None
    """Moment of the first value; UTC."""
    step_s: Annotated[float, Field(gt=0)] | None = None
    """Seconds between two values."""
    values: tuple[float | None, ...] = ()

    @model_validator(mode="after")
    def _one_form(self) -> MetricSeries:
        if (self.start is None) != (self.step_s is None) or (self.values and self.start is None):
            raise ValueError("values need start and step_s; give all three or points")
        if self.values and self.given:
            raise ValueError("give points or values, not both")
        return self

    @property
    def points(self) -> tuple[tuple[datetime, float], ...]:
        """(UTC time, value) of everything that was measured, in the order given."""
        if self.start is None or self.step_s is None:
            return self.given
        start, step = self.start, timedelta(seconds=self.step_s)
        return tuple(
            (start + number * step, value) for number, value in enumerate(self.values) if value is not None
        )

    @property
    def id(self) -> str:
        """How evidence and tools name the series: service/name."""
        return f"{self.service}/{self.name}"


class Event(Frozen):
    """What a cluster says happened to an object, as Kubernetes does. A search shows it among the log lines.

    An event that was counted several times is one event: `first_timestamp` and `timestamp` are its first and
    its last occurrence.
    """

    id: Name
    """Never the id of a log line too."""
    timestamp: Timestamp | None
    first_timestamp: Timestamp | None = None
    service: Name
    """The service that the object belongs to, or the name of the object."""
    object: Annotated[str, Field(max_length=500)]
    """Kind and name, such as Pod/cart-6d5f."""
    reason: Annotated[str, Field(max_length=200)]
    message: str = ""
    type: Literal["Normal", "Warning"] = "Normal"
    count: Annotated[int, Field(ge=1)] = 1
    sequence: Annotated[int, Field(ge=0)] | None = None
    """As in `LogRecord`."""


class Window(Frozen):
    """A stretch of time, both ends included, UTC."""

    start: Timestamp
    end: Timestamp

    @model_validator(mode="after")
    def _in_order(self) -> Window:
        if self.start > self.end:
            raise ValueError("start is after end; swap them")
        return self


class Edge(Frozen):
    """`caller` calls `callee`."""

    caller: Name
    callee: Name
