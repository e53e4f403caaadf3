"""What the viewer is given: turns with marked lines, evidence against gold, and an end to everything that is
too long.
"""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard.transcripts import LONGEST_LINE, MOST_CHARACTERS, MOST_LINES, MOST_TURNS, Line, View, view
from failure_analysis.episodes.investigations import claims
from project_types import Episode, Scenario
from tests.builders.episodes import call, episode
from tests.builders.examples import examples
from tests.builders.scenarios import GOLD, INCIDENT, SYMPTOM, TRACE


def shown(line: Line) -> str:
    """The whole line again."""
    return "".join(piece.text for piece in line.pieces)


def result_lines(made: View) -> list[Line]:
    """Every line of every result."""
    return [line for turn in made.turns for one in turn.calls for line in one.lines]


def test_a_line_is_marked_by_whether_it_is_cited_and_gold() -> None:
    marks = {shown(line)[-4:]: line.mark for line in result_lines(view(episode(), INCIDENT))}
    assert marks == {"ARN)": "", "c3d4": "", "a1b2": "gold", "b2c3": "cited"}
    assert {line.mark for line in result_lines(view(episode(correct=True), INCIDENT))} == {"", "both"}


def test_without_the_scenario_only_citations_are_marked() -> None:
    made = view(episode(correct=True))
    assert not made.has_gold
    assert {line.mark for line in result_lines(made)} == {"", "cited"}


def test_rows_of_older_runs_whose_id_comes_first_are_marked_too() -> None:
    made = view(episode(result="a1b2 14:05:02 WARN ledger journal write failed trace 0011"), INCIDENT)
    (line,) = result_lines(made)
    assert line.mark == "gold"
    assert [piece.id for piece in line.pieces if piece.mark] == [GOLD, TRACE]


def test_ids_of_any_alphabet_are_marked_in_rows_and_in_the_head_of_a_trace() -> None:
    renamed = INCIDENT.model_dump_json().replace(GOLD, "Pod/ledger-0:17").replace(TRACE, "checkout-trace_9")
    result = (
        '3 traces begin with "chec"; the worst is trace checkout-trace_9: 2 spans, 3 ms from 14:05:02\n'
        "--:--:-- UNKNOWN ledger x3{in 9 services: a, b, c, ...} no clock trace checkout-trace_9 log Pod/ledger-0:17"
    )
    made = view(episode(result=result), Scenario.model_validate_json(renamed))
    head, line = result_lines(made)
    assert [piece.id for piece in head.pieces if piece.mark] == ["checkout-trace_9"]
    assert line.mark == "gold"
    assert [piece.level for piece in line.pieces if piece.level] == ["UNKNOWN"]


def test_evidence_that_is_no_log_line_is_marked_too() -> None:
    day = "2026-03-01T14:05"
    parts = json.loads(INCIDENT.model_dump_json())
    parts["events"] = [
        {
            "id": "e1e1",
            "timestamp": f"{day}:03Z",
            "service": "ledger",
            "object": "Pod/ledger-0",
            "reason": "Evicted",
        }
    ]
    parts["spans"] = [{"trace_id": TRACE, "span_id": "a1a1", "service": "ledger", "operation": "journal",
                       "start": f"{day}:02Z", "duration_ms": 900, "status": "error"}]  # fmt: skip
    parts["metrics"] = [{"service": "ledger", "name": "disk_used", "points": [[f"{day}:00Z", 99.0]]}]
    kinds = {"event": "e1e1", "span": "a1a1", "metric": "ledger/disk_used", "absence": "ledger"}
    parts["ground_truth"] |= {"evidence": [{"kind": kind, "id": id} for kind, id in kinds.items()]}
    result = "1 series in 14:05:00/14:06:00\ndisk_used ledger 40 -> 99 (up 9.0 sd), 99 at 14:05:00"
    played = episode(result=result).model_copy(
        update={"cited_log_ids": ("e1e1",), "cited_trace_ids": (TRACE,)}
    )
    found = {
        one.kind: one
        for one in view(played, Scenario.model_validate(parts)).evidence
        if one.id in kinds.values()
    }
    assert {kind: (one.mark, one.exists) for kind, one in found.items()} == {
        "event": ("both", True), "span": ("both", True), "metric": ("gold", True),
        "absence": ("gold", True)}  # fmt: skip
    assert (found["metric"].seen, found["absence"].seen) == (True, False)
    assert found["span"].text == "ledger journal 900 ms error"


