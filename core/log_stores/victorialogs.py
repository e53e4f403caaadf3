"""A log store over VictoriaLogs: the engine when one machine's file is not enough.

The server is append-only and answers 200 also when it dropped rows: those whose clock it cannot read, that
are older than its retention or further ahead than it allows, that are too long. So what is sent is counted
again, and a loss is an error that says why it may be. Rows that are stored already are not sent again. Clocks
far from the mass are kept in a field of their own, where retention does not touch them. Queries are built in
`logsql`.
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from core.log_stores import logsql
from core.log_stores import victorialogs_rows as wire
from core.log_stores.contract import (
    Count,
    IdKind,
    Kind,
    Line,
    LogQuery,
    StoredSeries,
    StoredSpan,
    Stretch,
    Tally,
    Trace,
)
from core.log_stores.id_prefix import SHORTEST
from core.log_stores.kinds import Grouped, grouped, kinds_of
from core.log_stores.line_columns import Kinds, LineColumns, as_columns, log_rows
from core.log_stores.ordering import within_reach
from core.log_stores.scenario_rows import span_rows
from core.log_stores.tables import stretch
from project_types import DatabaseError, Edge, Event, Level, LogRecord, MetricSeries, Span

LINES_A_REQUEST = 1000
_POLL_S = 0.05
_MOST_ALIKE = 5000
_KNOWN_S = 1.0
"""For how long what is known of the whole run is believed."""
_STREAM_FIELDS = "run_id,log"
_LINE_FIELDS = "id, at, clock, service, level, trace_id, blank, _msg"
_SPAN_FIELDS = "trace_id, span_id, parent, service, at, duration, status, _msg"


def victorialogs_store(url: str, run_id: str, timeout_s: float = 30.0) -> VictoriaLogsStore:
    """Return the run's part of a VictoriaLogs server. Nothing is asked of it yet."""
    return VictoriaLogsStore(logsql.Server(url, timeout_s), run_id)


def health(url: str) -> tuple[bool, str]:
    """Say whether a server is well, and what to type when it is not."""
    return logsql.Server(url).health()


