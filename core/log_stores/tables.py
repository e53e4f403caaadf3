"""The tables of a SQLite log store, and how an incident gets into them and out again.

Every incident has a block of row numbers of its own, so a search reads one stretch of the table whatever else
is in the file. A built file is written once, in time order, without indexes. A file that grows has indexes on
ids and traces, made when it is first opened, and finds a time by its granules (`core.log_stores.granules`).
Reading is `core.log_stores.sqlite`; building the whole file is `build_logs`.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

from core.log_stores.line_columns import Kinds, line_columns, log_rows
from core.log_stores.ordering import mass
from core.log_stores.scenario_rows import event_logs, microseconds, one_line, span_rows
from project_types import Edge, MetricSeries

APPLICATION_ID, SCHEMA_VERSION = 0x6C6F6773, 3
"""Stored in the file's header ('logs', and `user_version`). A database of another version is rebuilt from
nothing.
"""
BLOCK_BITS = 32
"""The rows of incident n have the numbers from n << 32 on."""
_TOGETHER = 80
"""Rows that one statement inserts. SQLite before 3.32 takes 999 values."""
INGESTED = "ingested:"
"""Begins the source of an incident that came through `ingest` and not from a file."""

SCHEMA = """
CREATE TABLE scenarios(
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, source TEXT NOT NULL UNIQUE, digest TEXT NOT NULL,
    services TEXT NOT NULL,                                    -- JSON array
    first_row INTEGER NOT NULL, last_row INTEGER NOT NULL,     -- its log lines; last < first when there are none
    first_span INTEGER NOT NULL, last_span INTEGER NOT NULL,   -- its spans
    first_us INTEGER, last_us INTEGER,                         -- when it is, us since 1970 UTC; far clocks left out
    far_clocks INTEGER NOT NULL,                               -- lines with such a clock
    baseline_first_us INTEGER, baseline_last_us INTEGER);
CREATE TABLE logs(
    row INTEGER PRIMARY KEY, scenario INTEGER NOT NULL, id TEXT NOT NULL, at_us INTEGER NOT NULL,
    has_clock INTEGER NOT NULL,                                -- 0: at_us is the neighbour's
    service TEXT NOT NULL, level INTEGER NOT NULL, text TEXT NOT NULL, trace_id TEXT, span_id TEXT,
    kind INTEGER NOT NULL);                                    -- alike lines of a scenario share a number
CREATE TABLE spans(
    row INTEGER PRIMARY KEY, scenario INTEGER NOT NULL, trace_id TEXT NOT NULL, span_id TEXT NOT NULL, parent_span_id TEXT,
    service TEXT NOT NULL, operation TEXT NOT NULL, start_us INTEGER NOT NULL, duration_ms REAL NOT NULL, status TEXT NOT NULL);
CREATE TABLE metrics(scenario INTEGER NOT NULL, service TEXT NOT NULL, name TEXT NOT NULL, points TEXT NOT NULL);
CREATE TABLE edges(scenario INTEGER NOT NULL, caller TEXT NOT NULL, callee TEXT NOT NULL);
CREATE VIRTUAL TABLE log_words USING fts5(text, content='', columnsize=0, detail=none, tokenize='porter unicode61');
"""
GROWING = """
CREATE UNIQUE INDEX IF NOT EXISTS logs_id ON logs(scenario, id);
DROP INDEX IF EXISTS logs_time;
CREATE INDEX IF NOT EXISTS logs_trace ON logs(scenario, trace_id) WHERE trace_id IS NOT NULL;
CREATE UNIQUE INDEX IF NOT EXISTS spans_id ON spans(scenario, trace_id, span_id);
CREATE TABLE IF NOT EXISTS kinds(scenario INTEGER NOT NULL, level INTEGER NOT NULL, mask TEXT NOT NULL,
    kind INTEGER NOT NULL, PRIMARY KEY(scenario, level, mask)) WITHOUT ROWID;
INSERT INTO log_words(log_words, rank) VALUES ('automerge', 8);
"""
"""What a file that grows has besides. Its words are merged half as often as FTS5 would: a batch then takes a
fifth less time, and a word is looked up in a few more places.
"""
Parts = Mapping[str, Any]
"""An incident's fields by name; log lines and spans as dicts, the rest as models."""


def create(connection: sqlite3.Connection) -> None:
    """Make the tables in an empty file."""
    connection.executescript(SCHEMA)
    connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")


def next_number(connection: sqlite3.Connection) -> int:
    """Return a number that no incident in the file has."""
    return int(connection.execute("SELECT coalesce(max(number), 0) + 1 FROM scenarios").fetchone()[0])


def block(number: int) -> int:
    """Return the first row number of an incident."""
    return number << BLOCK_BITS


