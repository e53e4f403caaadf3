"""The embedded log store: one SQLite file of incidents and runs, read through one connection.

`open_store` reads what `build_logs` wrote; that file never changes, it is replaced. Every store on the same
built file shares a connection, so an episode's tools cost microseconds. Files that grow are
`core.log_stores.growing`, the tables `core.log_stores.tables`, grouping `core.log_stores.kinds`.
"""

from __future__ import annotations

import difflib
import json
import re
import sqlite3
import threading
from collections.abc import Iterable, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

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
from core.log_stores.id_prefix import IdPrefixes
from core.log_stores.kinds import Grouped, grouped, kinds_of
from core.log_stores.line_columns import LineColumns
from core.log_stores.tables import APPLICATION_ID, SCHEMA_VERSION, pairs
from project_types import DatabaseError, Edge, Event, Level, LogRecord, MetricSeries, Span

_REBUILD = "run: python build_logs.py"
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_IOERR)
LINE = "id, at_us, has_clock, service, level, text, trace_id"
_IN_WORDS = "row IN (SELECT rowid FROM log_words WHERE log_words MATCH ? AND rowid BETWEEN ? AND ?)"
_SPAN = "trace_id, span_id, parent_span_id, service, operation, start_us, duration_ms, status"
_MOST_ALIKE = 5000
"""Lines of one kind that are compared to say what differs."""


