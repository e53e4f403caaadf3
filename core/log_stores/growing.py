"""A SQLite log store that grows: batches of lines and spans are added to runs while others read.

Several runs may stand in one file. A line or a span that is stored already is left out, so a batch may be
sent twice. Ids are printed whole, because the next batch could make a prefix ambiguous. Kinds stay as
they were numbered first.
"""

from __future__ import annotations

import json
import math
import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from core.log_stores import granules, tallies
from core.log_stores.contract import IdKind, Line, LogQuery, StoredSpan, Stretch, Tally
from core.log_stores.id_prefix import SHORTEST
from core.log_stores.line_columns import Kinds, LineColumns, as_columns, log_rows
from core.log_stores.ordering import within_reach
from core.log_stores.scenario_rows import span_rows
from core.log_stores.sqlite import LINE, LogFile, SqliteStore, check_version
from core.log_stores.tables import (
    GROWING,
    INGESTED,
    add_rest,
    block,
    create,
    index_words,
    insert,
    known_kinds,
    next_number,
    stretch,
)
from project_types import DatabaseError, Edge, Event, LogRecord, MetricSeries, Span

_LAST = "\U0010ffff"
"""Follows every character of an id."""
_STEPS = 50_000
"""Instructions of SQLite's machine, about a millisecond, between two looks at the clock."""
_BUSY_S = 60.0
"""How long a batch waits for another one that is being written."""
_NEAR_US, _FURTHER, _EVER_US = 1000, 16, 1 << 62
"""Neighbours of a line are looked for within a millisecond first, then in 16 times as
much, until enough are found.
"""
_CACHE_KIB, _CHECKPOINT_PAGES = 64 << 10, 16 << 10
"""64 MiB each. A batch then fits into memory, and a page that many batches change is copied once for all of
them: with SQLite's defaults ingestion waits for the disk half of the time.
"""


def growing_store(database: Path | None, run_id: str, answer_within_s: float = math.inf) -> GrowingStore:
    """Return the run's part of a file that grows; file and run are made when they are new.

    Args:
        database: the file; None for a store in memory.
        run_id: names the run within the file.
        answer_within_s: a query that takes longer is given up with a DatabaseError, so that others get their turn.

    Raises:
        DatabaseError: the file cannot be opened or written, or is no log store of this version.
    """
    name = str(database or "memory")
    try:
        connection = sqlite3.connect(
            database or ":memory:", timeout=_BUSY_S, check_same_thread=False, isolation_level=None
        )
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        # the word index frees pages all the time, and no line is ever deleted: nothing
        # to overwrite with zeros
        connection.execute("PRAGMA secure_delete=OFF")
        # SQLite would index the whole table for one query instead of reading a few granules
        connection.execute("PRAGMA automatic_index=OFF")
        if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            create(connection)
        check_version(name, connection)
        _prepare(connection)
        _add_run(connection, run_id)
    except sqlite3.Error as trouble:
        raise DatabaseError(
            f"{name}: cannot be written ({trouble}); check the path and its permissions"
        ) from trouble
    return GrowingStore(LogFile(name, connection), run_id, answer_within_s)


def _prepare(connection: sqlite3.Connection) -> None:
    """Make what a file that grows has besides, unless it is there."""
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'kind_words'").fetchone():
        # in one transaction, and without effect when another opener was faster
        connection.executescript(f"BEGIN IMMEDIATE; {GROWING} {granules.SCHEMA} {tallies.SCHEMA} COMMIT")


def _add_run(connection: sqlite3.Connection, run_id: str) -> None:
    if connection.execute("SELECT 1 FROM scenarios WHERE id = ?", (run_id,)).fetchone():
        return
    number = next_number(connection)
    connection.execute(
        "INSERT OR IGNORE INTO scenarios VALUES (?,?,?,'','[]',?,?,?,?,NULL,NULL,0,NULL,NULL)",
        (number, run_id, INGESTED + run_id, *([block(number), block(number + 1) - 1] * 2)),
    )


