"""A growing file finds windows of time without an index on time."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from core.log_stores.contract import LogQuery
from core.log_stores.granules import ROWS
from core.log_stores.growing import growing_store
from core.log_stores.line_columns import LineColumns
from project_types import Level
from tests.builders.examples import examples

BATCH = st.lists(st.tuples(st.integers(0, 40), st.sampled_from([10, 20, 30, 40])), max_size=40)


def columns(batch: list[tuple[int, int]], first: int) -> LineColumns:
    """A batch of (time, level) in time order, each line many times over so that granules are filled."""
    lines = [one for one in sorted(batch) for _ in range(ROWS // 16)]
    ids = [f"{first + number:08x}" for number in range(len(lines))]
    many = len(lines)
    masks = [(level, "m") for level in (10, 20, 30, 40)]
    return LineColumns(
        ids,
        [at for at, _ in lines],
        [1] * many,
        ["node"] * many,
        [level for _, level in lines],
        ["m"] * many,
        [None] * many,
        [None] * many,
        [level // 10 - 1 for _, level in lines],
        masks,
    )


@given(st.lists(BATCH, max_size=5), st.integers(0, 40), st.integers(0, 40), st.sampled_from([None, *Level]))
@examples(15)
def test_a_window_over_batches_that_overlap_holds_what_a_look_at_every_line_finds(
    batches: list[list[tuple[int, int]]], start: int, end: int, level: Level | None
) -> None:
    store = growing_store(None, "run")
    kept: list[tuple[int, int, str]] = []
    for batch in batches:
        lines = columns(batch, len(kept))
        store.ingest(lines)
        kept += zip(lines.at_us, lines.levels, lines.ids, strict=True)
    least = 0 if level is None else level.value
    wanted = [
        id for at, worst, id in sorted(kept, key=lambda one: one[0]) if start <= at <= end and worst >= least
    ]
    query = LogQuery(start_us=start, end_us=end, min_level=level)
    assert store.matched(query) == wanted
    assert store.count(query).lines == len(wanted)
    assert store.matched(query.model_copy(update={"words": ("m",)})) == wanted


def test_a_file_of_an_earlier_version_gets_its_granules_when_it_is_opened(tmp_path: Path) -> None:
    lines = columns([(at, 20) for at in range(40)], 0)
    growing_store(tmp_path / "run.db", "run").ingest(lines)
    with closing(sqlite3.connect(tmp_path / "run.db")) as connection:
        for table in ("granules", "regions", "tallies", "kind_words"):
            connection.execute(f"DROP TABLE {table}")
        connection.execute("CREATE INDEX logs_time ON logs(scenario, at_us)")
    store = growing_store(tmp_path / "run.db", "run")
    assert store.matched(LogQuery(start_us=7, end_us=7)) == lines.ids[7 * 32 : 8 * 32]
    assert store.count(LogQuery(end_us=7, words=("m",))) == (8 * 32, 1)
    assert store.rows("SELECT count(*) FROM sqlite_master WHERE name = 'logs_time'") == [(0,)]


def test_a_window_reads_the_granules_that_can_hold_it() -> None:
    store = growing_store(None, "run")
    store.ingest(columns([(at, 20) for at in range(40)], 0))
    where, parameters = store._where(LogQuery(start_us=7, end_us=7, service="node"))
    plan = [row[3] for row in store.rows(f"EXPLAIN QUERY PLAN SELECT id FROM {where}", *parameters)]
    by_number = "USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"
    assert plan == [f"SEARCH {table} {by_number}" for table in ("regions", "granules", "logs")]