def add_incident(
    connection: sqlite3.Connection, number: int, parts: Parts, *, source: str, digest: str
) -> None:
    """Insert an incident under a number of its own. Its words are indexed by `index_words` later.

    Raises:
        sqlite3.IntegrityError: the file has an incident of this id.
    """
    first = block(number)
    lines = line_columns(all_lines(parts))
    spans = span_rows(parts.get("spans", ()), number, first)
    insert(connection, "INSERT INTO logs", log_rows(lines, number, first, parts["services"]))
    insert(connection, "INSERT INTO spans", spans)
    add_rest(connection, number, parts.get("metrics", ()), parts.get("topology", ()))
    services = list(dict.fromkeys((*parts["services"], *(span[5] for span in spans), *lines.services)))
    first_us, last_us, far = stretch(lines.clocks(), [span[7] for span in spans], parts.get("metrics", ()))
    baseline = parts.get("baseline")
    connection.execute(
        "INSERT INTO scenarios VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
        (
            *(number, parts["id"], source, digest, json.dumps(services)),
            *(first, first + len(lines.ids) - 1, first, first + len(spans) - 1, first_us, last_us, far),
            *((microseconds(baseline.start), microseconds(baseline.end)) if baseline else (None, None)),
        ),
    )


def insert(connection: sqlite3.Connection, into: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert rows, many with one statement: that takes two thirds of the time.

    It also hands the interpreter over to other threads once for all of them, and not once a row.
    """
    for first in range(0, len(rows), _TOGETHER):
        part = rows[first : first + _TOGETHER]
        marks = f"({','.join('?' * len(part[0]))})"
        statement = f"{into} VALUES {','.join([marks] * len(part))}"
        connection.execute(statement, list(chain.from_iterable(part)))


def all_lines(parts: Parts) -> Sequence[Mapping[str, Any]]:
    """Return the log lines and the events, which a search shows as lines."""
    logs: Sequence[Mapping[str, Any]] = parts.get("logs", ())
    return [*logs, *event_logs(parts["events"])] if parts.get("events") else logs


def add_rest(
    connection: sqlite3.Connection, number: int, metrics: Iterable[MetricSeries], topology: Iterable[Edge]
) -> None:
    """Insert what has no row numbers."""
    connection.executemany(
        "INSERT INTO metrics VALUES (?,?,?,?)",
        [(number, series.service, one_line(series.name), _points(series)) for series in metrics],
    )
    connection.executemany(
        "INSERT INTO edges VALUES (?,?,?)", [(number, edge.caller, edge.callee) for edge in topology]
    )


def _points(series: MetricSeries) -> str:
    """Write the points in milliseconds, in time order; regular steps as [start, step, values]."""
    if series.start is not None and series.step_s is not None:
        return json.dumps([microseconds(series.start) // 1000, round(series.step_s * 1000), series.values])
    return json.dumps(sorted([microseconds(at) // 1000, value] for at, value in series.points))


def pairs(points: str) -> list[tuple[int, float]]:
    """Read what `add_rest` wrote: (milliseconds, value), in time order."""
    found: list[Any] = json.loads(points)
    if not (found and isinstance(found[0], int)):
        return found
    start, step, values = found
    return [(start + number * step, value) for number, value in enumerate(values) if value is not None]


def stretch(
    clocks_us: Sequence[int], starts_us: Sequence[int], metrics: Iterable[MetricSeries]
) -> tuple[int | None, int | None, int]:
    """Return when an incident is, and how many of its lines have a clock far from that.

    The clocks of lines decide; without any, the spans do; without those, the metrics.
    """
    points = (microseconds(at) for series in metrics for at, _ in series.points)
    deciding = clocks_us or starts_us or sorted(points)
    if not deciding:
        return None, None, 0
    first, last = mass(deciding)
    far = len(clocks_us) - (last - first + 1) if clocks_us else 0
    return deciding[first], deciding[last], far


def index_words(connection: sqlite3.Connection, first_row: int, last_row: int = (1 << 63) - 1) -> None:
    """Make lines findable by their words. One call for many: FTS5 writes a segment at the end of each."""
    connection.execute(
        "INSERT INTO log_words(rowid, text) SELECT row, text FROM logs WHERE row BETWEEN ? AND ?",
        (first_row, last_row),
    )


def remove_incident(connection: sqlite3.Connection, source: str) -> None:
    """Delete the incident of a source, its words included."""
    number, first_row, last_row, first_span, last_span = connection.execute(
        "SELECT number, first_row, last_row, first_span, last_span FROM scenarios WHERE source = ?", (source,)
    ).fetchone()
    connection.execute(
        "INSERT INTO log_words(log_words, rowid, text) SELECT 'delete', row, text FROM logs WHERE row BETWEEN ? AND ?",
        (first_row, last_row),
    )
    connection.execute("DELETE FROM logs WHERE row BETWEEN ? AND ?", (first_row, last_row))
    connection.execute("DELETE FROM spans WHERE row BETWEEN ? AND ?", (first_span, last_span))
    for table, column in (("metrics", "scenario"), ("edges", "scenario"), ("scenarios", "number")):
        connection.execute(f"DELETE FROM {table} WHERE {column} = ?", (number,))


def known_kinds(connection: sqlite3.Connection, number: int) -> Kinds:
    """Return the kinds of an incident in a file that grows."""
    query = "SELECT level, mask, kind FROM kinds WHERE scenario = ? ORDER BY kind"
    found = connection.execute(query, (number,))
    return Kinds({(level, mask): kind for level, mask, kind in found})
