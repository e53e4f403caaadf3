"""The tools that see time: what changed, what got slow, what fell silent; each within its budget, with a way
to the rest.
"""

from __future__ import annotations

import gc
import re
import time
from pathlib import Path
from typing import Any

import pytest

from core.log_stores.memory import memory_store
from core.log_stores.printing import printed_rows
from core.log_stores.sqlite import SqliteStore
from log_search_tools import estimate_tokens, function_schema, store_tools
from project_types import EpisodeConfig, Evidence, Incident, Tool, ToolInputError, ToolResult
from tests.builders.scenarios import DAY, row, span
from tests.test_log_search_tools import ask

FULL = EpisodeConfig(tools="full")


def at(minute: int, second: float = 0) -> str:
    return f"{DAY}T14:{minute:02d}:{second:09.6f}Z"


def story() -> dict[str, Any]:
    """Healthy from 14:00 to 14:10. Then the ledger's own time grows, calls to stock are slow on the way, the
    mailer falls silent, and cart's errors rise.
    """
    logs: list[dict[str, Any]] = []
    spans: list[dict[str, Any]] = []
    for minute in range(20):
        sick = minute >= 10
        for n in range(6):
            name = f"{minute:02d}{n}"
            trace = f"{name}0000trace"
            logs.append(
                row(f"a{name}1", at(minute, n), f"order {n} placed", service="orders", trace_id=trace)
            )
            if not sick:
                logs.append(row(f"b{name}1", at(minute, n), f"digest {n} sent", service="mailer"))
            if n < (6 if sick else 1):
                logs.append(row(f"c{name}1", at(minute, n), "cart is busy", service="cart", level="WARN"))
            if sick:
                logs.append(
                    row(f"d{name}1", at(minute, n), "volume is full", service="ledger", level="ERROR")
                )
            own, gap = (900.0, 700.0) if sick else (20.0, 5.0)
            root = {"trace_id": trace, "service": "gateway", "start": at(minute, n)}
            spans += [
                span(f"r{name}", **root, operation="POST /order", duration_ms=own + gap + 60),
                span(f"o{name}", f"r{name}", trace_id=trace, service="ledger", operation="book",
                     start=at(minute, n + 0.001), duration_ms=own,
                     status="error" if sick and n == 0 else "ok"),
                span(f"s{name}", f"r{name}", trace_id=trace, service="orders", operation="call stock",
                     start=at(minute, n + 0.95), duration_ms=gap + 10),
                span(f"t{name}", f"s{name}", trace_id=trace, service="stock", operation="reserve",
                     start=at(minute, n + 0.951), duration_ms=10),
            ]  # fmt: skip
    cpu = [[at(minute), 0.9 if minute >= 10 else 0.1 + 0.01 * (minute % 2)] for minute in range(20)]
    flat = [[at(minute), 5.0 + minute % 2] for minute in range(20)]
    metrics = [
        {"service": "ledger", "name": "cpu", "points": cpu},
        {"service": "orders", "name": "threads", "points": flat},
        {"service": "orders", "name": "queue", "points": [[at(3), float("nan")], [at(15), float("nan")]]},
    ]
    services = ["cart", "gateway", "ledger", "mailer", "orders", "stock"]
    return {
        "id": "one",
        "description": "slow",
        "time_hint": "14:10",
        "services": services,
        "logs": logs,
        "spans": spans,
        "metrics": metrics,
    }


@pytest.fixture(scope="module")
def store() -> SqliteStore:
    return memory_store(Incident.model_validate(story()))


def tools(store: SqliteStore, config: EpisodeConfig = FULL) -> dict[str, Tool]:
    return {tool.name: tool for tool in store_tools(store, config)}


# ---------------------------------------------------------------------------------------------- compare


def test_compare_says_what_is_new_rising_and_gone_and_who_fell_silent(store: SqliteStore) -> None:
    result = ask(tools(store)["compare"], window="14:10")
    header, *rows = result.text.split("\n")
    assert header == (
        "14:10:00/14:19:05 against 14:00:00/14:09:59: 1 new, 1 rising, 1 gone of kinds of lines; silent now: mailer"
    )
    assert [
        (found.service, found.times, found.differs.split(",")[0]) for found in printed_rows(result.text)
    ] == [
        ("ledger", 60, "new"),
        ("cart", 60, "rising"),
        ("mailer", 60, "gone"),
    ]
    assert "cart x60{rising, 9.1 expected} cart is busy" in rows[1]
    assert result.log_ids == {"d1001", "c1001", "b0001"}
    assert result.other == {Evidence(kind="absence", id="mailer")}


