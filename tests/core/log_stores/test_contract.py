"""What every log store answers. A new store joins `STORES` and has to pass all of this."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from core.log_stores.contract import LogQuery, LogStore, Stretch
from core.log_stores.growing import growing_store
from core.log_stores.memory import memory_store
from core.log_stores.sqlite import open_store
from core.log_stores.victorialogs import victorialogs_store
from log_search_tools import store_tools
from project_types import DatabaseError, EpisodeConfig, Incident, Level, LogRecord, Span, Tool, ToolResult
from tests.builders.examples import examples
from tests.builders.scenarios import database, row, scenario, span
from tests.fakes.victoria_logs import stand_in

AT = 1_741_096_800_000_000
"""2025-03-04 14:00:00 UTC."""
SECOND = 1_000_000
LOGS = [
    row("aa01", "14:00:01", "数据库连接超时,订单写入失败", level="ERROR"),
    row("aa02", "14:00:02", "java.util.concurrent.TimeoutException in Cart", level="ERROR", trace_id="t1"),
    row("aa03", "14:00:03", "pool HikariPool-1 exhausted", level="WARN", service="Stock.db-2"),
    row("aa04", "14:00:04", "GET /cart 200 in 31 ms", service="web"),
    row("aa05", "14:00:05", "GET /cart 200 in 12 ms", service="web"),
    row("aa06", "14:00:06", "GET /cart 500 in 4001 ms", service="web", trace_id="t1"),
    row("aa07", "14:00:07", "GET /cart 500 in 4002 ms", service="web"),
    row("aa08", "14:00:08", "НЕТ СВЯЗИ с базой", level="UNKNOWN"),
    row("aa09", "14:00:09.000000001", "tick", level="DEBUG", service="web"),
    row("ab10", "14:00:10", "failed to write 100%_done 'x' \"y\" \\ *", level="FATAL", trace_id="t2"),
]
SPANS = [
    span("s1", trace_id="t1", service="web", start="2025-03-04T14:00:00Z", duration_ms=5000, status="error"),
    span("s2", "s1", trace_id="t1", start="2025-03-04T14:00:01Z", duration_ms=4000, status="unknown"),
    span("s3", trace_id="t3", start="2025-03-04T14:00:30Z", service="spans-only"),
]
METRICS = [{"service": "web", "name": "cpu", "points": [["2025-03-04T14:00:00Z", 0.5]]}]
EVENT = {
    "id": "ev01",
    "timestamp": "2025-03-04T14:00:11Z",
    "first_timestamp": "2025-03-04T13:59:00Z",
    "service": "web",
    "object": "Pod/web-1",
    "reason": "BackOff",
    "message": "restarting failed container",
    "type": "Warning",
    "count": 4,
}
WHOLE = scenario(
    "one",
    LOGS,
    spans=SPANS,
    metrics=METRICS,
    events=[EVENT],
    services=["orders", "quiet"],
    baseline={"start": "2025-03-04T13:00:00Z", "end": "2025-03-04T13:30:00Z"},
)

Make = Callable[[Path, dict[str, Any]], LogStore]


def sqlite(folder: Path, content: dict[str, Any]) -> LogStore:
    other = scenario("other", [row("aa01", message="TimeoutException elsewhere", service="web")])
    return open_store(database(folder, other, content), content["id"])


def memory(folder: Path, content: dict[str, Any]) -> LogStore:
    return memory_store(
        Incident.model_validate({k: v for k, v in content.items() if k in Incident.model_fields})
    )


def growing(folder: Path, content: dict[str, Any]) -> LogStore:
    """A store that got its data in two batches, and another run's beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    incident = Incident.model_validate({k: v for k, v in content.items() if k in Incident.model_fields})
    other = growing_store(folder / "grown.db", "other")
    other.ingest([LogRecord.model_validate(row("aa01", message="TimeoutException elsewhere", service="web"))])
    store = growing_store(folder / "grown.db", content["id"])
    half = len(incident.logs) // 2
    store.ingest(incident.logs[half:], incident.spans, incident.metrics, incident.events)
    store.ingest(incident.logs[:half], topology=incident.topology)
    return store


