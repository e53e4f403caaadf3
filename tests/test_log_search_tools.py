"""What the tools answer: rows and counts in a fixed form, within a budget, with help when nothing matches."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from build_logs import build
from core.log_stores import printing, token_budget
from log_search_tools import PrintedRow, estimate_tokens, function_schema, log_tools, printed_rows
from project_types import DatabaseError, EpisodeConfig, Tool, ToolInputError, ToolResult
from tests.builders.examples import examples
from tests.builders.scenarios import database, row, scenario, write

ROOMY = EpisodeConfig(tool_budget_tokens=390)
SMALL = EpisodeConfig(tool_budget_tokens=180)
LINES = [
    row(
        "3fa2aaaa0001",
        "14:05:33.250",
        "call to ledger failed: deadline 3000 ms exceeded",
        level="ERROR",
        trace_id="9bc1000000000001",
    ),
    row(
        "3fa2aaaa0002",
        "14:05:40",
        "call to ledger failed: deadline 2500 ms exceeded",
        level="ERROR",
        trace_id="9bc1000000000002",
    ),
    row("77e0aaaa0003", "14:06:00", "pool is full, 50 waiting", level="WARN", service="ledger"),
    row("80b1aaaa0004", "13:59:59", "started", service="ledger-export"),
    row("91c2aaaa0005", "14:10:00", "cache miss for key 'k-1'"),
    row("91c2aaaa0006", "14:10:01", "cache miss for key 'k-22'"),
    row("a0d3aaaa0007", "14:20:00", "disk nearly full", level="FATAL", service="Gateway"),
]


def tools(
    folder: Path, config: EpisodeConfig = ROOMY, lines: list[dict[str, Any]] | None = None, **fields: Any
) -> tuple[Tool, ...]:
    return log_tools(database(folder, scenario("one", lines or LINES, **fields)), "one", config)


def ask(tool: Tool, **arguments: Any) -> ToolResult:
    """Run the tool to its end in one step: it never waits, so it needs no event loop."""
    with pytest.raises(StopIteration) as done:
        tool.run(tool.arguments.model_validate(arguments)).send(None)
    result: ToolResult = done.value.value
    return result


def header(result: ToolResult) -> str:
    return result.text.split("\n")[0]


def ids(result: ToolResult) -> list[str]:
    return [found.id for found in printed_rows(result.text)]


@pytest.fixture
def search(tmp_path: Path) -> Tool:
    return tools(tmp_path)[0]


# --------------------------------------------------------------------------------------------------- the form


def test_a_result_has_the_form_the_policy_is_trained_on(search: Tool) -> None:
    assert ask(search, service="orders", min_level="WARN").text == (
        "2 lines in 1 kind match (service=orders, level>=WARN)\n"
        "14:05:33 ERROR orders x2 call to ledger failed: deadline 3000 ms exceeded trace 9bc1000000000001 log 3fa2aaaa0001"
    )


def test_kinds_come_worst_first_then_rarest_then_earliest(search: Tool) -> None:
    levels_and_counts = [(found.level, found.times) for found in printed_rows(ask(search).text)]
    assert levels_and_counts == [("FATAL", 1), ("ERROR", 2), ("WARN", 1), ("INFO", 1), ("INFO", 2)]


def test_a_result_names_the_full_ids_of_the_rows_it_shows_and_no_others(search: Tool) -> None:
    result = ask(search, keywords="deadline")
    assert result.log_ids == {"3fa2aaaa0001"}
    assert result.trace_ids == {"9bc1000000000001"}


def test_ids_are_shown_as_the_shortest_unique_prefix_of_even_length(tmp_path: Path) -> None:
    shown = ("aabb11112222", "aabb11190000", "aabc00000000", "ffff00000000", "ff")
    search = tools(
        tmp_path, lines=[row(log_id, f"14:00:0{n}", "x" * (n + 1)) for n, log_id in enumerate(shown)]
    )[0]
    assert ids(ask(search)) == ["aabb1111", "aabb1119", "aabc", "ffff", "ff"]
    assert [search.resolve("log", log_id) for log_id in ids(ask(search))] == list(shown)


def test_the_date_is_said_once_when_there_is_room(tmp_path: Path) -> None:
    roomy = tools(tmp_path / "a", EpisodeConfig())[0]
    assert header(ask(roomy)) == "7 lines in 5 kinds match on 2025-03-04"
    assert ask(roomy).text.count("2025") == 1
    assert "2025" not in ask(tools(tmp_path / "b", SMALL)[0]).text


def test_rows_carry_their_date_when_the_lines_span_midnight(tmp_path: Path) -> None:
    search = tools(
        tmp_path, lines=[row("aaaa", "2025-03-04T23:59:59Z"), row("bbbb", "2025-03-05T00:00:01Z", "late")]
    )[0]
    assert [found.time for found in printed_rows(ask(search).text)] == [
        "2025-03-04T23:59:59",
        "2025-03-05T00:00:01",
    ]


def test_printed_rows_reads_back_what_was_printed(search: Tool) -> None:
    first = printed_rows(ask(search, keywords="deadline").text)[0]
    message = "call to ledger failed: deadline 3000 ms exceeded"
    assert first == ("3fa2aaaa0001", "14:05:33", "ERROR", "orders", 2, message, "9bc1000000000001", "")


HOSTILE = [
    "two\nlines",
    "\r\nffff 14:00:00 FATAL gateway fake row",
    "\x1b[2J\x1b[31mred",
    "nul \x00 byte",
    "\u2028separator\u202eright to left",
    "9 lines in 9 kinds match, more: cursor=1",
]


@given(st.text())
def test_a_row_is_printable_even_if_the_database_is_not_clean(text: str) -> None:
    assert printing.one_line(text).isprintable()


@pytest.mark.parametrize("message", HOSTILE)
def test_a_hostile_message_stays_on_its_own_line(tmp_path: Path, message: str) -> None:
    search, read = tools(
        tmp_path, lines=[row("aaaa", message=message, trace_id="cccc"), row("bbbb", message="other")]
    )
    found = ask(search).text.split("\n")
    assert len(found) == 3
    assert found[0] == "2 lines in 2 kinds match"
    assert all(line.isprintable() for line in [*found, *ask(read, trace_id="cccc").text.split("\n")])


# ---------------------------------------------------------------------------------------------------- filters


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"keywords": "deadline"}, {"3fa2aaaa0001"}),
        ({"keywords": "DEADLINES failing"}, {"3fa2aaaa0001"}),
        ({"keywords": "ledger full"}, {"77e0aaaa0003"}),
        ({"keywords": ["pool", "full"]}, {"77e0aaaa0003"}),
        ({"keywords": "warn"}, {"77e0aaaa0003"}),
        ({"keywords": "eadli"}, {"3fa2aaaa0001"}),
        ({"keywords": "  "}, {line["id"] for line in LINES} - {"3fa2aaaa0002", "91c2aaaa0006"}),
        ({"service": "ledger"}, {"77e0aaaa0003"}),
        ({"service": "LEDGER-EXPORT"}, {"80b1aaaa0004"}),
        ({"service": "gate"}, {"a0d3aaaa0007"}),
        ({"min_level": "critical"}, {"a0d3aaaa0007"}),
        ({"min_level": " warning "}, {"a0d3aaaa0007", "3fa2aaaa0001", "77e0aaaa0003"}),
        ({"start_time": "14:06", "end_time": "14:06"}, {"77e0aaaa0003"}),
        ({"end_time": "13:59:59"}, {"80b1aaaa0004"}),
        ({"start_time": "14:05:33.3", "end_time": "14:05:59"}, {"3fa2aaaa0002"}),
        ({"start_time": "2025-03-04T15:20:00+01:00"}, {"a0d3aaaa0007"}),
        ({"start_time": "2025-03-04 14:20 UTC", "end_time": "2025-03-04"}, {"a0d3aaaa0007"}),
        ({"start_time": "14:20Z", "limit": "1", "cursor": ""}, {"a0d3aaaa0007"}),
    ],
    ids=lambda value: str(
        sorted(value) if isinstance(value, set) else value
    ),  # a set has another order in every process
)
def test_a_filter_keeps_the_lines_it_names(
    search: Tool, arguments: dict[str, Any], expected: set[str]
) -> None:
    assert ask(search, **arguments).log_ids == expected


@pytest.mark.parametrize(
    "words",
    ["dead* OR full", 'NEAR("pool" 3)', "level:ERROR", "pool AND NOT full", '"pool', "^pool", "-pool"],
)
def test_query_syntax_in_keywords_is_data(search: Tool, words: str) -> None:
    result = ask(search, keywords=words)
    assert result.log_ids <= {"77e0aaaa0003"}


def test_a_line_quoted_back_finds_itself(search: Tool) -> None:
    assert ask(search, keywords="call to ledger failed: deadline 3000 ms exceeded").log_ids == {
        "3fa2aaaa0001"
    }


def test_a_time_after_midnight_means_the_second_date(tmp_path: Path) -> None:
    moments = ["2025-03-04T23:50:00Z", "2025-03-05T00:10:00Z", "2025-03-05T00:20:00Z"]
    search = tools(tmp_path, lines=[row(f"aaa{n}", at, "x" * (n + 1)) for n, at in enumerate(moments)])[0]
    assert ask(search, start_time="00:05", end_time="00:15").log_ids == {"aaa1"}
    assert ask(search, end_time="23:55").log_ids == {"aaa0"}
    assert header(ask(search, start_time="00:05")) == "2 lines in 2 kinds match (from 2025-03-05T00:05:00)"


def test_a_time_of_day_on_two_dates_means_the_first_for_start_and_the_last_for_end(tmp_path: Path) -> None:
    moments = ["2025-03-04T10:00:00Z", "2025-03-04T22:00:00Z", "2025-03-05T10:00:00Z", "2025-03-05T22:00:00Z"]
    search = tools(tmp_path, lines=[row(f"aaa{n}", at, "x" * (n + 1)) for n, at in enumerate(moments)])[0]
    assert ask(search, start_time="12:00").log_ids == {"aaa1", "aaa2", "aaa3"}
    assert ask(search, end_time="12:00").log_ids == {"aaa0", "aaa1", "aaa2"}
    assert ask(search, start_time="09:00", end_time="23:00").log_ids == {"aaa0", "aaa1", "aaa2", "aaa3"}


@pytest.mark.parametrize(
    ("arguments", "taught"),
    [
        ({"min_level": "loud"}, "use one of DEBUG, INFO, WARN, ERROR, FATAL"),
        ({"start_time": "yesterday"}, "start_time='yesterday' is no time; write HH:MM"),
        ({"end_time": "25:61"}, "write HH:MM"),
        ({"end_time": "2025-02-30"}, "write HH:MM"),
        ({"end_time": "0001-01-01T00:00+14:00"}, "write HH:MM"),
        ({"start_time": "14:00:00 tomorrow"}, "write HH:MM"),
        ({"start_time": ":30"}, "write HH:MM"),
        ({"start_time": "14:30", "end_time": "14:20"}, "swap them"),
        ({"limit": 0}, "limit=0: must be 1 or more"),
        ({"cursor": -3}, "use the number that an earlier result gave"),
        ({"keywords": "word " * 13}, "at most 12 words"),
        ({"keywords": "x" * 201}, "at most 12 words and 200 letters"),
    ],
    ids=str,
)
def test_a_senseless_value_is_refused_with_the_way_to_write_it(
    search: Tool, arguments: dict[str, Any], taught: str
) -> None:
    with pytest.raises(ToolInputError, match=re.escape(taught)):
        ask(search, **arguments)


@pytest.mark.parametrize(
    "arguments",
    [{"sevice": "orders"}, {"scenario_id": "two"}, {"limit": "many"}, {"keywords": {"a": 1}}],
    ids=str,
)
def test_an_unknown_argument_or_a_wrong_type_is_refused(search: Tool, arguments: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ask(search, **arguments)


# -------------------------------------------------------------------------------------------- nothing to show


def test_no_match_says_what_was_searched_and_what_each_filter_costs(search: Tool) -> None:
    result = ask(search, keywords="pool deadline", service="orders", start_time="14:15")
    assert result.text == (
        "no lines match (keywords=pool deadline, service=orders, from 14:15:00). pool: 1 line. deadline: 2 lines. "
        "lines run from 13:59:59 to 14:20:00."
    )
    assert result.log_ids == result.trace_ids == set()
    again = ask(search, keywords="pool", service="orders")
    assert "without keywords: 4 lines. without service: 1 line." in again.text


def test_an_unknown_service_is_answered_with_the_nearest_and_all_known(search: Tool) -> None:
    assert ask(search, service="legder").text == (
        'no service "legder". did you mean ledger? services: Gateway ledger ledger-export orders'
    )


def test_a_beginning_that_fits_two_services_is_not_guessed(tmp_path: Path) -> None:
    search = tools(tmp_path, lines=[row("aaaa", service="web-eu"), row("bbbb", service="web-us")])[0]
    assert ask(search, service="web").text.startswith('no service "web".')


def test_a_known_service_without_lines_is_no_unknown_service(tmp_path: Path) -> None:
    search = tools(tmp_path, services=["orders", "ledger", "ledger-export", "Gateway", "quiet"])[0]
    assert ask(search, service="quiet").text.startswith("no lines match (service=quiet)")


def test_a_trace_id_in_keywords_is_pointed_to_the_other_tool(search: Tool) -> None:
    assert "9bc1000000000001 is a trace; use read_trace." in ask(search, keywords="9bc1000000000001").text


def test_a_cursor_past_the_end_says_how_many_there_are(search: Tool) -> None:
    assert ask(search, cursor=99).text == "nothing after cursor=99: 5 kinds in all match"


# ------------------------------------------------------------------------------------------ pages and budgets

WORDS = st.text(alphabet=st.characters(codec="utf-8"), max_size=60) | st.sampled_from(
    [
        "x" * 5000,
        "stack trace " * 300,
        "数据库连接失败" * 50,
        "!@#$%" * 40,
        "12345678901234567890" * 9,
        "🔥" * 70,
    ]
)
NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,19}", fullmatch=True)
ROWS = st.lists(
    st.builds(
        lambda message, service, level, second, trace: row(
            "",
            f"14:{second // 60:02d}:{second % 60:02d}",
            message,
            service=service,
            level=level,
            trace_id=trace,
        ),
        WORDS,
        st.sampled_from(["orders", "ledger", "a-service-with-a-rather-long-name"]),
        st.sampled_from(["DEBUG", "INFO", "WARN", "ERROR", "FATAL"]),
        st.integers(0, 3599),
        st.none() | st.sampled_from(["9bc1000000000001", "9bc1000000000002", "odd"]),
    ),
    min_size=1,
    max_size=25,
)


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shelf")


def fresh_database(shelf: Path, lines: list[dict[str, Any]]) -> Path:
    """A database of one scenario with these lines, their ids numbered."""
    shutil.rmtree(shelf / "files", ignore_errors=True)
    numbered = [line | {"id": f"{place * 7919 % 65536:04x}{place:08x}"} for place, line in enumerate(lines)]
    return database(shelf, scenario("one", numbered))


PATIENT = examples(30, suppress_health_check=[HealthCheck.too_slow])


@PATIENT
@given(
    lines=ROWS,
    budget=st.integers(60, 500),
    service=st.none() | st.sampled_from(["orders", "nope" * 40]),
    words=st.none() | WORDS,
)
def test_no_result_takes_more_than_its_budget_and_a_match_shows_at_least_one_row(
    shelf: Path, lines: list[dict[str, Any]], budget: int, service: str | None, words: str | None
) -> None:
    search, read = log_tools(fresh_database(shelf, lines), "one", EpisodeConfig(tool_budget_tokens=budget))
    for arguments in (
        {},
        {"service": service},
        {"keywords": words},
        {"keywords": words, "service": service, "min_level": "WARN"},
    ):
        try:
            result = ask(search, **arguments)
        except ToolInputError:
            assert words is not None
            continue
        assert estimate_tokens(result.text) <= budget
        printed = {search.resolve("log", shown) for shown in ids(result)}
        assert bool(printed) is ("match" in header(result) and not header(result).startswith("no "))
        assert result.log_ids <= printed
        assert result.log_ids == printed or arguments.get("keywords")  # a match that was cut away is not seen
    for trace in {line["trace_id"] for line in lines} - {None}:
        assert estimate_tokens(ask(read, trace_id=trace).text) <= budget


@PATIENT
@given(name=st.text("ab-", min_size=150, max_size=190), budget=st.integers(60, 130))
def test_even_absurd_names_stay_within_the_budget(shelf: Path, name: str, budget: int) -> None:
    lines = [
        row(f"i{name}{n}", service=f"s{name}", trace_id=f"t{name}{n}", message="m" * n) for n in range(3)
    ]
    folder = shelf / "absurd"
    shutil.rmtree(folder, ignore_errors=True)
    search, read = tools(folder, EpisodeConfig(tool_budget_tokens=budget), lines)
    for result in (
        ask(search),
        ask(search, service="s"),
        ask(search, service="zz"),
        ask(read, trace_id=f"t{name}1"),
        ask(read, trace_id="t" + name),
    ):
        assert estimate_tokens(result.text) <= budget
        assert all(log_id in result.text for log_id in result.log_ids)


@PATIENT
@given(lines=ROWS, budget=st.integers(60, 300), limit=st.none() | st.integers(1, 7))
@example(lines=[row("", message="same 1"), row("", message="same 2")], budget=60, limit=1)
def test_the_cursor_walks_through_every_kind_once(
    shelf: Path, lines: list[dict[str, Any]], budget: int, limit: int | None
) -> None:
    path = fresh_database(shelf, lines)
    search = log_tools(path, "one", EpisodeConfig(tool_budget_tokens=budget))[0]
    whole = ask(log_tools(path, "one", EpisodeConfig(tool_budget_tokens=100_000))[0])
    walked: list[str] = []
    total = 0
    arguments: dict[str, Any] = {"limit": limit}
    while True:
        result = ask(search, **arguments)
        found = printed_rows(result.text)
        assert len(found) == len(result.log_ids) >= 1
        walked += [one.id for one in found]
        total += sum(one.times for one in found)
        more = re.search(r"more: cursor=(\d+)$", header(result))
        if not more:
            break
        assert int(more[1]) == len(walked)
        arguments["cursor"] = more[1]
    assert walked == ids(whole)
    assert total == len(lines)


def test_at_every_budget_the_rows_shown_are_the_ids_claimed_and_no_other_row_would_fit(
    tmp_path: Path,
) -> None:
    lines = [
        row(f"{n * 4099:04x}00000000", f"14:00:{n:02d}", f"{'word ' * (n % 7)}{'x' * n}", trace_id=f"{n:04x}")
        for n in range(40)
    ]
    path = database(tmp_path, scenario("one", lines))
    for budget in range(60, 460):
        search, read = log_tools(path, "one", EpisodeConfig(tool_budget_tokens=budget))
        result = ask(search)
        assert estimate_tokens(result.text) <= budget
        assert {search.resolve("log", shown) for shown in ids(result)} == result.log_ids != set()
        if "more: cursor=" in header(result):
            following = ask(search, cursor=len(ids(result))).text.split("\n")[1]
            assert estimate_tokens(result.text) + 1 + estimate_tokens(following) > budget - 2
        assert ask(read, trace_id="0007").log_ids


def test_about_five_rows_fit_a_small_budget(tmp_path: Path) -> None:
    lines = [
        row(
            f"{n * 4099:04x}00000000",
            f"14:00:{n:02d}",
            f"{verb} to ledger failed: deadline 3000 ms exceeded",
            trace_id=f"{n:04x}0000",
        )
        for n, verb in enumerate(
            ("call", "write", "read", "request", "message", "transfer", "refund", "payment", "login")
        )
    ]
    result = ask(tools(tmp_path, SMALL, lines)[0], service="orders")
    assert 5 <= len(ids(result)) <= 7
    assert header(result).startswith("9 lines in 9 kinds match (service=orders), ")


def test_a_long_message_leaves_room_for_other_rows(tmp_path: Path) -> None:
    lines = [row("aaaa", message="stack " * 400, level="FATAL"), row("bbbb", message="short", level="WARN")]
    assert ids(ask(tools(tmp_path, SMALL, lines)[0])) == ["aaaa", "bbbb"]


def test_a_long_message_is_cut_and_says_by_how_much(tmp_path: Path) -> None:
    message = "head " + "stack " * 400 + "tail"
    result = ask(tools(tmp_path, SMALL, [row("aaaa", message=message)])[0])
    shown = printed_rows(result.text)[0].message
    head, left_out, tail = re.fullmatch(r"(.*) \[\+(\d+) chars\] (.*)", shown).groups()  # type: ignore[union-attr]
    assert message.startswith(head)
    assert message.endswith(tail)
    assert tail.endswith(" tail")
    assert int(left_out) == len(message) - len(head) - len(tail) - 2


STACK = "java.lang.RuntimeException: request failed " + "at com.shop.Layer.invoke(Handler.java:17) " * 150
LONG = STACK + "Caused by: java.io.IOException: No SPACE left on device"


@pytest.mark.parametrize("config", [EpisodeConfig(), SMALL], ids=["full", "small"])
@pytest.mark.parametrize("words", ["space left", "IOException device", "Caused space"])
def test_a_long_line_keeps_its_head_its_tail_and_what_was_searched_for(
    tmp_path: Path, config: EpisodeConfig, words: str
) -> None:
    found = ask(tools(tmp_path, config, [row("aaaa", message=LONG), row("bbbb")])[0], keywords=words)
    shown = printed_rows(found.text)[0].message
    assert shown.startswith("java.lang.RuntimeException: request")
    assert shown.endswith("on device")
    assert all(word.lower() in shown.lower() for word in words.split())
    left_out = sum(int(number) for number in re.findall(r"\[\+(\d+) chars\]", shown))
    assert (
        abs(left_out + len(re.sub(r" ?\[\+\d+ chars\] ?", "", shown)) - len(LONG)) < 12
    )  # blanks at the cuts
    assert found.log_ids == {"aaaa"}


def test_a_line_whose_match_was_cut_away_was_not_shown(tmp_path: Path) -> None:
    words = [f"{'x' * 14}{n:02d}" for n in range(12)]
    message = (" pad" * 300).join(words)
    found = ask(
        tools(tmp_path, EpisodeConfig(tool_budget_tokens=60), [row("aaaa", message=message)])[0],
        keywords=words,
    )
    assert ids(found) == ["aaaa"]
    assert found.log_ids == set()


def test_a_word_inside_a_longer_one_is_found_even_beside_one_that_stands_alone(tmp_path: Path) -> None:
    lines = [
        row("aa01", "14:00:01", "数据库连接超时,订单写入失败"),
        row("aa02", "14:00:02", "警告: 超时"),
        row("bb01", "14:00:03", "java.util.concurrent.TimeoutException in Cart"),
        row("bb02", "14:00:04", "timeout budget reset"),
        row("cc01", "14:00:05", "ΧΩΡΙΣ ΣΥΝΔΕΣΗ"),
    ]
    search = tools(tmp_path, lines=lines)[0]
    assert ask(search, keywords="超时").log_ids == {"aa01", "aa02"}
    assert ask(search, keywords="timeout").log_ids == {"bb01", "bb02"}
    assert ask(search, keywords="συνδεσ").log_ids == {"cc01"}


def test_what_differs_inside_a_kind_is_told_after_its_count(tmp_path: Path) -> None:
    lines = [
        row(f"a{n:03x}", f"14:00:{n:02d}", f"GET /cart {500 if n % 8 == 7 else 200} in {n} ms")
        for n in range(24)
    ]
    lines += [
        row(f"b{n:03x}", f"14:01:{n:02d}", f'{{"id": {n}, "status": "{"declined" if n > 4 else "ok"}"}}')
        for n in range(7)
    ]
    lines += [row(f"c{n:03x}", f"14:02:{n:02d}", "lease renewed", service=f"svc-{n % 6}") for n in range(12)]
    search = tools(tmp_path, EpisodeConfig(), lines)[0]
    told = {found.id: (found.times, found.differs) for found in printed_rows(ask(search).text)}
    assert told == {
        "b000": (7, "status: ok x5, declined x2"),
        "c000": (12, "in 6 services: svc-0, svc-1, svc-2, ..."),
        "a000": (24, "200 x21, 500 x3"),
    }


def test_lines_without_a_level_that_a_level_leaves_out_are_counted(tmp_path: Path) -> None:
    lines = [
        row("aaaa", level="ERROR", message="bad"),
        row("bbbb", level="UNKNOWN"),
        row("cccc", level="UNKNOWN"),
    ]
    search = tools(tmp_path, lines=lines)[0]
    assert header(ask(search, min_level="WARN")) == (
        "1 line in 1 kind match (level>=WARN), 2 lines without a level left out"
    )
    assert header(ask(search, min_level="WARN", keywords="bad")) == (
        "1 line in 1 kind match (keywords=bad, level>=WARN)"
    )


def test_a_line_without_a_level_or_a_clock_is_printed_and_read_back(tmp_path: Path) -> None:
    bare = row("aaaa", message="plain text", level="UNKNOWN") | {"timestamp": None}
    result = ask(tools(tmp_path, lines=[row("bbbb"), bare])[0], keywords="plain")
    assert result.text.split("\n")[1] == "--:--:-- UNKNOWN orders plain text log aaaa"
    assert printed_rows(result.text)[0][:4] == ("aaaa", "--:--:--", "UNKNOWN", "orders")


# -------------------------------------------------------------------------------------------------- estimator

GPT2_LIKE = re.compile(r" ?[^\W\d_]+| ?\d+| ?(?:[^\s\w]|_)+|\s+(?!\S)|\s+")


@given(st.text() | st.text(alphabet="ab1 \n_-:é世🔥"))
def test_the_estimate_is_never_below_the_pieces_of_a_byte_pair_split(text: str) -> None:
    pieces = [
        piece for piece in GPT2_LIKE.findall(text) if piece != " "
    ]  # a lone space belongs to the word after it
    assert estimate_tokens(text) >= len(pieces)


@given(st.text(alphabet="ab1 _-:é世"), st.text(alphabet="ab1 _-:é世"))
def test_the_estimate_of_two_lines_is_their_sum_and_the_newline(left: str, right: str) -> None:
    assert estimate_tokens(f"{left}\n{right}") == estimate_tokens(left) + 1 + estimate_tokens(right)


@given(st.text(st.characters(max_codepoint=127), max_size=80) | st.text(alphabet="ab1 .", max_size=80))
def test_the_quick_count_of_plain_text_is_the_count_of_its_tokens(text: str) -> None:
    assert estimate_tokens(text) == len(token_budget._TOKEN.findall(text))


@pytest.mark.parametrize("length", range(1, 40))
def test_a_word_takes_one_more_token_per_six_letters_beyond_eight(length: int) -> None:
    assert estimate_tokens("x" * length) == 1 + max(0, -(-(length - 8) // 6))


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("", 0), ("a b c", 3), ("deadline", 1), ("connection", 2), ("internationalisation", 3), ("3000", 2), ("14:05:33", 5),
     ("3fa2", 3), ("a\nb", 3), ("  a", 2), ("…", 2), ("🔥", 3), ("()", 2)],
)  # fmt: skip
def test_the_estimate_of_typical_pieces(text: str, tokens: int) -> None:
    assert estimate_tokens(text) == tokens


# ------------------------------------------------------------------------------------- the file and the tools


def test_a_missing_database_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match=r"cannot be opened .* run: python build_logs\.py"):
        log_tools(tmp_path / "logs.db", "one", ROOMY)


def test_an_unknown_scenario_says_which_is_near_and_what_to_run(tmp_path: Path) -> None:
    path = database(tmp_path, scenario("s-0001", LINES))
    with pytest.raises(
        DatabaseError, match=r"no scenario 's-001' \(did you mean s-0001\?\).*run: python build_logs\.py"
    ):
        log_tools(path, "s-001", ROOMY)


@pytest.mark.parametrize(
    "content", [b"", b"text", b"SQLite format 3\0" + b"x" * 5000], ids=["empty", "text", "torn"]
)
def test_a_file_that_is_no_database_says_what_to_run(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "logs.db").write_bytes(content)
    with pytest.raises(DatabaseError, match=r"run: python build_logs\.py"):
        log_tools(tmp_path / "logs.db", "one", ROOMY)


def test_a_database_of_another_version_says_what_to_run(tmp_path: Path) -> None:
    path = database(tmp_path, scenario("one", LINES))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version=999")
        connection.commit()
    with pytest.raises(DatabaseError, match=r"not written by this version .*run: python build_logs\.py"):
        log_tools(path, "one", ROOMY)


def test_a_damaged_database_is_an_error_and_not_an_empty_answer(tmp_path: Path) -> None:
    lines = [row(f"{n:04x}", message=f"word{n} " * 30) for n in range(300)]
    path = database(tmp_path, scenario("one", lines))
    content = path.read_bytes()
    pages = len(content) // 4096
    path.write_bytes(content[: 12 * 4096] + b"\xff" * ((pages - 12) * 4096))
    with pytest.raises(DatabaseError, match=r"damaged.*delete it and run: python build_logs\.py"):
        ask(log_tools(path, "one", ROOMY)[0], keywords="word7")


def test_the_tools_cannot_write(tmp_path: Path) -> None:
    path = database(tmp_path, scenario("one", LINES))
    search: Any = log_tools(path, "one", ROOMY)[0]
    for statement in ("DELETE FROM logs", "CREATE TABLE x(y)", "PRAGMA user_version=3"):
        with pytest.raises(sqlite3.OperationalError):
            search.store.rows(statement)


def test_new_tools_read_a_rebuilt_database_and_old_ones_keep_theirs(tmp_path: Path) -> None:
    path = database(tmp_path, scenario("one", LINES))
    old = log_tools(path, "one", ROOMY)[0]
    write(tmp_path / "files", scenario("zero", LINES[:3]))
    write(tmp_path / "files", scenario("one", [row("cccc", message="rewritten")]))
    build(tmp_path / "files", path)
    assert ask(log_tools(path, "one", ROOMY)[0]).log_ids == {"cccc"}
    assert "3fa2aaaa0001" in ask(old).log_ids


def test_thousands_of_episodes_hold_few_open_files(tmp_path: Path) -> None:
    path = database(tmp_path, *(scenario(f"s{n}", LINES) for n in range(5)))
    held = [log_tools(path, f"s{n % 5}", ROOMY) for n in range(3000)]
    open_files = len(os.listdir("/dev/fd"))
    assert len(held) == 3000
    assert open_files < 200


async def test_concurrent_tasks_and_threads_get_their_own_answers(tmp_path: Path) -> None:
    path = database(
        tmp_path, *(scenario(f"s{n}", [row(f"aaaa{n}", message=f"only{n} failed")]) for n in range(4))
    )

    async def episode(number: int) -> frozenset[str]:
        search = log_tools(path, f"s{number % 4}", ROOMY)[0]
        found: ToolResult = await search.run(search.arguments(keywords="failed"))
        return found.log_ids

    answers = await asyncio.gather(*(episode(number) for number in range(400)))
    assert answers == [{f"aaaa{number % 4}"} for number in range(400)]
    shared, seen = log_tools(path, "s1", ROOMY)[0], list[frozenset[str]]()
    threads = [
        threading.Thread(target=lambda: seen.append(ask(shared, keywords="failed").log_ids))
        for _ in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [{"aaaa1"}] * 16


@pytest.mark.parametrize(
    ("kind", "shown", "full"),
    [("log", "77e0", "77e0aaaa0003"), ("log", "77e0aaaa0003", "77e0aaaa0003"), ("log", "3fa2aaaa000", None), ("log", "77", None),
     ("log", "", None), ("trace", "9bc1000000000002", "9bc1000000000002"), ("trace", "77e0", None),
     ("log", "77E0", None)],
)  # fmt: skip
def test_an_id_resolves_when_it_is_whole_or_a_unique_beginning(
    search: Tool, kind: Any, shown: str, full: str | None
) -> None:
    assert search.resolve(kind, shown) == full


def test_the_description_shows_a_row_as_it_is_printed(search: Tool) -> None:
    row = search.description.split("'")[1]
    for name, value in {"time": "14:05:33", "level": "ERROR", "service": "orders", "COUNT": "14"}.items():
        row = row.replace(name, value)
    assert printed_rows(row.replace("trace ID", "trace 9bc1").replace("log ID", "log 3fa2")) == [
        PrintedRow("3fa2", "14:05:33", "ERROR", "orders", 14, "message", "9bc1")
    ]


def test_the_schemas_are_plain_openai_functions(tmp_path: Path) -> None:
    search, read = (function_schema(t.name, t.description, t.arguments)["function"] for t in tools(tmp_path))
    assert (search["name"], read["name"]) == ("search_logs", "read_trace")
    assert list(search["parameters"]["properties"]) == [
        "keywords",
        "service",
        "min_level",
        "start_time",
        "end_time",
        "limit",
        "cursor",
    ]
    assert search["parameters"]["properties"]["limit"] == {
        "type": "integer",
        "description": "Most kinds of lines to show.",
    }
    assert search["parameters"]["properties"]["min_level"]["enum"] == [
        "DEBUG",
        "INFO",
        "WARN",
        "ERROR",
        "FATAL",
    ]
    assert "required" not in search["parameters"]
    assert read["parameters"]["required"] == ["trace_id"]
    assert "scenario" not in str(search["parameters"]) + str(read["parameters"])
    assert search["parameters"]["additionalProperties"] is False