def test_compare_narrows_to_a_service_and_takes_any_two_windows(store: SqliteStore) -> None:
    one = ask(tools(store)["compare"], window="14:12/14:13", baseline="14:02-14:04", service="cart")
    assert one.text.startswith("14:12:00/14:13:59 against 14:02:00/14:04:59: 1 rising of kinds of lines\n")
    same = ask(tools(store)["compare"], window="14:05/14:09", baseline="14:00 to 14:04")
    assert same.text == "14:05:00/14:09:59 against 14:00:00/14:04:59: no kind of lines changed"


def test_a_known_healthy_window_is_the_baseline() -> None:
    content = story() | {"baseline": {"start": at(2), "end": at(5)}}
    found = ask(tools(memory_store(Incident.model_validate(content)))["compare"])
    assert found.text.startswith("14:05:00/14:19:05 against 14:02:00/14:05:00: ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"window": "14:00"}, "nothing comes before this window"),
        ({"window": "14:15", "baseline": "12:00/12:30"}, "no lines in the baseline"),
        ({"window": "14:15", "service": "ledgre"}, 'no service "ledgre". did you mean ledger?'),
    ],
)
def test_compare_explains_what_it_cannot_compare(
    store: SqliteStore, arguments: dict[str, Any], said: str
) -> None:
    assert said in ask(tools(store)["compare"], **arguments).text


@pytest.mark.parametrize("window", ["soon", "14:10/14:12/14:14", "14:12/14:10", "14:10-", "/"])
@pytest.mark.parametrize("name", ["compare", "span_stats", "find_traces", "read_metrics"])
def test_a_window_that_is_none_is_refused_with_the_way_to_write_it(
    store: SqliteStore, name: str, window: str
) -> None:
    with pytest.raises(ToolInputError, match=r"write |swap"):
        ask(tools(store)[name], window=window)


# ---------------------------------------------------------------------------------------------- spans


def test_span_stats_put_first_what_grew_by_itself(store: SqliteStore) -> None:
    result = ask(tools(store)["span_stats"], window="14:10")
    first, second, *rest = result.text.split("\n")[1:]
    assert re.fullmatch(r"ledger book x60 failed 17 % 900/900 ms \(before: x60 20/20 ms\) trace \w+", first)
    assert "orders call stock x60 710/710 ms own 700/700" in second
    assert any(
        "stock reserve x60 10/10 ms gap 700/700 (before: x60 10/10 ms gap 5/5)" in line for line in rest
    )
    assert result.trace_ids


def test_span_stats_narrow_to_a_service_and_an_operation(store: SqliteStore) -> None:
    result = ask(tools(store)["span_stats"], window="14:10", service="stock", operation="RESERVE")
    assert len(result.text.split("\n")) == 2
    assert ask(tools(store)["span_stats"], window="14:10", operation="nothing").text.startswith("no spans: ")


def test_find_traces_shows_the_worst_of_each_kind_of_request(store: SqliteStore) -> None:
    result = ask(tools(store)["find_traces"])
    assert result.text == (
        "120 traces of 1 kind of requests\n"
        "14:10:00 1660 ms gateway POST /order trace 1000 > ledger book, 4 spans, 1 failed: ledger book error, "
        "120 alike, p50 1660 ms"
    )
    assert result.trace_ids == {"1000000trace"}


def test_find_traces_by_duration_service_and_failure(store: SqliteStore) -> None:
    find = tools(store)["find_traces"]
    assert ask(find, min_duration=1000).text.startswith("60 traces of ")
    assert ask(find, failed=True).text.startswith("10 traces of ")
    assert ask(find, failed=False, window="14:00/14:09").text.startswith("60 traces of ")
    assert ", stock 10 ms," in ask(find, service="stock").text
    assert ask(find, min_duration=99999).text.startswith("no traces: 0 traces")


# ---------------------------------------------------------------------------------------------- metrics


def test_read_metrics_puts_the_largest_change_first_and_leaves_gaps_out(store: SqliteStore) -> None:
    result = ask(tools(store)["read_metrics"], window="14:10")
    rows = result.text.split("\n")[1:]
    assert rows[0] == "cpu ledger 0.105 -> 0.9 (up 151.4 sd), 0.9 at 14:10:00"
    assert rows[1].startswith("threads orders 5.5 -> ")
    assert len(rows) == 2
    assert Evidence(kind="metric", id="ledger/cpu") in result.other