def grown_at_once(folder: Path, content: dict[str, Any]) -> LogStore:
    """A store that got its lines in one batch."""
    store = growing_store(None, content["id"])
    store.ingest(LogRecord.model_validate(line) for line in content["logs"])
    return store


def victorialogs(folder: Path, content: dict[str, Any]) -> LogStore:
    """A run on a VictoriaLogs server: the real one that is named, else the stand-in."""
    url = os.environ.get("VICTORIA_LOGS_ENDPOINT") or stand_in()
    incident = Incident.model_validate({k: v for k, v in content.items() if k in Incident.model_fields})
    run = uuid.uuid4().hex
    victorialogs_store(url, run + "-other").ingest(
        [LogRecord.model_validate(row("aa01", message="TimeoutException elsewhere", service="web"))]
    )
    store = victorialogs_store(url, run)
    store.ingest(incident.logs, incident.spans, incident.metrics, incident.events, incident.topology)
    return store


STORES: dict[str, Make] = {
    "sqlite": sqlite,
    "memory": memory,
    "growing": growing,
    "victorialogs": victorialogs,
}
GROW = (growing, victorialogs)
"""They know a run only by what was ingested."""


@pytest.fixture(params=STORES, scope="module")
def make(request: pytest.FixtureRequest) -> Make:
    return STORES[request.param]


@pytest.fixture(scope="module")
def store(make: Make, tmp_path_factory: pytest.TempPathFactory) -> LogStore:
    return make(tmp_path_factory.mktemp("store"), WHOLE)


# ---------------------------------------------------------------------------------------------- what matches


@pytest.mark.parametrize(
    ("asked", "ids"),
    [
        ({}, [line["id"] for line in LOGS] + ["ev01", "ev01:first"]),
        ({"words": ("超时",)}, ["aa01"]),
        ({"words": ("timeout",)}, ["aa02"]),
        ({"words": ("EXCEPTION",)}, ["aa02"]),
        ({"words": ("нет", "Базой")}, ["aa08"]),
        ({"words": ("HikariPoo", "WARN")}, ["aa03"]),
        ({"words": ("stock.db",)}, ["aa03"]),
        ({"words": ("cart", "500")}, ["aa06", "aa07"]),
        ({"words": ("100%_done",)}, ["ab10"]),
        ({"words": ("'x'",)}, ["ab10"]),
        ({"words": ('"y"', "\\", "*")}, ["ab10"]),
        ({"words": ("pod/web-1", "container")}, ["ev01", "ev01:first"]),
        ({"words": ("nothing-like-it",)}, []),
        ({"service": "web", "min_level": Level.WARN}, ["ev01", "ev01:first"]),
        ({"service": "quiet"}, []),
        ({"min_level": Level.FATAL}, ["ab10"]),
        (
            {"min_level": Level.DEBUG},
            [line["id"] for line in LOGS if line["id"] != "aa08"] + ["ev01", "ev01:first"],
        ),
        ({"start_us": AT + 6 * SECOND, "end_us": AT + 7 * SECOND}, ["aa06", "aa07"]),
        ({"end_us": AT + SECOND}, ["aa01", "ev01:first"]),
        ({"start_us": AT + 10 * SECOND, "words": ("write",)}, ["ab10"]),
    ],
    ids=str,
)
def test_a_query_matches_the_lines_it_asks_for(
    store: LogStore, asked: dict[str, Any], ids: list[str]
) -> None:
    query = LogQuery(**asked)
    assert sorted(store.matched(query)) == sorted(ids)
    assert store.count(query).lines == len(ids)
    assert sum(kind.times for kind in store.kinds(query)) == len(ids)
    assert sum(tally.times for tally in store.tally(query)) == len(ids)


INJECTIONS = [
    '" OR text:"',
    "*",
    "_msg:~'.*'",
    "') OR 1=1 --",
    "{a=b}",
    "x | delete",
    "\\",
    "`",
    "%",
    "NEAR(a b)",
]


