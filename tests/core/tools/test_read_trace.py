"""What `read_trace` shows: a tree that loses no span, the telling part first, within a budget, with a way to
the rest.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.log_stores.contract import StoredSpan
from core.log_stores.traces import tree
from core.policies.screen import spans as printed_spans
from core.tools.read_trace import worst_first
from log_search_tools import estimate_tokens, log_tools, printed_rows
from project_types import EpisodeConfig, Tool, ToolInputError
from tests.builders.scenarios import database, row, scenario, span
from tests.test_log_search_tools import ask

TRACE = "aaaa000011112222"
SMALL = EpisodeConfig(tool_budget_tokens=180)


def reader(folder: Path, config: EpisodeConfig, lines: list[dict[str, Any]], **fields: Any) -> Tool:
    return log_tools(database(folder, scenario("one", lines, **fields)), "one", config)[1]


def at(second: int) -> str:
    return f"2025-03-04T14:05:{second:02d}Z"


def test_a_trace_has_the_form_the_policy_is_trained_on(tmp_path: Path) -> None:
    spans = [
        span("s1", service="gateway", operation="GET /cart", start=at(28), duration_ms=5203, status="error"),
        span("s2", "s1", operation="place", start=at(28), duration_ms=5198.4, status="error"),
        span(
            "s3", "s2", service="ledger", operation="post", start=at(28), duration_ms=5001, status="timeout"
        ),
        span("s4", "s1", service="auth", operation="check", start=at(30), duration_ms=3),
    ]
    message = "call to ledger failed: deadline 3000 ms exceeded"
    lines = [
        row("3fa200000000", "14:05:33", message, level="ERROR", trace_id=TRACE),
        row("4fa200000000", "14:05:34", message, level="ERROR", trace_id=TRACE),
        row("5fa200000000", "14:05:29", "cart loaded", trace_id=TRACE),
        row("6fa200000000", "14:05:30", "elsewhere", trace_id="bbbb000011112222"),
        row("7fa200000000", "14:05:30", "no trace"),
    ]
    result = ask(reader(tmp_path, SMALL, lines, spans=spans), trace_id="aaaa")
    assert result.text == (
        "trace aaaa: 4 spans, 5203 ms from 14:05:28\n"
        "gateway GET /cart 5203 ms (own 5) error\n"
        "  orders place 5198 ms (own 197) error\n"
        "    ledger post 5001 ms (gap 197) timeout\n"
        "  auth check 3 ms\n"
        "the trail ends at ledger: gateway > orders > ledger\n"
        "lines\n"
        "14:05:29 INFO orders cart loaded log 5fa2\n"
        "14:05:33 ERROR orders x2 call to ledger failed: deadline 3000 ms exceeded log 3fa2"
    )
    assert result.log_ids == {"3fa200000000", "5fa200000000"}
    assert result.trace_ids == {TRACE}


def trail(tmp_path: Path, *spans: dict[str, Any]) -> str:
    """What is printed below the tree of these spans, whose first is the root."""
    text = ask(reader(tmp_path, SMALL, [row("3fa2")], spans=list(spans)), trace_id="aaaa").text
    return "\n".join(line for line in text.splitlines() if line.startswith("the trail"))


def test_a_trail_follows_what_fails_before_what_is_slow(tmp_path: Path) -> None:
    slow = span("s2", "s1", service="ledger", duration_ms=900)
    failed = span("s3", "s1", service="stock", duration_ms=10, status="error")
    assert trail(tmp_path, span("s1", duration_ms=1000, status="error"), slow, failed) == (
        "the trail ends at stock: orders > stock"
    )


def test_a_call_that_was_repeated_with_success_is_no_part_of_a_trail(tmp_path: Path) -> None:
    first = span("s2", "s1", service="ledger", operation="post", duration_ms=50, status="error")
    again = span("s3", "s1", service="ledger", operation="post", start=at(2), duration_ms=50)
    assert trail(tmp_path, span("s1", duration_ms=1000), first, again) == "the trail ends at orders: orders"


def test_a_quick_trace_in_which_nothing_fails_has_no_trail(tmp_path: Path) -> None:
    assert trail(tmp_path, span("s1", duration_ms=200), span("s2", "s1", duration_ms=190)) == ""


def test_of_a_long_trail_the_end_is_printed(tmp_path: Path) -> None:
    chain = [span("s0", service="s0", status="error")]
    chain += [span(f"s{n}", f"s{n - 1}", service=f"s{n}", status="error") for n in range(1, 12)]
    assert trail(tmp_path, *chain) == ("the trail ends at s11: ... > s4 > s5 > s6 > s7 > s8 > s9 > s10 > s11")


def test_a_trace_without_spans_shows_its_lines(tmp_path: Path) -> None:
    result = ask(
        reader(tmp_path, SMALL, [row("3fa2", trace_id=TRACE), row("4fa2", message="other")]),
        trace_id=TRACE,
    )
    assert (
        result.text
        == "trace aaaa: no spans, 1 line from 14:00:00\nlines\n14:00:00 INFO orders all is well log 3fa2"
    )


def test_a_trace_without_lines_shows_its_spans(tmp_path: Path) -> None:
    result = ask(reader(tmp_path, SMALL, [row("3fa2")], spans=[span("s1")]), trace_id=TRACE)
    assert result.text == "trace aaaa: 1 span, 100 ms from 14:00:00\norders place 100 ms"


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        ("aaaa", "2 traces begin with \"aaaa\"; the worst is trace aaaa00: 1 span, "),
        ("aaaa0", "trace aaaa00: 1 span, "),
        (" aaaa11 ", "trace aaaa11: no spans, "),
        ("9999", 'no trace "9999" in this incident. trace ids stand after \'trace\' in rows of search_logs.'),
        ("3fa2", '"3fa2" is a log line of trace aaaa11.'),
        ("4fa2", '"4fa2" is a log line of no trace.'),
    ],
    ids=str,
)  # fmt: skip
def test_a_trace_is_found_by_a_unique_beginning_and_anything_else_is_explained(
    tmp_path: Path, asked: str, answer: str
) -> None:
    lines = [row("3fa200000000", trace_id="aaaa111111111111"), row("4fa200000000")]
    result = ask(
        reader(tmp_path, SMALL, lines, spans=[span("s1", trace_id="aaaa000000000000")]), trace_id=asked
    )
    assert result.text.startswith(answer)
    assert len(result.trace_ids) == ("trace aaaa" in answer and "log line" not in answer)


@pytest.mark.parametrize(
    "arguments", [{"trace_id": "aa"}, {"trace_id": ""}, {"trace_id": TRACE, "cursor": -1}], ids=str
)
def test_an_id_too_short_or_a_negative_cursor_is_refused(tmp_path: Path, arguments: dict[str, Any]) -> None:
    read = reader(tmp_path, SMALL, [row("3fa2", trace_id=TRACE)])
    with pytest.raises(ToolInputError, match=r"first 4 characters|an earlier result gave"):
        ask(read, **arguments)


def test_a_long_trace_keeps_its_failing_branch_and_says_what_is_left(tmp_path: Path) -> None:
    spans = [span("root", service="gateway", duration_ms=9000)]
    spans += [span(f"ok{n}", "root", service="catalogue", start=at(n), duration_ms=10 * n) for n in range(40)]
    spans += [
        span("mid", "root", duration_ms=8000, start=at(50)),
        span("bad", "mid", service="ledger", duration_ms=20, status="timeout", start=at(51)),
    ]
    lines = [
        row(f"{n:04x}", f"14:05:{n:02d}", f"{chr(97 + n)} {chr(97 + n)}", trace_id=TRACE) for n in range(20)
    ]
    lines += [row("ffff", "14:05:59", "decisive", level="WARN", trace_id=TRACE)]
    result = ask(reader(tmp_path, SMALL, lines, spans=spans), trace_id=TRACE)
    assert "\ngateway place 9000 ms (own " in result.text
    assert "\n  orders place 8000 ms (own 7980)\n    ledger place 20 ms (gap 7980) timeout\n" in result.text
    assert printed_rows(result.text)[-1].message == "decisive"
    assert re.search(
        r"trace aaaa: 43 spans, \d+ ms from 14:00:00, \d+ spans and \d+ lines left, more: cursor=\d+$",
        result.text.split("\n")[0],
    )


@pytest.mark.parametrize("budget", [60, 90, 180])
def test_the_cursor_walks_through_every_span_and_line_once(tmp_path: Path, budget: int) -> None:
    spans = [
        span(f"s{n}", f"s{n // 3}" if n else None, operation=f"op{n}", start=at(n), duration_ms=n)
        for n in range(30)
    ]
    lines = [
        row(f"{n:04x}", f"14:05:{n:02d}", f"{chr(97 + n)} {chr(97 + n)}", trace_id=TRACE) for n in range(20)
    ]
    read = reader(tmp_path, EpisodeConfig(tool_budget_tokens=budget), lines, spans=spans)
    operations: list[str] = []
    steps: list[str] = []
    cursor = None
    while True:
        result = ask(read, trace_id=TRACE, cursor=cursor)
        assert estimate_tokens(result.text) <= budget
        operations += re.findall(r"op\d+", result.text)
        steps += [found.id for found in printed_rows(result.text)]
        more = re.search(r"more: cursor=(\d+)$", result.text.split("\n")[0])
        if not more:
            break
        cursor = more[1]
    assert sorted(operations) == sorted(f"op{n}" for n in range(30))
    assert sorted(steps) == [f"{n:04x}" for n in range(20)]
    assert ask(read, trace_id=TRACE, cursor=50).text == "nothing after cursor=50: the trace has 50 parts"


def made(*links: tuple[str, str | None]) -> list[StoredSpan]:
    return [
        StoredSpan("t", name, parent, "orders", name, place, 1.0, "ok")
        for place, (name, parent) in enumerate(links)
    ]


@pytest.mark.parametrize(
    ("links", "depths"),
    [
        ([("a", None), ("b", "a"), ("c", "b")], [0, 1, 2]),
        ([("b", "gone"), ("c", "b")], [0, 1]),
        ([("a", "a")], [0]),
        ([("a", "b"), ("b", "a")], [0, 1]),
        ([("a", "c"), ("b", "a"), ("c", "b"), ("d", None)], [0, 1, 2, 0]),
        ([("a", None), ("a", None), ("b", "a")], [0, 0, 1]),
        ([("a", None), ("a", "a")], [0, 1]),
    ],
    ids=[
        "chain",
        "orphan",
        "own parent",
        "circle",
        "circle beside a root",
        "twin ids",
        "child with its parent's id",
    ],
)
def test_every_span_has_a_place_in_the_tree(links: list[tuple[str, str | None]], depths: list[int]) -> None:
    places = tree(made(*links))
    assert [places[number].depth for number in range(len(links))] == depths


NAMES = st.sampled_from("abcdefgh")


@given(st.lists(st.tuples(NAMES, st.none() | NAMES), max_size=30))
def test_whatever_the_links_no_span_is_lost_and_any_beginning_is_a_tree(
    links: list[tuple[str, str | None]],
) -> None:
    spans = made(*links)
    places = tree(spans)
    order = worst_first(spans, places)
    assert sorted(places) == sorted(order) == list(range(len(links)))
    for place, number in enumerate(order):
        parent = places[number].parent
        assert parent is None or parent in order[:place]


def test_own_time_and_the_gap_to_the_caller_are_told(tmp_path: Path) -> None:
    spans = [
        span("s1", service="web", operation="GET /", duration_ms=1000, start=at(0)),
        span("s2", "s1", service="web", operation="call stock", duration_ms=900, start=at(0)),
        span("s3", "s2", service="stock", operation="reserve", duration_ms=200, start=at(0)),
        span("s4", "s3", service="db", operation="a", duration_ms=50, start=at(0)),
        span("s5", "s3", service="db", operation="b", duration_ms=60, start=f"{at(0)[:-1]}.040Z"),
    ]
    shown = ask(reader(tmp_path, EpisodeConfig(), [row("3fa2")], spans=spans), trace_id=TRACE).text
    assert shown.split("\n")[1:] == [
        "web GET / 1000 ms (own 100)",
        "  web call stock 900 ms (own 700)",
        "    stock reserve 200 ms (own 100, gap 700)",
        "      db a 50 ms",  # two calls: which of them waited cannot be said
        "      db b 60 ms",
        "the trail ends at web: web",
    ]


def test_deep_spans_are_indented_at_any_depth(tmp_path: Path) -> None:
    spans = [span(f"s{n}", f"s{n - 1}" if n else None, operation=f"op{n}") for n in range(20)]
    shown = ask(reader(tmp_path, EpisodeConfig(), [row("3fa2")], spans=spans), trace_id=TRACE).text
    assert "\n" + "  " * 19 + "orders op19 100 ms" in shown
    assert [span.depth for span in printed_spans(shown)] == list(range(20))


def test_spans_come_before_long_mild_lines(tmp_path: Path) -> None:
    spans = [span(f"s{n}", operation=f"op{n}") for n in range(8)]
    lines = [row(f"{n:04x}", message="word " * 60 + "ab"[n], trace_id=TRACE) for n in range(2)]
    lines.append(row("ffff", message="disk full", level="ERROR", trace_id=TRACE))
    shown = ask(reader(tmp_path, SMALL, lines, spans=spans), trace_id=TRACE).text
    assert all(f"op{n} " in shown for n in range(8))
    assert "disk full" in shown


def test_the_worst_trace_is_picked_and_not_the_first(tmp_path: Path) -> None:
    spans = [
        span("s1", trace_id="aaaa000000000001", duration_ms=10),
        span("s2", trace_id="aaaa000000000002", duration_ms=5000),
        span("s3", trace_id="aaaa000000000003", duration_ms=300, status="timeout"),
        span("s4", trace_id="bbbb000000000001", duration_ms=9000, status="unknown"),
    ]
    read = reader(tmp_path, EpisodeConfig(), [row("3fa2")], spans=spans)
    found = ask(read, trace_id="aaaa")
    assert found.text.startswith('3 traces begin with "aaaa"; the worst is trace aaaa000000000003: 1 span')
    assert found.trace_ids == {"aaaa000000000003"}
    assert ask(read, trace_id="worst").trace_ids == {"aaaa000000000003"}


def test_an_incident_without_spans_has_no_worst_trace(tmp_path: Path) -> None:
    read = reader(tmp_path, SMALL, [row("3fa2")])
    assert "has no spans" in ask(read, trace_id="worst").text


def test_a_missing_parent_is_marked(tmp_path: Path) -> None:
    result = ask(reader(tmp_path, SMALL, [row("3fa2")], spans=[span("s2", "gone")]), trace_id=TRACE)
    assert result.text.endswith("\norders place 100 ms (parent missing)")


def test_a_chain_of_a_thousand_spans_and_a_hostile_operation_stay_within_the_budget(tmp_path: Path) -> None:
    spans = [span(f"s{n}", f"s{n - 1}" if n else None, operation="op\n\x1b[1m" * 300) for n in range(1000)]
    result = ask(reader(tmp_path, SMALL, [row("3fa2")], spans=spans), trace_id=TRACE)
    assert estimate_tokens(result.text) <= SMALL.tool_budget_tokens
    assert len(result.text.split("\n")) >= 3
    assert all(line.isprintable() for line in result.text.split("\n"))