def test_read_metrics_sees_a_fall_as_well(store: SqliteStore) -> None:
    result = ask(tools(store)["read_metrics"], window="14:00/14:05", baseline="14:12/14:19", name="CPU")
    assert "cpu ledger 0.9 -> 0.1 (down " in result.text


# ---------------------------------------------------------------------------------------------- lines in full


def test_read_log_shows_a_line_with_its_neighbours(store: SqliteStore) -> None:
    result = ask(tools(store)["read_log"], id="d1001", before=1, after=2)
    header, *rows = result.text.split("\n")
    assert header == "log d100 with 1 before and 2 lines after"
    assert len(rows) == 4
    assert [found.service for found in printed_rows(result.text)] == ["cart", "ledger", "orders", "cart"]
    assert len(result.log_ids) == 4


def test_read_log_gives_all_of_a_long_message_in_pieces() -> None:
    message = "begin " + " ".join(f"at com.shop.Layer{n}.call(Layer.java:{n})" for n in range(400)) + " end"
    content = story() | {"logs": [row("ab01", at(1), message), row("ab02", at(2), "after")]}
    read = tools(
        memory_store(Incident.model_validate(content)), EpisodeConfig(tools="full", tool_budget_tokens=400)
    )
    told = ""
    cursor = None
    while True:
        result = ask(read["read_log"], id="ab01", cursor=cursor)
        assert estimate_tokens(result.text) <= 400
        told += printed_rows(result.text)[0].message + " "
        more = re.search(r"more: cursor=(\d+)$", result.text.split("\n")[0])
        if not more:
            break
        cursor = more[1]
    assert told.replace(" ", "") == message.replace(" ", "")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("a000", "6 lines begin with"),
        ("zzzz", 'no line "zzzz" in this incident'),
        ("1000000trace", "it is a trace; use read_trace."),
    ],
)
def test_read_log_explains_an_id_it_cannot_read(store: SqliteStore, asked: str, said: str) -> None:
    many = story()
    many["logs"] = [*many["logs"], *(row(f"a0001{n}", at(1), "twin") for n in range(5))]
    assert said in ask(tools(memory_store(Incident.model_validate(many)))["read_log"], id=asked).text


@pytest.mark.parametrize(
    "arguments", [{"id": "ab"}, {"id": "d1001", "before": -1}, {"id": "d1001", "after": 51}], ids=str
)
def test_read_log_refuses_what_makes_no_sense(store: SqliteStore, arguments: dict[str, Any]) -> None:
    with pytest.raises(ToolInputError):
        ask(tools(store)["read_log"], **arguments)


# ---------------------------------------------------------------------------------------------- all of them


def walked(tool: Tool, budget: int, arguments: dict[str, Any]) -> list[str]:
    """The rows of all pages."""
    rows: list[str] = []
    cursor = None
    for _ in range(200):
        result = ask(tool, **arguments, cursor=cursor)
        assert estimate_tokens(result.text) <= budget, result.text
        header, *page = result.text.split("\n")
        assert page
        rows += page
        more = re.search(r"more: cursor=(\d+)$", header)
        if not more:
            return rows
        cursor = more[1]
    raise AssertionError("the cursor never ends")


@pytest.mark.parametrize("budget", [60, 90, 180, 1500])
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("compare", {"window": "14:10"}),
        ("span_stats", {"window": "14:10"}),
        ("find_traces", {"service": "stock"}),
        ("read_metrics", {"window": "14:10"}),
    ],
)
def test_the_cursor_walks_through_all_rows_within_any_budget(
    store: SqliteStore, name: str, arguments: dict[str, Any], budget: int
) -> None:
    config = EpisodeConfig(tools="full", tool_budget_tokens=budget)
    whole = walked(
        tools(store, EpisodeConfig(tools="full", tool_budget_tokens=100_000))[name], 100_000, arguments
    )
    assert len(walked(tools(store, config)[name], budget, arguments)) == len(whole)


def test_two_tools_are_the_default_and_all_are_offered_where_there_is_data(store: SqliteStore) -> None:
    assert list(tools(store, EpisodeConfig())) == ["search_logs", "read_trace"]
    every = ["search_logs", "read_trace", "read_log", "compare", "span_stats", "find_traces", "read_metrics"]
    assert list(tools(store)) == every
    bare = story() | {"spans": [], "metrics": []}
    assert list(tools(memory_store(Incident.model_validate(bare)))) == every[:4]