@pytest.mark.parametrize("word", INJECTIONS)
def test_a_word_is_data_and_never_part_of_the_stores_language(store: LogStore, word: str) -> None:
    whole = [f"{line['service']} {line['level']} {line['message']}" for line in LOGS]
    expected = {line["id"] for line, text in zip(LOGS, whole, strict=True) if word.lower() in text.lower()}
    assert {id for id in store.matched(LogQuery(words=(word,))) if not id.startswith("ev")} == expected


PATIENT = examples(25, suppress_health_check=[HealthCheck.too_slow])
ANY_TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp"]), max_size=30)


@PATIENT
@given(
    messages=st.lists(ANY_TEXT, min_size=1, max_size=8),
    at=st.integers(0, 7),
    cut=st.tuples(st.integers(0, 9), st.integers(1, 9)),
)
def test_any_part_of_a_word_finds_its_line(
    make: Make, tmp_path_factory: pytest.TempPathFactory, messages: list[str], at: int, cut: tuple[int, int]
) -> None:
    lines = [row(f"{n:04x}", f"14:00:{n:02d}", text) for n, text in enumerate(messages)]
    store = make(tmp_path_factory.mktemp("any"), scenario("one", lines))
    words = messages[at % len(messages)].split()
    if not words or not words[0].isprintable():
        return
    part = words[0][cut[0] % len(words[0]) :][: cut[1]]
    assert f"{at % len(messages):04x}" in store.matched(LogQuery(words=(part,)))


def test_lines_come_in_time_order_to_the_nanosecond(make: Make, tmp_path: Path) -> None:
    stamps = ["14:00:00.000000003", "14:00:00.000000001", "13:00:00", "14:00:00.000000002"]
    lines = [row(f"bb0{n}", f"2025-03-04T{at}Z", "x") for n, at in enumerate(stamps)]
    if make is growing:  # it keeps the order within a microsecond in one batch only
        make = grown_at_once
    assert make(tmp_path, scenario("one", lines)).matched(LogQuery()) == ["bb02", "bb01", "bb03", "bb00"]


def test_lines_are_read_in_time_order_page_by_page(store: LogStore) -> None:
    query = LogQuery(service="web")
    whole = store.lines(query)
    assert [line.id for line in whole] == list(store.matched(query))
    assert [line.at_us for line in whole] == sorted(line.at_us for line in whole)
    pages = [line for at in range(0, len(whole), 2) for line in store.lines(query, at, 2)]
    assert pages == list(whole)
    assert store.lines(query, len(whole)) == []


# ---------------------------------------------------------------------------------------------- kinds


def test_alike_lines_are_one_kind_and_what_differs_is_told(store: LogStore) -> None:
    (kind,) = store.kinds(LogQuery(words=("GET",)))
    assert (kind.first.id, kind.times, kind.services) == ("aa04", 4, ("web",))
    assert kind.differs == ("200 x2, 500 x2",)


def test_what_is_counted_first_can_be_read(store: LogStore) -> None:
    tallies = list(store.tally(LogQuery(words=("cart",))))
    found = dict(
        zip(
            [(one.kind, one.service) for one in tallies],
            store.at([one.first for one in tallies]),
            strict=True,
        )
    )
    assert sorted(line.id for line in found.values()) == ["aa02", "aa04"]
    assert all(line.service == service for (_, service), line in found.items())
    assert list(store.at([])) == []


def test_kinds_come_worst_first_and_page_by_page(store: LogStore) -> None:
    whole = store.kinds(LogQuery())
    assert [kind.first.level for kind in whole] == sorted((kind.first.level for kind in whole), reverse=True)
    assert store.count(LogQuery()).kinds == len(whole)
    assert store.count(LogQuery()).lines == store.size() > 0
    pages = [kind for at in range(0, len(whole), 2) for kind in store.kinds(LogQuery(), at, 2)]
    assert pages == list(whole)