class GrowingStore(SqliteStore):
    """One run in a file that grows."""

    _order = "at_us, row"
    _first = "min(at_us)"
    _version = -1

    def __init__(self, file: LogFile, run_id: str, answer_within_s: float = math.inf) -> None:
        self._within_s, self._ends = answer_within_s, math.inf
        if answer_within_s < math.inf:
            file.connection.set_progress_handler(lambda: time.monotonic() > self._ends, _STEPS)
        super().__init__(file, run_id)

    def _source(self, query: LogQuery) -> tuple[str, list[Any]]:
        return granules.lines_in(self.log_range, query)

    def _bounds(self, query: LogQuery) -> tuple[int, int]:
        """The rows of the window: the word index is then read there only, however large the run is."""
        if not granules.narrows(query):
            return self.log_range
        sql, parameters = granules.bounds(self.log_range, query)
        found = self.rows(sql, *parameters)
        return (0, -1) if found[0][0] is None else found[0]

    def tally(self, query: LogQuery) -> list[Tally]:
        if not tallies.asks_for_letters(query):
            return super().tally(query)
        words = self._words(query) if query.words else ("true", [])
        counts, counted = tallies.of_granules(self.log_range, query, self.number, words)
        where, filters = self._where(query.model_copy(update={"words": ()}))
        besides, ends = tallies.besides(query, self.number)
        lines = self._counts(f"{where} AND {besides} AND {words[0]}")
        # one query, so that no batch comes in between
        found = self.rows(f"{counts} UNION ALL {lines}", *counted, *filters, *ends, *words[1])
        return tallies.together(found)

    def services(self) -> Sequence[str]:
        self._refresh()
        return super().services()

    def stretch(self) -> Stretch | None:
        self._refresh()
        return super().stretch()

    def _refresh(self) -> None:
        """See what another connection has written."""
        self.rows("SELECT 1")

    def rows(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Run a query on the file as it is now."""
        with self.file.lock:
            version = self.file.rows("PRAGMA data_version")[0][0]
            if version != self._version:  # another connection has written
                self._version = version
                self._read()
            self._ends = time.monotonic() + self._within_s
            try:
                return self.file.rows(query, *parameters)
            except sqlite3.OperationalError as trouble:
                if trouble.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
                    raise
                raise DatabaseError(
                    f"not found within {self._within_s:.0f} s among so many lines; ask for less: a shorter time, one service"
                ) from None
            finally:
                self._ends = math.inf

    # -- rows by id

    def _neighbours(self, place: tuple[int, int], limit: int, earlier: bool) -> list[Line]:
        """Read only lines that are near in time, however long the run is."""
        side = "< (?, ?) ORDER BY at_us DESC, row DESC" if earlier else ">= (?, ?) ORDER BY at_us, row"
        direction = -1 if earlier else 1
        reach = _NEAR_US
        found: list[tuple[Any, ...]] = []
        while len(found) < limit and reach < _FURTHER * _EVER_US:
            start, end = sorted((place[0], place[0] + direction * min(reach, _EVER_US)))
            where, parameters = self._where(LogQuery(start_us=start, end_us=end))
            query = f"SELECT {LINE} FROM {where} AND (at_us, row) {side} LIMIT ?"
            found = self.rows(query, *parameters, *place, limit)
            reach *= _FURTHER
        return [Line(*line) for line in found]

    # -- ids

    def resolve(self, kind: IdKind, shown: str) -> Sequence[str]:
        column = "id" if kind == "log" else "trace_id"
        found = self._like(f"SELECT DISTINCT {column} FROM logs", column, shown)
        if kind == "trace":
            found |= self._like("SELECT DISTINCT trace_id FROM spans", "trace_id", shown)
        if shown in found:
            return [shown]
        return sorted(found) if len(shown) >= SHORTEST else []

    def _like(self, select: str, column: str, shown: str) -> set[str]:
        found = self.rows(
            f"{select} WHERE scenario = ? AND {column} >= ? AND {column} < ? LIMIT 100",
            *(self.number, shown, shown + _LAST),
        )
        return {id for (id,) in found}

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
        made = [vars(span) for span in spans]
        series = list(metrics)
        connection = self.file.connection
        with self.file.lock:
            try:
                connection.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")  # only whoever writes needs so much
                connection.execute(f"PRAGMA wal_autocheckpoint={_CHECKPOINT_PAGES}")
                connection.execute("BEGIN IMMEDIATE")
                self._add(lines, made, series, topology)
                connection.execute("COMMIT")
            except sqlite3.Error as trouble:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise DatabaseError(
                    f"{self.file.name}: cannot be written ({trouble}); nothing of this batch was stored"
                ) from trouble
            self._read()

    def _add(
        self,
        lines: LineColumns,
        spans: Sequence[Mapping[str, Any]],
        metrics: Sequence[MetricSeries],
        topology: Iterable[Edge],
    ) -> None:
        connection = self.file.connection
        kinds = known_kinds(connection, self.number)
        known = len(kinds.numbers)
        first_row, first_span = self._next("logs"), self._next("spans")
        log_tuples = log_rows(lines, self.number, first_row, self._services, kinds)
        span_tuples = span_rows(spans, self.number, first_span)
        insert(connection, "INSERT OR IGNORE INTO logs", log_tuples)
        insert(connection, "INSERT OR IGNORE INTO spans", span_tuples)
        last_row = block(self.number + 1) - 1
        index_words(connection, first_row, last_row)
        granules.widened(connection, first_row, last_row, lines.at_us, lines.levels)
        tallies.counted(connection, first_row, last_row)
        tallies.words_known(connection, self.number, [row[-1] for row in log_tuples], lines.texts)
        add_rest(connection, self.number, metrics, topology)
        self._remember(kinds, known)
        self._widen(lines, span_tuples, metrics)

    def _next(self, table: str) -> int:
        found = self.file.rows(
            f"SELECT max(row) FROM {table} WHERE row BETWEEN ? AND ?",
            *(block(self.number), block(self.number + 1) - 1),
        )
        return block(self.number) if found[0][0] is None else int(found[0][0]) + 1

    def _remember(self, kinds: Kinds, known: int) -> None:
        """Store the kinds that came behind the `known` ones."""
        fresh = islice(kinds.numbers.items(), known, None)
        self.file.connection.executemany(
            "INSERT OR IGNORE INTO kinds VALUES (?,?,?,?)",
            [(self.number, level, mask, kind) for (level, mask), kind in fresh],
        )

    def _widen(
        self, lines: LineColumns, spans: Sequence[tuple[Any, ...]], metrics: Sequence[MetricSeries]
    ) -> None:
        """Count a batch's services and its time in."""
        named = (
            *lines.services,
            *(span[5] for span in spans),
            *(one.service for one in metrics),
        )
        services = list(dict.fromkeys((*self._services, *named)))
        first, last, far = stretch(lines.clocks(), [span[7] for span in spans], metrics)
        if first is None or last is None:
            first, last = self._stretch or (None, None)
        elif self._stretch:
            first, last = within_reach(self._stretch, (first, last))
        self.file.connection.execute(
            "UPDATE scenarios SET services = ?, first_us = ?, last_us = ?, far_clocks = far_clocks + ? WHERE number = ?",
            (json.dumps(services), first, last, far, self.number),
        )

    def spans(
        self, service: str | None = None, start_us: int | None = None, end_us: int | None = None
    ) -> list[StoredSpan]:
        self._refresh()
        return super().spans(service, start_us, end_us)
