"""A scenario file as rows: the same files are accepted as everywhere, and a line is one clean line of a known
kind.
"""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.log_stores.line_columns import line_columns, log_rows
from core.log_stores.masks import mask_keys, mask_of_key, masked
from core.log_stores.scenario_rows import one_line, read_rows
from project_types import ScenarioError, read_scenario
from tests.builders.examples import examples
from tests.builders.scenarios import row, scenario, span

WHOLE = scenario(
    "one",
    [row("a", trace_id="t", attributes={"pod": "x-1"}), row("b", span_id="s")],
    spans=[span("s1", None), span("s2", "s1", status="timeout")],
    metrics=[{"service": "orders", "name": "cpu", "points": [["2025-03-04T14:00:00Z", 0.5]]}],
    topology=[{"caller": "orders", "callee": "orders"}],
    distractors=[{"report": {"root_cause": "x", "suspected_service": "y"}, "reason": "z"}],
    provenance={"generator": "g", "seed": 1},
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path to every value inside `value`."""
    inner: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, dict):
        inner = value.items()
    elif isinstance(value, list):
        inner = enumerate(value)
    return [path, *(place for key, item in inner for place in places(item, (*path, key)))]


REPLACEMENTS = st.sampled_from(
    [None, "", "x", "a b", 0, -1, 1.5, True, [], {}, ["x"], {"x": 1}, "2025-03-04T14:00:00", "\n", "y" * 201]
)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("rows") / "scenario-one.json"


def answer(read: Callable[[Path], Any], file: Path) -> str:
    try:
        return "read" if read(file) else ""
    except ScenarioError as refused:
        return str(refused)


@examples(400)
@given(
    place=st.sampled_from(places(WHOLE)[1:]),
    change=st.sampled_from(["replace", "remove", "add"]),
    value=REPLACEMENTS,
)
def test_a_file_is_read_or_refused_for_the_same_reason_as_everywhere_else(
    file: Path, place: tuple[Any, ...], change: str, value: Any
) -> None:
    changed = copy.deepcopy(WHOLE)
    holder: Any = changed
    for key in place[:-1]:
        holder = holder[key]
    if change == "remove":
        del holder[place[-1]]
    elif change == "add" and isinstance(holder, dict):
        holder["unknown"] = value
    else:
        holder[place[-1]] = value
    file.write_text(json.dumps(changed))
    assert answer(read_rows, file) == answer(read_scenario, file)


def test_a_whole_file_is_read(file: Path) -> None:
    file.write_text(json.dumps(WHOLE))
    assert answer(read_rows, file) == answer(read_scenario, file) == "read"


def test_rows_are_in_time_order_whatever_the_offset_of_a_time(file: Path) -> None:
    lines = [
        row("a", "2025-03-04T14:00:00.250Z"),
        row("b", "2025-03-04T14:30:00+01:00"),
        row("c", "2025-03-04T12:00:00.0004-02:00"),
    ]
    file.write_text(json.dumps(scenario("one", lines)))
    found = log_rows(line_columns(read_rows(file)["logs"]), number=7, first_row=100)
    assert [(line[:4]) for line in found] == [
        (100, 7, "b", 1741095000000000),
        (101, 7, "c", 1741096800000400),
        (102, 7, "a", 1741096800250000),
    ]


def kinds_of(texts: list[str]) -> list[int]:
    """The kinds of lines with these texts, in their order."""
    at = datetime(2025, 3, 4, tzinfo=UTC)
    logs = [
        {"id": "a", "timestamp": at, "service": "orders", "level": "INFO", "message": text} for text in texts
    ]
    return [line[-1] for line in log_rows(line_columns(logs), 1, 1)]


def test_lines_of_different_levels_are_never_alike(file: Path) -> None:
    lines = [row("a"), row("b", service="ledger"), row("c", level="WARN"), row("d")]
    file.write_text(json.dumps(scenario("one", lines)))
    assert [line[-1] for line in log_rows(line_columns(read_rows(file)["logs"]), 1, 1)] == [0, 0, 1, 0]


@given(st.text())
def test_one_line_is_printable_whatever_comes(text: str) -> None:
    assert one_line(text).isprintable()


def test_one_line_drops_terminal_escapes() -> None:
    assert one_line("\x1b[31mFATAL\x1b[0m disk\r\n\tfull\x1b]0;title\x07 now\x00") == "FATAL disk   full now"


@pytest.mark.parametrize(
    ("left", "right", "alike"),
    [
        ("took 31 ms", "took 4120 ms", True),
        ("request 3fa2c1 failed", "request 99e01b failed", True),
        ("user 'ann' unknown", "user 'bob' unknown", True),
        ('key "a-1" expired', 'key "b-2" expired', True),
        ("10.0.0.7:443 refused", "10.1.2.9:8443 refused", True),
        ("disk full", "disk empty", False),
        ('said "no route to host"', 'said "connection refused by peer"', False),
        ("", "x", False),
    ],
)
def test_lines_are_alike_when_they_differ_in_numbers_and_ids_only(left: str, right: str, alike: bool) -> None:
    assert (masked(left) == masked(right)) is alike
    assert len(set(kinds_of([left, right]))) == 2 - alike


@pytest.mark.parametrize(
    "text",
    ["x" * 300_000, '"' * 300_001, "'\"" * 150_000, "\x1b]" * 100_000, "a1" * 150_000, "\x1b[" * 150_000],
)
def test_cleaning_and_masking_take_time_in_proportion_to_the_text(text: str) -> None:
    began = time.process_time()
    masked(one_line(text))
    assert time.process_time() - began < 2


@given(st.lists(st.text(alphabet="ab01'\" ", max_size=12), max_size=20))
def test_the_quick_way_to_a_kind_agrees_with_the_mask(texts: list[str]) -> None:
    assert [mask_of_key(key) for key in mask_keys(texts)] == [masked(text) for text in texts]
    kinds = dict(zip(texts, kinds_of(texts), strict=True))
    for left in kinds:
        for right in kinds:
            assert kinds[left] == kinds[right] or masked(left) != masked(right)
