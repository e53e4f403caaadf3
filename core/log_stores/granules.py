"""Where in a growing file a window of time can be: the first, the last and the worst line of every 512 rows.

An index on time is no good there. Nodes write at the same time, so each batch changes it in as many places as the
run is long, and a run of ten times the size writes a hundred times as much. Granules only grow at their end. A
query reads those that can hold what it asks for, and then the lines of these only. PostgreSQL has such an index as
BRIN, ClickHouse as a skip index; the word granule is from there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from core.log_stores.contract import LogQuery

_BITS = 9
ROWS = 1 << _BITS
"""Rows of one granule. Those of one incident have the numbers of its rows, shifted."""
_EVER_US = 1 << 62
SCHEMA = f"""
CREATE TABLE IF NOT EXISTS granules(granule INTEGER PRIMARY KEY, first_us INTEGER NOT NULL, last_us INTEGER NOT NULL,
    worst INTEGER NOT NULL);
INSERT INTO granules SELECT row >> {_BITS}, min(at_us), max(at_us), max(level) FROM logs
    WHERE NOT EXISTS (SELECT 1 FROM granules) GROUP BY row >> {_BITS};
"""
"""Made for lines that are there already, too: an earlier version stored them without."""
_WIDEN = """
INSERT INTO granules VALUES (?, ?, ?, ?) ON CONFLICT(granule) DO UPDATE SET
    first_us = min(first_us, excluded.first_us), last_us = max(last_us, excluded.last_us), worst = max(worst, excluded.worst)
"""
_CAN_HOLD = "granule BETWEEN ? AND ? AND last_us >= ? AND first_us <= ? AND worst >= ?"
Rows = tuple[int, int]
"""The first and the last number."""


def widened(connection: Any, first_row: int, at_us: Sequence[int], levels: Sequence[int]) -> None:
    """Count a batch in, whose rows have the numbers from `first_row` on and stand in time order."""
    connection.executemany(_WIDEN, _granules(first_row, at_us, levels))


def _granules(
    first_row: int, at_us: Sequence[int], levels: Sequence[int]
) -> Iterator[tuple[int, int, int, int]]:
    first = 0
    while first < len(at_us):
        granule = (first_row + first) >> _BITS
        end = min(((granule + 1) << _BITS) - first_row, len(at_us))
        yield granule, at_us[first], at_us[end - 1], max(levels[first:end])
        first = end


def narrows(query: LogQuery) -> bool:
    """Whether granules can be passed over for a query."""
    return query.start_us is not None or query.end_us is not None or query.min_level is not None


def lines_in(block: Rows, query: LogQuery) -> tuple[str, list[Any]]:
    """Return SQL for the lines of the granules of a block that can hold what a query asks for."""
    rows = f"row BETWEEN granule << {_BITS} AND (granule << {_BITS}) + {ROWS - 1}"
    # CROSS JOIN keeps the order: granules first
    return f"granules CROSS JOIN logs WHERE {_CAN_HOLD} AND {rows}", _wanted(block, query)


def bounds(block: Rows, query: LogQuery) -> tuple[str, list[Any]]:
    """Return SQL for the first and the last row that can match; both are null when none can."""
    ends = f"min(granule) << {_BITS}, (max(granule) << {_BITS}) + {ROWS - 1}"
    return f"SELECT {ends} FROM granules WHERE {_CAN_HOLD}", _wanted(block, query)


def _wanted(block: Rows, query: LogQuery) -> list[Any]:
    return [
        *(row >> _BITS for row in block),
        -_EVER_US if query.start_us is None else query.start_us,
        _EVER_US if query.end_us is None else query.end_us,
        0 if query.min_level is None else query.min_level.value,
    ]