class VictoriaLogsStore:
    """One run on a server. See `contract.LogStore` for what each answer is."""

    remote = True

    def __init__(self, server: logsql.Server, run_id: str) -> None:
        self.server, self.run_id = server, run_id
        self.visible_s = 30.0
        """How long rows may take until a query sees them."""
        self._lock = threading.Lock()
        self._known: dict[str, tuple[float, Any]] = {}
        self._fresh: bool | None = None
        """Whether the run was empty when this store began to write; None before."""

    # -- asking

    def _rows(self, kind: str, filters: Sequence[str], pipes: str) -> Iterator[dict[str, str]]:
        where = [logsql.stream(run_id=self.run_id), logsql.equals("what", kind), *filters]
        return self.server.query(f"{logsql.every(where)} | {pipes}")

    def _filters(self, query: LogQuery) -> list[str]:
        filters: list[str] = []
        if query.service is not None:
            filters.append(logsql.equals("service", query.service))
        if query.min_level is not None:
            filters.append(logsql.at_least("level", query.min_level))
        if query.start_us is not None:
            filters.append(logsql.at_least("at", query.start_us))
        if query.end_us is not None:
            filters.append(logsql.at_most("at", query.end_us))
        return filters + [self._word(word) for word in query.words]

    def _word(self, word: str) -> str:
        """Match lines that hold a word in their text, their service or the name of their level."""
        lowered = word.casefold()
        either = [logsql.holds("_msg", word)]
        if services := [name for name in self.services() if lowered in name.casefold()]:
            either.append(logsql.one_of("service", services))
        if levels := [level.value for level in Level if lowered in level.name.lower()]:
            either.append(logsql.one_of("level", levels))
        return logsql.some(either)

    def _remembered(self, name: str, ask: Any) -> Any:
        """Return what is known of the whole run; it is asked anew after a second."""
        with self._lock:
            at, value = self._known.get(name, (-_KNOWN_S, None))
        if time.monotonic() - at > _KNOWN_S:
            value = ask()
            with self._lock:
                self._known[name] = time.monotonic(), value
        return value

    # -- the whole

    def services(self) -> Sequence[str]:
        def ask() -> list[str]:
            where = f"{logsql.stream(run_id=self.run_id)} {logsql.one_of('what', ('log', 'span', 'metric'))}"
            found = self.server.query(f"{where} | uniq by (service)")
            return sorted(row["service"] for row in found if row.get("service"))

        found: list[str] = self._remembered("services", ask)
        return found

    def stretch(self) -> Stretch | None:
        def ask() -> Stretch | None:
            found = list(self._rows("batch", (), "fields first, last, ord | sort by (ord)"))
            known: tuple[int, int] | None = None
            for row in found:
                if row.get("first"):
                    new = int(row["first"]), int(row["last"])
                    known = within_reach(known, new) if known else new
            return Stretch(*known) if known else None

        found: Stretch | None = self._remembered("stretch", ask)
        return found

    def baseline(self) -> Stretch | None:
        return None

    # -- lines

    def size(self) -> int:
        return sum(int(row["n"]) for row in self._rows("log", [], "stats count() n"))

    def tally(self, query: LogQuery) -> list[Tally]:
        pipes = "stats by (kind, service, level) count() times, row_min(ord, ord) first"
        return [
            Tally(
                int(row["kind"]),
                row["service"],
                int(row["level"]),
                int(row["times"]),
                wire.place(logsql.row_of(row["first"])["ord"]),
            )
            for row in self._rows("log", self._filters(query), pipes)
        ]

    def _grouped(self, query: LogQuery) -> Grouped:
        found: Grouped = self._remembered(query.model_dump_json(), lambda: grouped(self.tally(query)))
        return found

    def count(self, query: LogQuery) -> Count:
        return self._grouped(query).total

    def kinds(self, query: LogQuery, offset: int = 0, limit: int | None = None) -> list[Kind]:
        groups = self._grouped(query).groups[offset : None if limit is None else offset + limit]
        lines = self.at([group.first for group in groups])
        return kinds_of(groups, lines, partial(self._alike, query))

    def at(self, places: Sequence[tuple[int, int]]) -> list[Line]:
        if not places:
            return []
        wanted = [logsql.one_of("ord", [wire.order(*place) for place in places])]
        found = self._rows("log", wanted, f"fields ord, {_LINE_FIELDS}")
        lines = {wire.place(row["ord"]): wire.line(row) for row in found}
        return [lines[place] for place in places]

    def _alike(self, query: LogQuery, kind: int, services: Sequence[str]) -> list[str]:
        filters = [*self._filters(query), logsql.equals("kind", str(kind))]
        if len(services) == 1:
            filters.append(logsql.equals("service", services[0]))
        found = self._rows("log", filters, f"fields _msg, blank | limit {_MOST_ALIKE}")
        return [wire.text_of(row) for row in found]

    def matched(self, query: LogQuery) -> list[str]:
        found = self._rows("log", self._filters(query), "fields id, ord | sort by (ord)")
        return [row["id"] for row in found]

    def lines(self, query: LogQuery, offset: int = 0, limit: int | None = None) -> list[Line]:
        if limit == 0:
            return []
        page = f" offset {offset}" + ("" if limit is None else f" limit {limit}")
        pipes = f"fields ord, {_LINE_FIELDS} | sort by (ord){page}"
        return [wire.line(row) for row in self._rows("log", self._filters(query), pipes)]

    # -- traces, spans, metrics

    def trace(self, trace_id: str) -> Trace:
        of = [logsql.equals("trace_id", trace_id)]
        spans = self._rows("span", of, f"fields ord, {_SPAN_FIELDS} | sort by (ord)")
        kinds = self._rows(
            "log", of, f"stats by (kind, service) count() times, row_min(ord, ord, {_LINE_FIELDS}) first"
        )
        lines = sorted(
            ((logsql.row_of(row["first"]), int(row["times"])) for row in kinds), key=lambda one: one[0]["ord"]
        )
        return Trace([wire.span(row) for row in spans], [(wire.line(row), times) for row, times in lines])

    def spans(
        self, service: str | None = None, start_us: int | None = None, end_us: int | None = None
    ) -> list[StoredSpan]:
        filters = self._filters(LogQuery(service=service, start_us=start_us, end_us=end_us))
        return [
            wire.span(row)
            for row in self._rows("span", filters, f"fields ord, {_SPAN_FIELDS} | sort by (ord)")
        ]

    def metrics(self, service: str | None = None, name: str | None = None) -> list[StoredSeries]:
        filters = [] if service is None else [logsql.equals("service", service)]
        filters += [] if name is None else [logsql.holds("name", name)]
        series: dict[tuple[str, str], list[tuple[int, float]]] = {}
        for row in self._rows("metric", filters, "fields service, name, ord, _msg | sort by (ord)"):
            points = series.setdefault((row["service"], row["name"]), [])
            points += [(int(at), float(value)) for at, value in json.loads(row["_msg"])]
        return [StoredSeries(*names, sorted(points)) for names, points in sorted(series.items())]

    # -- rows by id

    def around(self, log_id: str, before: int, after: int) -> list[Line]:
        here = list(self._rows("log", [logsql.equals("id", log_id)], f"fields ord, {_LINE_FIELDS}"))
        if not here:
            return []
        order = logsql.quoted(here[0]["ord"])
        earlier = self._beside(f"ord:<{order}", "sort by (ord desc)", before)
        later = self._beside(f"ord:>{order}", "sort by (ord)", after)
        return [*reversed(earlier), wire.line(here[0]), *later]

    def _beside(self, where: str, sort: str, number: int) -> list[Line]:
        if number < 1:
            return []
        return [
            wire.line(row)
            for row in self._rows("log", [where], f"fields ord, {_LINE_FIELDS} | {sort} limit {number}")
        ]

    def resolve(self, kind: IdKind, shown: str) -> Sequence[str]:
        field = "id" if kind == "log" else "trace_id"
        found: set[str] = set()
        for what in ("log",) if kind == "log" else ("log", "span"):
            rows = self._rows(what, [logsql.begins(field, shown)], f"uniq by ({field}) limit 100")
            found |= {row[field] for row in rows if row.get(field, "").startswith(shown)}
        if shown in found:
            return [shown]
        return sorted(found) if len(shown) >= SHORTEST else []

    def short(self, kind: IdKind, full: str) -> str:
        return full

    # -- writing

    def ingest(
        self,
        logs: Iterable[LogRecord] | LineColumns = (),
        spans: Iterable[Span] = (),
        metrics: Iterable[MetricSeries] = (),
        events: Iterable[Event] = (),
        topology: Iterable[Edge] = (),
    ) -> None:
        lines = as_columns(logs, events)
        series = list(metrics)
        kinds = Kinds()
        log_tuples = log_rows(lines, 0, self._next_row(), kinds=kinds)
        span_tuples = span_rows([vars(span) for span in spans], 0, 0)
        made = [
            *wire.log_fields(log_tuples, kinds),
            *map(wire.span_fields, span_tuples),
            *(row for one in series for row in wire.metric_fields(one)),
        ]
        new = self._without_known(made)
        clocks = lines.clocks()
        first, last, _ = stretch(clocks, [span[7] for span in span_tuples], series)
        if new:
            batch = uuid.uuid4().hex
            self._send([*new, wire.batch_fields(first, last)], batch, clocks)
            self._verify(batch, len(new) + 1)
        with self._lock:
            self._known.clear()

    def _next_row(self) -> int:
        """Return a number that orders this batch's rows behind all earlier ones of the same microsecond."""
        return time.time_ns() // 1_000_000 % 10**9 * 1000

    def _without_known(self, made: Sequence[dict[str, str]]) -> list[dict[str, str]]:
        """Leave out rows that are stored, and second ones of this batch: the server would keep both."""
        unique = list({(row["what"], row["id"]): row for row in reversed(made)}.values())[::-1]
        if self._fresh is None:
            found = self.server.query(f"{logsql.stream(run_id=self.run_id)} | limit 1")
            self._fresh = next(found, None) is None
        if self._fresh:
            self._fresh = False
            return unique
        new: list[dict[str, str]] = []
        for at in range(0, len(unique), LINES_A_REQUEST):
            part = unique[at : at + LINES_A_REQUEST]
            where = f"{logsql.stream(run_id=self.run_id)} {logsql.one_of('id', [row['id'] for row in part])}"
            stored = {(row["what"], row["id"]) for row in self.server.query(f"{where} | fields what, id")}
            new += [row for row in part if (row["what"], row["id"]) not in stored]
        return new

    def _send(self, rows: Sequence[dict[str, str]], batch: str, clocks: Sequence[int]) -> None:
        near = wire.mass_of(clocks)
        for at in range(0, len(rows), LINES_A_REQUEST):
            lines = [
                json.dumps(
                    row | {"run_id": self.run_id, "batch": batch, "_time": wire.filed_under(row, near)},
                    ensure_ascii=False,
                )
                for row in rows[at : at + LINES_A_REQUEST]
            ]
            self.server.insert(lines, _STREAM_FIELDS)

    def _verify(self, batch: str, sent: int) -> None:
        """Wait until the server shows what was sent. Raises DatabaseError when it never does."""
        where = f"{logsql.stream(run_id=self.run_id)} {logsql.equals('batch', batch)}"
        ends, there, pause_s = time.monotonic() + self.visible_s, -1, _POLL_S
        while there < sent and time.monotonic() < ends:
            if there >= 0:
                time.sleep(pause_s)
                pause_s = min(pause_s * 1.5, 1.0)
            there = sum(int(row["n"]) for row in self.server.query(f"{where} | stats count() n"))
        if there < sent:
            raise DatabaseError(
                f"{self.server.shown}: {sent - there} of {sent} rows were answered with 200 and are not there; rows older "
                "than the server's retention are dropped so: start it with -retentionPeriod=100y, and look into its log"
            )