def test_a_kind_that_many_services_write_is_one_and_one_of_a_few_is_one_each(
    make: Make, tmp_path: Path
) -> None:
    many = [row(f"c{n:03x}", f"14:00:{n:02d}", f"lease {n} renewed", service=f"s{n % 5}") for n in range(20)]
    few = [row(f"d{n:03x}", f"14:01:{n:02d}", f"cache {n} cold", service=f"s{n % 2}") for n in range(4)]
    store = make(tmp_path, scenario("one", [*many, *few]))
    (one,) = store.kinds(LogQuery(words=("lease",)))
    assert (one.times, sorted(one.services)) == (20, ["s0", "s1", "s2", "s3", "s4"])
    assert [(kind.times, kind.services) for kind in store.kinds(LogQuery(words=("cache",)))] == [
        (2, ("s0",)),
        (2, ("s1",)),
    ]


# ---------------------------------------------------------------------------------------------- by id


def test_ids_are_found_by_a_beginning_and_printed_so_that_they_are_found(store: LogStore) -> None:
    assert list(store.resolve("log", "ab10")) == ["ab10"]
    assert list(store.resolve("log", "zz")) == []
    assert list(store.resolve("trace", "t1")) == ["t1"]
    for line in LOGS:
        assert list(store.resolve("log", store.short("log", line["id"]))) == [line["id"]]


def test_long_ids_are_found_by_four_letters_or_more(make: Make, tmp_path: Path) -> None:
    store = make(tmp_path, scenario("one", [row("abcd0001"), row("abcd0002"), row("abce0001")]))
    assert list(store.resolve("log", "abcd")) == ["abcd0001", "abcd0002"]
    assert list(store.resolve("log", "abce")) == ["abce0001"]
    assert list(store.resolve("log", "abc")) == []


def test_a_line_is_read_with_its_neighbours(store: LogStore) -> None:
    assert [line.id for line in store.around("aa05", 2, 1)] == ["aa03", "aa04", "aa05", "aa06"]
    assert [line.id for line in store.around("ev01", 1, 9)] == ["ab10", "ev01"]
    assert list(store.around("nope", 1, 1)) == []


def test_a_trace_has_its_spans_and_one_line_of_each_kind(store: LogStore) -> None:
    spans, lines = store.trace("t1")
    assert [(one.span_id, one.parent_span_id, one.duration_ms, one.status) for one in spans] == [
        ("s1", None, 5000.0, "error"),
        ("s2", "s1", 4000.0, "unknown"),
    ]
    assert [(line.id, times) for line, times in lines] == [("aa02", 1), ("aa06", 1)]
    assert store.trace("nope") == ([], [])


# ---------------------------------------------------------------------------------------------- the rest


def test_services_are_those_named_and_those_that_left_a_trace(make: Make, store: LogStore) -> None:
    expected = {"orders", "Stock.db-2", "web", "spans-only"} | ({"quiet"} if make not in GROW else set())
    assert set(store.services()) == expected


def test_the_stretch_of_time_leaves_odd_clocks_aside(make: Make, tmp_path: Path) -> None:
    lines = [row(f"aa{n:02d}", f"14:00:{n:02d}") for n in range(9)]
    odd = row("zz01", "1754-08-30T22:43:41Z", "unset clock")
    store = make(tmp_path, scenario("one", [*lines, odd]))
    assert store.stretch() == Stretch(AT, AT + 8 * SECOND)
    assert store.matched(LogQuery(words=("unset",))) == ["zz01"]


def test_lines_without_a_clock_keep_their_place(make: Make, tmp_path: Path) -> None:
    bare = [
        row(f"aa0{n}", message=f"step {'abc'[n]}") | {"timestamp": None, "sequence": 3 - n} for n in range(3)
    ]
    store = make(tmp_path / "bare", scenario("one", bare))
    assert store.stretch() is None
    assert store.matched(LogQuery()) == ["aa02", "aa01", "aa00"]
    assert not any(line.has_clock for line in store.around("aa01", 1, 1))


def test_spans_are_found_by_service_and_time(store: LogStore) -> None:
    assert [one.span_id for one in store.spans()] == ["s1", "s2", "s3"]
    assert [one.span_id for one in store.spans(service="web")] == ["s1"]
    assert [one.span_id for one in store.spans(start_us=AT + SECOND, end_us=AT + 2 * SECOND)] == ["s2"]


