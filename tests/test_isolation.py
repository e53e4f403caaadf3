"""No argument of any tool, however hostile, shows anything of another scenario or fails with anything but a
clear refusal.

The scenarios of this test resemble each other on purpose: the same words, services and times, and ids that
begin alike or are the same. What belongs to a scenario carries its own secret word, and its ids are known, so
that a leak shows.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from log_search_tools import estimate_tokens, log_tools
from project_types import EpisodeConfig, Tool, ToolInputError
from tests.builders.examples import examples
from tests.builders.scenarios import database, row, scenario, span
from tests.test_log_search_tools import ask

NAMES = ("s-1", "s-10", "s-2")
SHARED_LOG, SHARED_TRACE = "feed00000000", "beef000000000000"
SECRETS = {"s-1": "aardvark", "s-10": "buzzard", "s-2": "chinchilla"}


def log_id(place: int, number: int) -> str:
    return f"3fa2{number:04x}{place:04x}"


def trace_id(place: int, number: int) -> str:
    return f"9bc1{number % 3:04x}0000{place:04x}"


def logs_of(place: int) -> set[str]:
    """The ids of a scenario's lines, the one that all share among them."""
    return {SHARED_LOG, *(log_id(place, number) for number in range(20))}


def traces_of(place: int) -> set[str]:
    """The ids of a scenario's traces, the one that all share among them."""
    return {SHARED_TRACE, *(trace_id(place, number) for number in range(3))}


OWN = {"log": [*map(logs_of, range(3))], "trace": [*map(traces_of, range(3))]}


def content(place: int, name: str) -> dict[str, Any]:
    """A scenario that shares every word but its secret with the others."""
    lines = [
        row(
            log_id(place, number),
            f"14:{number:02d}:00",
            f"call to ledger failed after {number} ms: {SECRETS[name]} timeout",
            service=("orders", "ledger", f"{SECRETS[name]}-api")[number % 3],
            level=("INFO", "WARN", "ERROR")[number % 3],
            trace_id=trace_id(place, number),
        )
        for number in range(20)
    ]
    lines.append(
        row(SHARED_LOG, "14:30:00", f"shared {SECRETS[name]}", service="ledger", trace_id=SHARED_TRACE)
    )
    traces = [SHARED_TRACE, *(trace_id(place, number) for number in range(3))]
    spans = [
        span(f"span{number}", trace_id=trace, operation=SECRETS[name]) for number, trace in enumerate(traces)
    ]
    return scenario(
        name, lines, spans=spans, description=f"{SECRETS[name]} DESCRIPTION", expected_root_cause="CAUSE"
    )


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return database(
        tmp_path_factory.mktemp("shared"), *(content(place, name) for place, name in enumerate(NAMES))
    )


HOSTILE_TEXT = st.one_of(
    st.text(),
    st.text(alphabet=st.characters(categories=["Cs", "Cc", "Cf", "Po", "Sm"])),
    st.sampled_from([log_id(place, number) for place in range(3) for number in range(3)]),
    st.sampled_from([trace_id(place, number)[:length] for place in range(3) for number in range(3) for length in (1, 4, 8, 16)]),
    st.sampled_from([*NAMES, *SECRETS.values(), "ledger", "orders", "timeout", "failed", "CAUSE", "DESCRIPTION"]),
    st.sampled_from([SHARED_LOG, SHARED_TRACE, "feed", "beef"]),
    st.sampled_from(
        ["*", '"', '""', "' OR 1=1 --", "a OR b", "NOT x", "NEAR(a b)", "text:ledger", "{text} : x", "^ledger", "led*", "(",
         "a AND", "-", "+", "\0", "ledger\0timeout", "\ud800", "％", "%", "_", "\\", "[a-z]*", "9" * 400,
         "1e999", "NaN", "null",
         "0x10", "x" * 10_000, "2025-03-04T14:00:00Z", "14:00", "9999-12-31T23:59:59-23:59", "2999-12-31",
         "0000-00-00",
         "3fa2' UNION SELECT * FROM logs --"]
    ),
)  # fmt: skip
HOSTILE_NUMBER = st.one_of(
    st.integers(),
    st.sampled_from([-1, 0, 2**31, 2**63, 2**64, 10**300]),
    st.text(max_size=5),
    st.floats(),
    st.booleans(),
)
ANYTHING = st.recursive(
    st.none() | HOSTILE_TEXT | HOSTILE_NUMBER,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
)


def chosen(**fields: Any) -> st.SearchStrategy[dict[str, Any]]:
    """Arguments where each field is left out, plausible, or anything at all."""
    return st.fixed_dictionaries(
        {}, optional={name: st.one_of(likely, likely, ANYTHING) for name, likely in fields.items()}
    )