def test_an_id_in_the_text_of_a_message_is_not_taken_for_a_citation() -> None:
    made = view(
        episode(correct=True, result="14:05:01 ERROR gateway user a1b2 gave a1b2c3d4e5f6 back log c3d4"),
        INCIDENT,
    )
    (line,) = result_lines(made)
    assert line.mark == ""
    assert [piece.level for piece in line.pieces if piece.level] == ["ERROR"]


def test_evidence_lists_gold_first_and_says_what_was_seen_cited_and_invented() -> None:
    made = episode().model_copy(
        update={"cited_log_ids": (SYMPTOM, "feedbeef0000"), "shown_log_ids": (SYMPTOM,)}
    )
    evidence = {one.id: one for one in view(made, INCIDENT).evidence}
    assert list(evidence) == [GOLD, TRACE, SYMPTOM, "feedbeef0000"]
    assert (evidence[GOLD].mark, evidence[GOLD].seen) == ("gold", False)
    assert (evidence[SYMPTOM].mark, evidence[SYMPTOM].seen, evidence[SYMPTOM].exists) == ("cited", True, True)
    assert evidence["feedbeef0000"].exists is False
    assert "no space left on device" in evidence[GOLD].text


def test_claims_stand_at_the_turns_they_cite() -> None:
    wrong = episode()
    made = view(wrong, INCIDENT, claims(wrong, INCIDENT))
    assert all(turn.number in claim.turns for turn in made.turns for claim in turn.claims)
    assert made.turns[-1].claims


@pytest.mark.parametrize(
    ("result", "says"),
    [
        ("\n".join(["a line"] * (MOST_LINES + 7)), "7 more lines"),
        ("x" * (LONGEST_LINE + 5), "5 more characters"),
    ],
)
def test_a_long_result_is_cut_and_says_by_how_much(result: str, says: str) -> None:
    made = view(episode(correct=True, result=result), INCIDENT)
    text = "".join(shown(line) for line in result_lines(made)) + made.turns[0].calls[0].cut
    assert says in text
    assert len(result_lines(made)) <= MOST_LINES


def endless(turns: int, size: int) -> Episode:
    """An episode of many turns with long replies."""
    messages = [{"role": "user", "content": "?"}]
    for number in range(turns):
        messages += [
            {**call(number, "search_logs", keywords="x" * size), "content": "y" * size},
            {"role": "tool", "content": "z\n" * size},
        ]
    return episode(correct=True).model_copy(update={"messages": tuple(messages)})


def test_an_endless_transcript_is_cut_and_says_so() -> None:
    made = view(endless(MOST_TURNS + 20, 10))
    assert len(made.turns) == MOST_TURNS
    assert made.cut.startswith("20 more turns")


def test_what_is_shown_of_a_transcript_is_bounded_whatever_it_holds() -> None:
    made = view(endless(60, 20_000))
    assert len(made.model_dump_json()) < 3 * MOST_CHARACTERS


contents = st.one_of(
    st.none(),
    st.text(max_size=200),
    st.integers(),
    st.lists(st.dictionaries(st.text(max_size=5), st.text(max_size=9)), max_size=3),
)
calls = st.lists(
    st.one_of(
        st.none(),
        st.fixed_dictionaries({"function": st.fixed_dictionaries({"name": contents, "arguments": contents})}),
        st.dictionaries(st.text(max_size=8), contents, max_size=2),
    ),
    max_size=3,
)
messages = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "user", "assistant", "tool", "else"]), "content": contents},
    optional={"tool_calls": st.one_of(contents, calls)},
)


@examples(200)
@given(st.lists(messages, max_size=8))
def test_whatever_the_messages_hold_there_is_a_view_of_them(said: list[dict[str, object]]) -> None:
    made = view(episode(correct=True).model_copy(update={"messages": tuple(said)}), INCIDENT)
    assert len(made.turns) == sum(message["role"] == "assistant" for message in said)


@given(st.text(alphabet="0123456789abcdef trce:\n.x", max_size=300))
def test_marking_a_result_never_changes_its_text(result: str) -> None:
    lines = result_lines(view(episode(correct=True, result=result), INCIDENT))
    assert "\n".join(shown(line) for line in lines) == result