def test_a_metric_at_regular_steps_has_its_points_in_a_store(make: Make, tmp_path: Path) -> None:
    steps = {"start": "2025-03-04T14:00:00Z", "step_s": 10, "values": [1, None, 3]}
    content = {**WHOLE, "metrics": [{"service": "web", "name": "cpu", **steps}]}
    assert make(tmp_path, content).metrics() == [("web", "cpu", [(AT, 1), (AT + 20 * SECOND, 3)])]


def test_metrics_are_found_by_service_and_a_part_of_the_name(store: LogStore) -> None:
    assert store.metrics() == [("web", "cpu", [(AT, 0.5)])]
    assert store.metrics(service="web", name="CP") == store.metrics()
    assert store.metrics(service="orders") == store.metrics(name="memory") == []


def test_an_incident_without_lines_answers(make: Make, tmp_path: Path) -> None:
    content = {key: value for key, value in WHOLE.items() if key not in ("logs", "events", "metrics")}
    content["ground_truth"] = {
        "service": "orders",
        "fault_type": "slow",
        "evidence": [{"kind": "span", "id": "s2"}],
    }
    store = make(tmp_path, content)
    assert store.matched(LogQuery()) == []
    assert store.kinds(LogQuery()) == []
    assert store.count(LogQuery()) == (0, 0)
    assert store.size() == 0
    assert store.stretch() == Stretch(AT, AT + 30 * SECOND)
    assert len(store.spans()) == 3


def test_a_known_baseline_comes_along(make: Make, store: LogStore) -> None:
    expected = None if make in GROW else Stretch(AT - 3600 * SECOND, AT - 1800 * SECOND)
    assert store.baseline() == expected


# ---------------------------------------------------------------------------------------------- growing


@pytest.mark.parametrize("make", GROW)
def test_a_batch_that_was_stored_already_changes_nothing(make: Make, tmp_path: Path) -> None:
    store = make(tmp_path, WHOLE)
    before = store.count(LogQuery())
    store.ingest(
        [LogRecord.model_validate(line) for line in LOGS], [Span.model_validate(one) for one in SPANS]
    )
    assert store.count(LogQuery()) == before
    assert len(store.spans()) == len(SPANS)


def test_what_one_connection_adds_another_one_finds(tmp_path: Path) -> None:
    writer = growing_store(tmp_path / "grown.db", "run")
    reader = growing_store(tmp_path / "grown.db", "run")
    assert reader.count(LogQuery()).lines == 0
    writer.ingest([LogRecord.model_validate(row("aa01", message="late arrival"))])
    assert (reader.services(), reader.stretch()) == (["orders"], Stretch(AT, AT))
    assert reader.matched(LogQuery(words=("arrival",))) == ["aa01"]
    assert reader.services() == ["orders"]


def test_a_query_that_takes_too_long_is_given_up_and_the_next_one_is_answered(tmp_path: Path) -> None:
    rows = [LogRecord.model_validate(row(f"{number:04x}", message=f"m {number}")) for number in range(5000)]
    growing_store(tmp_path / "run.db", "one").ingest(rows)
    store = growing_store(tmp_path / "run.db", "one", answer_within_s=0)
    with pytest.raises(DatabaseError, match="ask for less"):
        store.lines(LogQuery())
    assert store.count(LogQuery()).lines == 5000


def test_a_built_store_says_that_it_does_not_grow(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match=r"does not grow; add a file and run: python build_logs\.py"):
        sqlite(tmp_path, WHOLE).ingest()


def test_a_file_that_is_no_log_store_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.db").write_bytes(b"not a database, but long enough to look at" * 100)
    with pytest.raises(DatabaseError, match="cannot be written"):
        growing_store(tmp_path / "other.db", "run")


async def test_the_tools_speak_to_every_store(store: LogStore) -> None:
    search, read = store_tools(store, EpisodeConfig())

    async def shown(tool: Tool, **arguments: str) -> ToolResult:
        return await tool.run(tool.arguments.model_validate(arguments))

    assert "aa03" in (await shown(search, keywords="hikari")).log_ids
    assert "ev01" in (await shown(search, keywords="BackOff")).log_ids
    assert "own 1000" in (await shown(read, trace_id="t1")).text
