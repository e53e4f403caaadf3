"""A growing file counts from tallies what a look at every line would count."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random

import pytest

from core.log_stores.contract import LogQuery
from core.log_stores.granules import ROWS
from core.log_stores.growing import GrowingStore, growing_store
from core.log_stores.sqlite import SqliteStore
from project_types import Level, LogRecord

BEGIN = datetime(2025, 3, 4, tzinfo=UTC)
BEGIN_US = round(BEGIN.timestamp() * 1e6)
SECOND = 1_000_000
MESSAGES = (
    "took {} ms",
    "took {} s",
    "deadline exceeded for {}",
    "café-{} closed",
    "café{} closed",
    "x{}y failed",
    "failing at 0x{:x}",
    "id {:x} failed",
    "retry {},{} failing",
)
WORDS = (
    "failed",
    "failing",
    "fail",
    "cafe",
    "caf",
    "x",
    "y",
    "took",
    "ms",
    "line",
    "web",
    "error",
    "of",
    "e",
)


def lines(rng: Random, first: int) -> list[LogRecord]:
    """A batch of lines that fills more than two granules, some of them alike but for letters."""
    begin = rng.randrange(3000)
    return [
        LogRecord.model_validate(
            {
                "id": f"{first + place:06d}",
                "timestamp": BEGIN + timedelta(seconds=begin + place // 3),
                "service": rng.choice(("orders", "checkout-web")),
                "level": rng.choice([level.name for level in Level]),
                "message": rng.choice(MESSAGES).format(*[rng.randrange(10 ** rng.randrange(1, 7))] * 2),
            }
        )
        for place in range(ROWS * 2 + 100)
    ]


@pytest.fixture(scope="module")
def store() -> GrowingStore:
    """Batches that overlap in time, as several nodes write them."""
    rng, store = Random(5), growing_store(None, "run")
    for batch in range(4):
        store.ingest(lines(rng, batch * 10_000))
    return store


def asked(rng: Random) -> LogQuery:
    start = BEGIN_US + rng.randrange(4000) * SECOND
    return LogQuery(
        words=tuple(rng.sample(WORDS, rng.choice((0, 1, 1, 2)))),
        service=rng.choice((None, "orders")),
        min_level=rng.choice((None, Level.WARN)),
        start_us=rng.choice((None, start)),
        end_us=rng.choice((None, start + rng.randrange(2000) * SECOND)),
    )


def test_counts_are_those_of_a_look_at_every_line(store: GrowingStore) -> None:
    rng = Random(7)
    for _ in range(60):
        query = asked(rng)
        assert sorted(store.tally(query)) == sorted(SqliteStore.tally(store, query)), query


def test_kinds_with_the_same_words_and_others_are_both_there(store: GrowingStore) -> None:
    found = store.rows("SELECT DISTINCT words IS NULL FROM kind_words")
    assert sorted(found) == [(0,), (1,)]


def test_a_kind_whose_words_begin_to_differ_later_is_looked_at_line_by_line() -> None:
    store = growing_store(None, "run")
    for batch, text in enumerate(("session 12 opened", "session 7ff opened")):
        at = BEGIN + timedelta(hours=batch)
        store.ingest(
            LogRecord(id=f"{batch}{place:06d}", timestamp=at, service="web", level="INFO", message=text)
            for place in range(ROWS)
        )
    assert store.count(LogQuery(words=("ff",))) == (ROWS, 1)
    assert store.count(LogQuery(words=("opened",))) == (2 * ROWS, 1)


def test_a_batch_that_comes_twice_is_counted_once(store: GrowingStore) -> None:
    again = growing_store(None, "run")
    batch = lines(Random(1), 0)
    again.ingest(batch)
    again.ingest(batch)
    assert again.count(LogQuery()).lines == len(batch)


def test_neighbours_of_a_line_are_found_in_the_order_of_time(store: GrowingStore) -> None:
    ids = [line.id for line in store.lines(LogQuery())]
    for place in (0, 2, len(ids) // 2, len(ids) - 1):
        found = [line.id for line in store.around(ids[place], 3, 5)]
        assert found == ids[max(0, place - 3) : place + 6]