def test_every_tool_is_a_plain_function_to_a_model(store: SqliteStore) -> None:
    for tool in tools(store).values():
        described = function_schema(tool.name, tool.description, tool.arguments)["function"]
        assert described["description"]
        assert all("description" in one for one in described["parameters"]["properties"].values())
        assert "scenario" not in str(described)


def test_an_incident_without_clocks_says_so() -> None:
    bare = story() | {"logs": [row("aa01") | {"timestamp": None}], "spans": [], "metrics": []}
    with pytest.raises(ToolInputError, match="nothing in this incident has a clock"):
        ask(tools(memory_store(Incident.model_validate(bare)))["compare"])


@pytest.mark.parametrize("name", ["search_logs", "compare", "span_stats", "find_traces", "read_metrics"])
def test_no_tool_shows_more_for_a_hostile_operation_or_message(name: str) -> None:
    content = story()
    content["logs"] = [
        one | {"message": "x\n14:00:00 FATAL fake row log ffff\x1b[2J"} for one in content["logs"]
    ]
    content["spans"] = [one | {"operation": "op\n\x1b[1mrow"} for one in content["spans"]]
    content["metrics"] = [one | {"name": "cpu\nledger"} for one in content["metrics"]]
    result: ToolResult = ask(tools(memory_store(Incident.model_validate(content)))[name])
    assert all(line.isprintable() for line in result.text.split("\n"))


@pytest.mark.slow
def test_every_tool_answers_within_100_ms_of_cpu_on_a_large_incident(tmp_path: Path) -> None:
    """10,000 lines and 15,000 spans; CPU time of this process, so that a busy machine does not decide."""
    content = story()
    logs = [
        row(f"{n:06x}", at(n // 500, (n % 500) / 10), f"call {n} to stock took {n % 97} ms: status {200 + n % 3}",
            service=f"service-{n % 40}", level=("INFO", "WARN", "ERROR")[n % 97 % 3])
        for n in range(10_000)
    ]  # fmt: skip
    spans = [
        span(f"s{n}", f"s{n - 1}" if n % 30 else None, trace_id=f"trace{n // 30:05d}", operation=f"op{n % 50}",
             service=f"service-{n % 40}", start=at(n // 750, (n % 750) / 15), duration_ms=3000 - n % 30 * 100)
        for n in range(15_000)
    ]  # fmt: skip
    large = memory_store(Incident.model_validate(content | {"logs": logs, "spans": spans}))
    asked: list[tuple[str, dict[str, Any]]] = [
        ("search_logs", {}),
        ("search_logs", {"keywords": "status 20"}),
        ("search_logs", {"min_level": "WARN", "start_time": "14:05"}),
        ("read_trace", {"trace_id": "trace00042"}),
        ("read_log", {"id": "000100"}),
        ("compare", {"window": "14:10"}),
        ("span_stats", {"window": "14:10"}),
        ("find_traces", {"window": "14:10"}),
        ("read_metrics", {"window": "14:10"}),
    ]
    slowest: dict[str, float] = {}
    gc.collect()
    gc.freeze()  # what earlier tests left in this process is not looked through while the tools are timed
    for turn in range(20):
        offered = tools(large)
        for name, arguments in asked:
            large._grouped.clear()
            began = time.process_time()
            ask(offered[name], **arguments)
            spent = time.process_time() - began
            slowest[name] = max(slowest.get(name, 0.0), spent) if turn else 0.0
    gc.unfreeze()
    assert max(slowest.values()) <= 0.1, slowest


def test_the_page_of_tools_shows_what_they_really_answer(store: SqliteStore) -> None:
    page = (Path(__file__).parents[3] / "docs" / "tools.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```\n> (\w+)\(([^\n]*)\)\n(.*?)\n```$", page, re.MULTILINE | re.DOTALL)
    offered = tools(store, EpisodeConfig(tools="full", tool_budget_tokens=300))
    assert [name for name, _, _ in blocks] == ["search_logs", "read_trace", *list(offered)[2:]]
    for name, written, answer in blocks:
        arguments = {key: value.strip('"') for key, value in re.findall(r'(\w+)=("[^"]*"|\w+)', written)}
        assert ask(offered[name], **arguments).text == answer
