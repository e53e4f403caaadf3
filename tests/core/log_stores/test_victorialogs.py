"""What VictoriaLogs loses without a word is noticed, and no text becomes a part of a query."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.log_stores import logsql, victorialogs
from core.log_stores.contract import LogQuery
from core.log_stores.victorialogs import VictoriaLogsStore, victorialogs_store
from project_types import DatabaseError, LogRecord
from tests.builders.scenarios import row
from tests.fakes.victoria_logs import Query, Server, serve


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def store(server: Server) -> VictoriaLogsStore:
    return victorialogs_store(serve(server), "run-1")


def records(number: int, **more: Any) -> list[LogRecord]:
    return [LogRecord.model_validate(row(f"{one:06x}", message=f"row {one}") | more) for one in range(number)]


def test_rows_are_sent_a_thousand_at_a_time_with_their_content_type(
    server: Server, store: VictoriaLogsStore
) -> None:
    store.ingest(records(2500))
    sizes = [body.count("\n") for path, body in server.requests if path == "/insert/jsonline"]
    assert sizes == [1000, 1000, 501]  # and one row about the batch
    assert store.count(LogQuery()).lines == 2500


def short_wait(store: VictoriaLogsStore) -> VictoriaLogsStore:
    store.visible_s = 0.2
    return store


def test_rows_that_the_server_drops_are_an_error_that_names_the_retention() -> None:
    server = Server(retention=timedelta(days=30))
    store = short_wait(victorialogs_store(serve(server), "run-1"))
    with pytest.raises(DatabaseError, match=r"10 of 11 rows .* -retentionPeriod=100y"):
        store.ingest(records(10))  # of last year


def test_rows_that_are_lost_on_the_way_are_an_error(server: Server, store: VictoriaLogsStore) -> None:
    server.lose_every = 7
    with pytest.raises(DatabaseError, match=r"1 of 9 rows were answered with 200 and are not there"):
        short_wait(store).ingest(records(8))


def test_a_clock_in_the_future_does_not_lose_its_row(store: VictoriaLogsStore) -> None:
    now = datetime.now(UTC)
    near = [
        LogRecord.model_validate(row(f"{n:04x}") | {"timestamp": now - timedelta(minutes=n)})
        for n in range(4)
    ]
    far = LogRecord.model_validate(row("ffff", message="odd") | {"timestamp": now + timedelta(days=4000)})
    store.ingest([*near, far])
    (line,) = store.lines(LogQuery(words=("odd",)))
    assert line.at_us == round((now + timedelta(days=4000)).timestamp() * 1_000_000)


def test_very_long_and_empty_texts_arrive(store: VictoriaLogsStore) -> None:
    store.ingest(
        [
            LogRecord.model_validate(row("aa01", "14:00:01", '"😀' * 100_000)),
            LogRecord.model_validate(row("aa02", "14:00:02", "")),
        ]
    )
    long, empty = store.lines(LogQuery())
    assert long.text.endswith("[+150000 chars]")
    assert empty.text == ""


def test_two_rows_of_one_id_in_a_batch_are_one(store: VictoriaLogsStore) -> None:
    store.ingest([*records(3), *records(3)])
    assert store.count(LogQuery()).lines == 3


def test_nobody_listening_says_how_to_start_a_server() -> None:
    store = victorialogs_store("http://127.0.0.1:9", "run-1")
    with pytest.raises(DatabaseError, match=r"docker run .*victoriametrics/victoria-logs"):
        store.services()
    well, says = victorialogs.health("http://127.0.0.1:9")
    assert not well
    assert "docker run" in says


def test_a_server_that_is_well_says_so(server: Server) -> None:
    url = serve(server)
    assert victorialogs.health(url) == (True, f"VictoriaLogs at {url}")


def test_a_query_the_server_refuses_is_an_error(server: Server) -> None:
    with pytest.raises(DatabaseError, match="refused a query"):
        list(logsql.Server(serve(server)).query("* | nonsense"))


@given(st.text(max_size=40))
def test_a_value_stays_a_value(text: str) -> None:
    text = text.encode("utf-8", "replace").decode()
    rows = [{"service": text, "_msg": f"before {text} after"}, {"service": f"{text}x", "_msg": "other"}]
    for where in (logsql.equals("service", text), logsql.one_of("service", ["?", text])):
        assert Query(where).run(rows) == [row for row in rows[:1] if row["service"]] or not text
    assert rows[0]["_msg"] in [row["_msg"] for row in Query(logsql.holds("_msg", text)).run(rows)]


@pytest.mark.parametrize("name", ["_msg:=x or y", "", "a b", 'a"'])
def test_a_field_is_one_of_ours(name: str) -> None:
    with pytest.raises(ValueError, match="no field of ours"):
        logsql.equals(name, "x")
