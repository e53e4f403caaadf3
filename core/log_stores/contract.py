"""What every log store answers: the contract between the tools and the databases behind them.

A store is bound to one incident or one test run when it is made, so no question can reach another one. A
`LogQuery` says which lines are asked for, and the store decides nothing about that beyond this text:

- Every word of the query must occur in a line: in its service, in the name of its level or in its message,
  also as a part of a longer word. Case does not matter, in any alphabet.
- A store may also match other grammatical forms of a word ("failing" for "failed").
- A line without a clock is as old as the line before it in its source.

Times are microseconds since 1970, UTC. Making a query from a tool's arguments is `core.log_stores.query`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple, Protocol

from core.log_stores.line_columns import LineColumns
from project_types import Edge, Event, Frozen, Level, LogRecord, MetricSeries, Span

IdKind = Literal["log", "trace"]


class LogQuery(Frozen):
    """Which lines are asked for. An empty query asks for all."""

    words: tuple[str, ...] = ()
    service: str | None = None
    """A whole name."""
    min_level: Level | None = None
    start_us: int | None = None
    end_us: int | None = None
    """Both ends are included."""


class Line(NamedTuple):
    """A stored log line, or an event, which is stored as one."""

    id: str
    at_us: int
    has_clock: bool
    """False: `at_us` is the time of its neighbour."""
    service: str
    level: int
    text: str
    """One printable line."""
    trace_id: str | None


class Tally(NamedTuple):
    """How many matching lines of one kind one service wrote."""

    kind: int
    """The same for lines that are alike, whoever wrote them; it has no meaning of its own."""
    service: str
    level: int
    times: int
    first: tuple[int, int]
    """Orders the first of these lines among all lines, and names it within the store."""


class Kind(NamedTuple):
    """Lines that are alike: the first of them, and what differs among them."""

    first: Line
    times: int
    services: tuple[str, ...]
    """Who wrote them; more than one only when many did."""
    differs: tuple[str, ...] = ()
    """What takes few values among them, such as '200 x20, 500 x3'."""


class Count(NamedTuple):
    """How many lines a query matches, and of how many kinds."""

    lines: int
    kinds: int


class StoredSpan(NamedTuple):
    """A span of the store."""

    trace_id: str
    span_id: str
    parent_span_id: str | None
    service: str
    operation: str
    start_us: int
    duration_ms: float
    status: str


class Trace(NamedTuple):
    """A trace: its spans by start, and one line of each kind with how many there are, in time order."""

    spans: Sequence[StoredSpan]
    lines: Sequence[tuple[Line, int]]


class StoredSeries(NamedTuple):
    """A metric of the store; `points` are (microseconds, value), in time order."""

    service: str
    name: str
    points: Sequence[tuple[int, float]]


class Stretch(NamedTuple):
    """A stretch of time, both ends included."""

    first_us: int
    last_us: int


class LogStore(Protocol):
    """The data of one incident or one run."""

    remote: bool
    """Whether an answer takes a request over the network."""

    def services(self) -> Sequence[str]:
        """Return the names of all services, those without a line included."""
        ...

    def stretch(self) -> Stretch | None:
        """Return when the incident is, clocks far from the mass left aside; None when nothing has a clock."""
        ...

    def baseline(self) -> Stretch | None:
        """Return a stretch in which all was well, if one is known."""
        ...

    def size(self) -> int:
        """Return how many lines are stored: the count of the empty query, without looking at their kinds."""
        ...

    def tally(self, query: LogQuery) -> Sequence[Tally]:
        """Count the matching lines by kind and service, in no order."""
        ...

    def kinds(self, query: LogQuery, offset: int = 0, limit: int | None = None) -> Sequence[Kind]:
        """Return kinds of matching lines: the worst level first, then the rarest, then the earliest."""
        ...

    def count(self, query: LogQuery) -> Count:
        """Count the matching lines and their kinds."""
        ...

    def at(self, places: Sequence[tuple[int, int]]) -> Sequence[Line]:
        """Return the lines that `Tally.first` names, in the order given."""
        ...

    def matched(self, query: LogQuery) -> Sequence[str]:
        """Return the ids of all matching lines, in time order."""
        ...

    def lines(self, query: LogQuery, offset: int = 0, limit: int | None = None) -> Sequence[Line]:
        """Return matching lines, in time order."""
        ...

    def trace(self, trace_id: str) -> Trace:
        """Return a trace by its whole id; an unknown one is empty."""
        ...

    def spans(
        self, service: str | None = None, start_us: int | None = None, end_us: int | None = None
    ) -> Sequence[StoredSpan]:
        """Return the spans of a service that started in a stretch of time, by start."""
        ...

    def metrics(self, service: str | None = None, name: str | None = None) -> Sequence[StoredSeries]:
        """Return the metric series of a service whose name holds `name`, by service and name."""
        ...

    def around(self, log_id: str, before: int, after: int) -> Sequence[Line]:
        """Return a line by its whole id, with its neighbours in time order of whatever service."""
        ...

    def resolve(self, kind: IdKind, shown: str) -> Sequence[str]:
        """Return the ids that `shown` can stand for: itself, or those that begin
        with its 4 or more letters.
        """
        ...

    def short(self, kind: IdKind, full: str) -> str:
        """Return the beginning of an id that is enough to name it here."""
        ...

    def ingest(
        self,
        logs: Iterable[LogRecord] | LineColumns = (),
        spans: Iterable[Span] = (),
        metrics: Iterable[MetricSeries] = (),
        events: Iterable[Event] = (),
        topology: Iterable[Edge] = (),
    ) -> None:
        """Add data. A line or a span whose id is stored already is left out.

        Lines may come by column, from a program that has cleaned and ordered them, then without events.

        Raises:
            DatabaseError: the store cannot be written, or lost a part of the data.
        """
        ...