SEARCHES = chosen(
    keywords=HOSTILE_TEXT | st.lists(HOSTILE_TEXT, max_size=4).map(" ".join),
    service=HOSTILE_TEXT,
    min_level=st.sampled_from(["DEBUG", "error", "warning", "FATAL"]) | HOSTILE_TEXT,
    start_time=HOSTILE_TEXT,
    end_time=HOSTILE_TEXT,
    limit=HOSTILE_NUMBER,
    cursor=HOSTILE_NUMBER,
    scenario_id=st.sampled_from(NAMES),
)
TRACES = chosen(trace_id=HOSTILE_TEXT, cursor=HOSTILE_NUMBER)
PATIENT = examples(300, suppress_health_check=[HealthCheck.too_slow])


def refuse_leaks(tool: Tool, arguments: dict[str, Any], place: int, budget: int) -> None:
    """Run the tool as the environment does, and check that only this scenario shows."""
    try:
        result = ask(tool, **arguments)
    except (ToolInputError, ValidationError):
        return
    given = json.dumps(arguments, default=str).lower()
    for other, name in enumerate(NAMES):
        if other != place:
            assert SECRETS[name] not in result.text.lower() or SECRETS[name] in given
    assert "CAUSE" not in result.text or "cause" in given
    assert result.log_ids <= OWN["log"][place]
    assert result.trace_ids <= OWN["trace"][place]
    assert estimate_tokens(result.text) <= budget
    result.text.encode()


@PATIENT
@given(place=st.integers(0, 2), arguments=SEARCHES, budget=st.sampled_from([60, 180, 1500]))
@example(place=0, arguments={"keywords": '\ud800 \0 " ledger'}, budget=1500)
@example(place=2, arguments={"cursor": "9" * 400, "limit": 2**64}, budget=60)
def test_no_search_shows_another_scenario(
    shared: Path, place: int, arguments: dict[str, Any], budget: int
) -> None:
    tool = log_tools(shared, NAMES[place], EpisodeConfig(tool_budget_tokens=budget))[0]
    refuse_leaks(tool, arguments, place, budget)


@PATIENT
@given(place=st.integers(0, 2), arguments=TRACES, budget=st.sampled_from([60, 180, 1500]))
@example(place=0, arguments={"trace_id": '\ud800\0"9bc1'}, budget=60)
def test_no_trace_shows_another_scenario(
    shared: Path, place: int, arguments: dict[str, Any], budget: int
) -> None:
    tool = log_tools(shared, NAMES[place], EpisodeConfig(tool_budget_tokens=budget))[1]
    refuse_leaks(tool, arguments, place, budget)


@PATIENT
@given(place=st.integers(0, 2), kind=st.sampled_from(["log", "trace"]), shown=HOSTILE_TEXT)
def test_no_id_resolves_to_another_scenario(shared: Path, place: int, kind: Any, shown: str) -> None:
    full = log_tools(shared, NAMES[place], EpisodeConfig())[0].resolve(kind, shown)
    assert full is None or full in OWN[kind][place]


@pytest.mark.parametrize("place", range(3))
def test_a_search_for_what_all_share_shows_all_of_its_own(shared: Path, place: int) -> None:
    result = ask(log_tools(shared, NAMES[place], EpisodeConfig())[0], keywords="ledger timeout")
    assert result.text.startswith("20 lines in ")
    assert result.text.count(SECRETS[NAMES[place]]) >= 3


@pytest.mark.parametrize("place", range(3))
def test_a_trace_and_a_line_with_the_same_id_elsewhere_are_only_its_own(shared: Path, place: int) -> None:
    search, read = log_tools(shared, NAMES[place], EpisodeConfig())
    for result in (ask(read, trace_id="beef"), ask(search, keywords="shared")):
        assert {name for name in NAMES if SECRETS[name] in result.text} == {NAMES[place]}
        assert (set(result.log_ids), set(result.trace_ids)) == ({SHARED_LOG}, {SHARED_TRACE})


@pytest.mark.parametrize("place", range(3))
def test_the_words_and_ids_of_another_scenario_find_nothing(shared: Path, place: int) -> None:
    search, read = log_tools(shared, NAMES[place], EpisodeConfig())
    other = (place + 1) % 3
    for arguments in ({"keywords": SECRETS[NAMES[other]]}, {"service": f"{SECRETS[NAMES[other]]}-api"}):
        assert ask(search, **arguments).log_ids == set()
    assert ask(read, trace_id=trace_id(other, 1)).trace_ids == set()
    assert search.resolve("log", log_id(other, 5)) is None