class LogFile:
    """A SQLite file and one connection to it; a lock makes it safe from any thread."""

    def __init__(self, name: str, connection: sqlite3.Connection) -> None:
        self.name, self.connection = name, connection
        self.stores: dict[str, SqliteStore] = {}
        self.lock = threading.RLock()
        connection.create_function("holds", 2, _holds, deterministic=True)

    def rows(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Run a query. Raises DatabaseError when the file is damaged."""
        try:
            with self.lock:
                return self.connection.execute(query, parameters).fetchall()
        except sqlite3.DatabaseError as trouble:
            if trouble.sqlite_errorcode & 0xFF not in _DAMAGED:
                raise
            raise DatabaseError(f"{self.name}: is damaged ({trouble}); delete it and {_REBUILD}") from trouble

    def __del__(self) -> None:
        self.connection.close()


def _in_us(points: str) -> list[tuple[int, float]]:
    """Points as they are stored, in microseconds."""
    return [(at_ms * 1000, value) for at_ms, value in pairs(points)]


def _holds(text: str, word: str) -> bool:
    """Whether the text holds a word that is not plain ASCII, whatever the case;
    SQLite's lower() is for ASCII.
    """
    return word.casefold() in text.casefold()


def _like(word: str) -> str:
    """A LIKE pattern for texts that hold the word."""
    return "%" + re.sub(r"([\\%_])", r"\\\1", word) + "%"


def open_store(database: Path, scenario_id: str) -> SqliteStore:
    """Return the scenario's part of a built database.

    Raises:
        DatabaseError: the database is missing, damaged, of another version, or lacks the scenario; says what
        to run.
    """
    try:
        path = database.resolve()
        found = path.stat()
    except OSError as trouble:
        raise DatabaseError(f"{database}: cannot be opened ({trouble.strerror}); {_REBUILD}") from trouble
    file = _built_file(path, found.st_dev, found.st_ino, found.st_mtime_ns)
    if scenario_id not in file.stores:
        file.stores[scenario_id] = SqliteStore(file, scenario_id)
    return file.stores[scenario_id]


@lru_cache(maxsize=8)
def _built_file(path: Path, device: int, inode: int, changed_ns: int) -> LogFile:
    """A rebuilt database is another file under the same name, hence the rest of the key."""
    connection = None
    try:  # immutable: a build replaces the file and never edits it
        connection = sqlite3.connect(
            f"{path.as_uri()}?mode=ro&immutable=1", uri=True, check_same_thread=False, isolation_level=None
        )
        connection.execute("PRAGMA query_only=1")
        check_version(str(path), connection)
        return LogFile(str(path), connection)
    except sqlite3.Error as trouble:
        raise DatabaseError(
            f"{path}: is not a logs database ({trouble}); move it away and {_REBUILD}"
        ) from trouble


def check_version(name: str, connection: sqlite3.Connection) -> None:
    """Raise DatabaseError when the file is of another version, or of another program."""
    found = [
        connection.execute(f"PRAGMA {what}").fetchone()[0] for what in ("application_id", "user_version")
    ]
    if found != [APPLICATION_ID, SCHEMA_VERSION]:
        raise DatabaseError(f"{name}: was not written by this version of build_logs.py; {_REBUILD}")


class SqliteStore:
    """The part of a file that belongs to one incident. See `contract.LogStore` for what each answer is."""

    remote = False
    _order = "row"
    """The columns that order lines: a built incident lies in time order."""
    _first = "min(row)"
    """Makes SQLite take the first line of a group."""

    def __init__(self, file: LogFile, scenario_id: str) -> None:
        self.file, self.scenario_id = file, scenario_id
        self._read()

    def rows(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Run a query on the file. Raises DatabaseError when it is damaged."""
        return self.file.rows(query, *parameters)

    def _read(self) -> None:
        """Read what the file says of the whole incident."""
        found = self.rows(
            "SELECT services, first_row, last_row, first_span, last_span, first_us, last_us, baseline_first_us, "
            "baseline_last_us, number FROM scenarios WHERE id = ?",
            self.scenario_id,
        )
        if not found:
            raise DatabaseError(self._missing())
        services, *numbers = found[0]
        self._services: list[str] = json.loads(services)
        self.log_range, self.span_range = tuple(numbers[:2]), tuple(numbers[2:4])
        self._stretch = Stretch(*numbers[4:6]) if numbers[4] is not None else None
        self._baseline = Stretch(*numbers[6:8]) if numbers[6] is not None else None
        self.number: int = numbers[8]
        self._prefixes: dict[IdKind, IdPrefixes] = {}
        self._grouped: dict[LogQuery, Grouped] = {}
        self._spans: list[StoredSpan] | None = None
        self._series: list[StoredSeries] | None = None

    def _missing(self) -> str:
        known = [row[0] for row in self.rows("SELECT id FROM scenarios")]
        near = difflib.get_close_matches(self.scenario_id, known, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        return f"{self.file.name}: has no scenario {self.scenario_id!r}{hint}; if its file is new, {_REBUILD}"

    # -- the whole

    def services(self) -> Sequence[str]:
        return self._services

    def stretch(self) -> Stretch | None:
        return self._stretch

    def baseline(self) -> Stretch | None:
        return self._baseline

    # -- lines

    def size(self) -> int:
        query = "SELECT count(*) FROM logs WHERE scenario = ? AND row BETWEEN ? AND ?"
        return int(self.rows(query, self.number, *self.log_range)[0][0])

    def tally(self, query: LogQuery) -> list[Tally]:
        where, parameters = self._where(query)
        found = self.rows(self._counts(where), *parameters)
        return [Tally._make((*counts, (at, row))) for *counts, at, row in found]

    def _counts(self, where: str) -> str:
        """SQL that counts lines by kind and service."""
        return (
            f"SELECT kind, service, level, count(*), {self._first}, row FROM {where} GROUP BY kind, service"
        )

    def _kinds(self, query: LogQuery) -> Grouped:
        if query not in self._grouped:
            if len(self._grouped) >= 4:
                self._grouped.clear()
            self._grouped[query] = grouped(self.tally(query))
        return self._grouped[query]

    def count(self, query: LogQuery) -> Count:
        return self._kinds(query).total

    def kinds(self, query: LogQuery, offset: int = 0, limit: int | None = None) -> list[Kind]:
        groups = self._kinds(query).groups[offset : None if limit is None else offset + limit]
        lines = self.at([group.first for group in groups])
        return kinds_of(groups, lines, partial(self._alike, query))

    def stands_for(self, query: LogQuery, log_id: str) -> str | None:
        """Return the id of the first line of the kind that a line belongs to; None when it does not match."""
        where, parameters = self._where(query, [("id", log_id)])
        found = self.rows(f"SELECT kind, service FROM {where}", *parameters)
        for kind, service in found:
            groups = [g for g in self._kinds(query).groups if g.kind == kind and service in g.services]
            return self.at([groups[0].first])[0].id
        return None

    def at(self, places: Sequence[tuple[int, int]]) -> list[Line]:
        rows = [row for _, row in places]
        marks = ", ".join("?" * len(rows))
        found = self.rows(f"SELECT row, {LINE} FROM logs WHERE row IN ({marks})", *rows)
        lines = {row: Line(*rest) for row, *rest in found}
        return [lines[row] for row in rows]

    def _alike(self, query: LogQuery, kind: int, services: Sequence[str]) -> list[str]:
        # before the words, which take longer to compare
        of = [("kind", kind)] if len(services) > 1 else [("kind", kind), ("service", services[0])]
        where, parameters = self._where(query, of)
        found = self.rows(f"SELECT text FROM {where} LIMIT {_MOST_ALIKE}", *parameters)
        return [text for (text,) in found]

    def matched(self, query: LogQuery) -> list[str]:
        where, parameters = self._where(query)
        found = self.rows(f"SELECT id FROM {where} ORDER BY {self._order}", *parameters)
        return [id for (id,) in found]

    def lines(self, query: LogQuery, offset: int = 0, limit: int | None = None) -> list[Line]:
        where, parameters = self._where(query)
        page = (-1 if limit is None else limit, offset)
        found = self.rows(
            f"SELECT {LINE} FROM {where} ORDER BY {self._order} LIMIT ? OFFSET ?", *parameters, *page
        )
        return [Line(*line) for line in found]

    def _source(self, query: LogQuery) -> tuple[str, list[Any]]:
        """SQL for where to look, without the query's filters, and its parameters."""
        return "logs WHERE row BETWEEN ? AND ?", [*self.log_range]

    def _where(self, query: LogQuery, equal: Sequence[tuple[str, Any]] = ()) -> tuple[str, list[Any]]:
        """SQL for the lines a query asks for, those with equal columns only, and its parameters."""
        source, parameters = self._source(query)
        where = [source, *(f"{column} = ?" for column, _ in equal)]
        parameters += [value for _, value in equal]
        for column, compare, value in (
            ("service", "=", query.service),
            ("level", ">=", query.min_level),
            ("at_us", ">=", query.start_us),
            ("at_us", "<=", query.end_us),
        ):
            if value is not None:
                where.append(f"{column} {compare} ?")
                parameters.append(int(value) if isinstance(value, Level) else value)
        if query.words:
            words, values = self._words(query)
            where.append(words)
            parameters += values
        return " AND ".join(where), parameters

    def _words(self, query: LogQuery) -> tuple[str, list[Any]]:
        """SQL for the lines that hold all words of a query, within the rows that can match."""
        bounds = self._bounds(query)
        words = [self._word(word, bounds) for word in query.words]
        return " AND ".join(sql for sql, _ in words), [value for _, values in words for value in values]

    def _bounds(self, query: LogQuery) -> tuple[int, int]:
        """The first and the last row that can match."""
        return self.log_range

    def _word(self, word: str, bounds: tuple[int, int]) -> tuple[str, list[Any]]:
        """SQL for the lines that hold a word: as a part, or whole in another grammatical form."""
        lowered = word.casefold()
        either: list[str] = []
        values: list[Any] = []
        if word.isascii() and word.isalpha():  # only such words have other forms, and none is a query
            either, values = [_IN_WORDS], [f'"{word}"', *bounds]
        services = [name for name in self._services if lowered in name.lower()]
        levels = [level.value for level in Level if lowered in level.name.lower()]
        for column, wanted in (("service", services), ("level", levels)):
            if wanted:
                either.append(f"{column} IN ({', '.join('?' * len(wanted))})")
                values += wanted
        # LIKE ignores the case of ASCII letters only, and is the quickest way to compare them
        either.append(r"text LIKE ? ESCAPE '\'" if word.isascii() else "holds(text, ?)")
        return f"({' OR '.join(either)})", [*values, _like(word) if word.isascii() else word]

    # -- traces, spans, metrics

    def trace(self, trace_id: str) -> Trace:
        spans = self.rows(
            f"SELECT {_SPAN} FROM spans WHERE scenario = ? AND trace_id = ? AND row BETWEEN ? AND ? ORDER BY start_us, row",
            *(self.number, trace_id, *self.span_range),
        )
        lines = self.rows(
            f"SELECT {self._first}, {LINE}, count(*) FROM logs WHERE scenario = ? AND trace_id = ? "
            "AND row BETWEEN ? AND ? GROUP BY kind, service ORDER BY 1, row",
            *(self.number, trace_id, *self.log_range),
        )
        return Trace([StoredSpan(*row) for row in spans], [(Line(*line), times) for _, *line, times in lines])

    def spans(
        self, service: str | None = None, start_us: int | None = None, end_us: int | None = None
    ) -> list[StoredSpan]:
        if self._spans is None:
            found = self.rows(
                f"SELECT {_SPAN} FROM spans WHERE row BETWEEN ? AND ? ORDER BY start_us, row",
                *self.span_range,
            )
            self._spans = [StoredSpan(*row) for row in found]
        if service is None and start_us is None and end_us is None:
            return self._spans  # the very same list, so that what is computed of it can be kept
        return [
            span
            for span in self._spans
            if (service is None or span.service == service)
            and (start_us is None or span.start_us >= start_us)
            and (end_us is None or span.start_us <= end_us)
        ]

    def metrics(self, service: str | None = None, name: str | None = None) -> list[StoredSeries]:
        if self._series is None:
            found = self.rows(
                "SELECT service, name, points FROM metrics WHERE scenario = ? ORDER BY service, name",
                self.number,
            )
            self._series = [StoredSeries(owner, title, _in_us(points)) for owner, title, points in found]
        wanted = (name or "").casefold()
        return [
            series
            for series in self._series
            if service in (None, series.service) and wanted in series.name.casefold()
        ]

    # -- rows by id

    def around(self, log_id: str, before: int, after: int) -> list[Line]:
        found = self.rows(
            # the incident's number makes SQLite use an index on ids where there is one
            "SELECT row, at_us FROM logs WHERE scenario = ? AND id = ? AND row BETWEEN ? AND ?",
            *(self.number, log_id, *self.log_range),
        )
        if not found:
            return []
        row, at_us = found[0]
        earlier = self._neighbours((at_us, row), before, earlier=True)
        return [*reversed(earlier), *self._neighbours((at_us, row), after + 1, earlier=False)]

    def _neighbours(self, place: tuple[int, int], limit: int, earlier: bool) -> list[Line]:
        """Return the lines next to a place, the nearest first: those before it, or
        itself and those behind it.
        """
        side = "row < ? ORDER BY row DESC" if earlier else "row >= ? ORDER BY row"
        query = f"SELECT {LINE} FROM logs WHERE row BETWEEN ? AND ? AND {side} LIMIT ?"
        return [Line(*line) for line in self.rows(query, *self.log_range, place[1], limit)]

    def _known(self, kind: IdKind) -> IdPrefixes:
        if kind not in self._prefixes:
            query = "SELECT id FROM logs WHERE row BETWEEN ? AND ?"
            ranges = self.log_range
            if kind == "trace":
                query = (
                    "SELECT trace_id FROM logs WHERE row BETWEEN ? AND ? AND trace_id IS NOT NULL "
                    "UNION SELECT trace_id FROM spans WHERE row BETWEEN ? AND ?"
                )
                ranges = (*self.log_range, *self.span_range)
            self._prefixes[kind] = IdPrefixes(row[0] for row in self.rows(query, *ranges))
        return self._prefixes[kind]

    def resolve(self, kind: IdKind, shown: str) -> Sequence[str]:
        return self._known(kind).candidates(shown)

    def short(self, kind: IdKind, full: str) -> str:
        return self._known(kind).short(full)

    # -- writing

    def ingest(
        self,
        logs: Iterable[LogRecord] | LineColumns = (),
        spans: Iterable[Span] = (),
        metrics: Iterable[MetricSeries] = (),
        events: Iterable[Event] = (),
        topology: Iterable[Edge] = (),
    ) -> None:
        raise DatabaseError(
            f"{self.file.name}: is built from scenario files and does not grow; add a file and {_REBUILD}"
        )
