"""Where in a growing file a window of time can be: the first, the last and the worst line of every 512 rows.

An index on time is no good there. Nodes write at the same time, so each batch changes it in as many places as
the run is long, and a run of ten times the size writes a hundred times as much. Granules only grow at their
end. A query reads those that can hold what it asks for, and then the lines of these only. It finds them by
regions of 64, so a longer run has hardly more to look at. PostgreSQL has such an index as BRIN, ClickHouse as
a skip index; the word granule is from there. What stands in a granule is counted by
`core.log_stores.tallies`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from core.log_stores.contract import LogQuery

BITS = 9
ROWS = 1 << BITS
"""Rows of one granule. Those of one incident have the numbers of its rows, shifted."""
_REGION_BITS = 6
_EVER_US = 1 << 62
_SPAN = "first_us INTEGER NOT NULL, last_us INTEGER NOT NULL, worst INTEGER NOT NULL"
_REGIONS = f"""
INSERT OR REPLACE INTO regions SELECT granule >> {_REGION_BITS}, min(first_us), max(last_us), max(worst) FROM granules
    WHERE granule >= {{}} GROUP BY granule >> {_REGION_BITS}"""
SCHEMA = f"""
CREATE TABLE IF NOT EXISTS granules(granule INTEGER PRIMARY KEY, {_SPAN});
INSERT INTO granules SELECT row >> {BITS}, min(at_us), max(at_us), max(level) FROM logs
    WHERE NOT EXISTS (SELECT 1 FROM granules) GROUP BY row >> {BITS};
CREATE TABLE IF NOT EXISTS regions(region INTEGER PRIMARY KEY, {_SPAN});
{_REGIONS.format(0)};
"""
"""Made for lines that are there already, too: an earlier version stored them without."""
_WIDEN = """
INSERT INTO granules VALUES (?, ?, ?, ?) ON CONFLICT(granule) DO UPDATE SET
    first_us = min(first_us, excluded.first_us), last_us = max(last_us, excluded.last_us), worst = max(worst, excluded.worst)
"""
# CROSS JOIN keeps the order: regions, granules, then lines
SOURCE = "regions CROSS JOIN granules"
_CAN_HOLD = " AND ".join(
    (
        "region BETWEEN ? AND ?",
        "regions.last_us >= ? AND regions.first_us <= ? AND regions.worst >= ?",
        f"granules.granule BETWEEN region << {_REGION_BITS} AND (region << {_REGION_BITS}) + {(1 << _REGION_BITS) - 1}",
        "granules.last_us >= ? AND granules.first_us <= ? AND granules.worst >= ?",
    )
)
IN_GRANULE = f"row BETWEEN granules.granule << {BITS} AND (granules.granule << {BITS}) + {ROWS - 1}"
WITHIN = "granules.first_us >= ? AND granules.last_us <= ?"
"""No line of the granule is outside the window; takes `ends`."""
Rows = tuple[int, int]
"""The first and the last number."""


def widened(
    connection: Any, first_row: int, last_row: int, at_us: Sequence[int], levels: Sequence[int]
) -> None:
    """Count a batch in.

    Args:
        connection: the file, in a transaction.
        first_row: the batch's first row; the others follow in time order.
        last_row: the last row that the run can have.
        at_us: when each line was.
        levels: how bad each line is.
    """
    connection.executemany(_WIDEN, _granules(first_row, at_us, levels))
    region = first_row >> BITS + _REGION_BITS
    until = f"? AND granule <= {last_row >> BITS}"
    connection.execute(_REGIONS.format(until), (region << _REGION_BITS,))


def _granules(
    first_row: int, at_us: Sequence[int], levels: Sequence[int]
) -> Iterator[tuple[int, int, int, int]]:
    first = 0
    while first < len(at_us):
        granule = (first_row + first) >> BITS
        end = min(((granule + 1) << BITS) - first_row, len(at_us))
        yield granule, at_us[first], at_us[end - 1], max(levels[first:end])
        first = end


def narrows(query: LogQuery) -> bool:
    """Whether granules can be passed over for a query."""
    return query.start_us is not None or query.end_us is not None or query.min_level is not None


def lines_in(block: Rows, query: LogQuery) -> tuple[str, list[Any]]:
    """Return SQL for the lines of the granules of a block that can hold what a query asks for."""
    where, parameters = can_hold(block, query)
    return f"{SOURCE} CROSS JOIN logs WHERE {where} AND {IN_GRANULE}", parameters


def bounds(block: Rows, query: LogQuery) -> tuple[str, list[Any]]:
    """Return SQL for the first and the last row that can match; both are null when none can."""
    ends = f"min(granule) << {BITS}, (max(granule) << {BITS}) + {ROWS - 1}"
    where, parameters = can_hold(block, query)
    return f"SELECT {ends} FROM {SOURCE} WHERE {where}", parameters


def ends(query: LogQuery) -> list[int]:
    """Return the two ends of a query's window; one that is not given is further than any clock."""
    start = -_EVER_US if query.start_us is None else query.start_us
    return [start, _EVER_US if query.end_us is None else query.end_us]


def can_hold(block: Rows, query: LogQuery) -> tuple[str, list[Any]]:
    """Return the condition on `SOURCE` that leaves the granules of a block that
    can hold what is asked for.
    """
    worst = 0 if query.min_level is None else query.min_level.value
    wanted = [*ends(query), worst]
    return _CAN_HOLD, [*(row >> BITS + _REGION_BITS for row in block), *wanted, *wanted]
