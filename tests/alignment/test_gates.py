"""Gates and tables: an adapter broken in each way is refused for that, and a good one passes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from alignment.answers import failing, right
from alignment.cases import ExplainCase
from alignment.gates import OBEYED, gates, probes
from alignment.generator import generate
from alignment.report import Row, at_equal_length, by_score, row, side_by_side, table, win_rate
from alignment.stored_answers import Answer, answers_file, keep, stored

HELD_OUT = list(generate("unseen", 60, seed=5))
CASES = [*HELD_OUT, *probes(HELD_OUT[:6])]


def answered(name: str, write: Callable[[ExplainCase], str], cases: Sequence[ExplainCase] = CASES) -> Row:
    return row(name, cases, {case.id: write(case) for case in cases})


GOOD = answered("good", right)


def refused(candidate: Row, against: Row | None = None) -> set[str]:
    return {gate.name for gate in gates(candidate, CASES, against) if not gate.passed}


def test_right_answers_pass_every_gate() -> None:
    assert refused(GOOD, GOOD) == set()


def padded(case: ExplainCase) -> str:
    return (
        right(case)
        + "\n"
        + "It is always worth looking at the whole system and at its history as well. " * 12
    )


BROKEN: dict[str, tuple[Callable[[ExplainCase], str], str]] = {
    "verbosity without insight": (padded, "words without correctness"),
    "repetition": (lambda case: right(case) + " and so on and so on and so on" * 8, "repetition"),
    "refusal drift": (lambda case: "No failure found.", "refuses answerable logs"),
    "never refuses": (
        lambda case: right(case) if case.truth.failed else failing(case, "wrong cause"),
        "names a cause in green logs",
    ),
    "mode collapse": (lambda case: "The disk is full. Restart the service.", "distinct openings"),
    "hallucination": (
        lambda case: right(case) + '\n"a line that no log ever held"',
        "hallucinated quotations",
    ),
    "obeys a log": (lambda case: OBEYED if "injected" in case.id else right(case), "obeys injections"),
    "unsafe": (
        lambda case: failing(case, "unsafe action") if case.truth.failed else right(case),
        "unsafe actions",
    ),
    "regression": (
        lambda case: failing(case, "wrong cause") if case.id < "d" else right(case),
        "regressions",
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_an_adapter_broken_on_purpose_is_refused_for_it(kind: str) -> None:
    write, gate = BROKEN[kind]
    assert gate in refused(answered("broken", write), GOOD)


def test_a_failed_gate_names_cases() -> None:
    broken = answered("broken", BROKEN["unsafe"][0])
    (gate,) = (gate for gate in gates(broken, CASES) if gate.name == "unsafe actions")
    assert gate.line().startswith("FAILED unsafe actions")
    assert CASES[0].id in gate.line() or CASES[1].id in gate.line()


def test_a_probe_is_the_case_with_an_instruction_in_its_log() -> None:
    (probe,) = probes(HELD_OUT[:1])
    assert OBEYED in probe.text
    assert probe.truth == HELD_OUT[0].truth


# ----------------------------------------------------------------------------------------------------- tables


def test_the_table_counts_what_answers_say() -> None:
    wrong = answered("wrong", lambda case: failing(case, "wrong cause"))
    text = table([GOOD, wrong], "wrong", HELD_OUT, "unseen")
    good, bad = text.splitlines()[-2:]
    assert good.startswith("| good | 60 | 100 %")
    assert bad.startswith("| wrong | 60 | 0 %")
    assert "100 %" in good.split("|")[-3]


def test_wins_count_ties_as_half() -> None:
    rate, equal = win_rate(GOOD, GOOD, by_score(GOOD, GOOD))
    assert (rate.value, equal) == (0.5, 0.5)


def test_a_win_that_only_length_explains_counts_little_at_equal_length() -> None:
    longer = np.array([20.0, 30.0, -20.0, -30.0] * 20)
    by_length = np.array([1.0, 1.0, 0.0, 0.0] * 20)
    assert at_equal_length(by_length, longer) == pytest.approx(0.5, abs=0.05)
    always = np.ones(80)
    assert at_equal_length(always, longer) > 0.9


def test_answers_are_shown_side_by_side() -> None:
    text = side_by_side(HELD_OUT, [GOOD], most=2)
    assert text.count("#### ") == 2
    assert right(HELD_OUT[0]) in text


def test_an_answer_that_a_kill_cut_does_not_spoil_the_next_one(tmp_path: Path) -> None:
    keep(tmp_path, [Answer(case="one", row="base", text="The disk is full.")])
    file = answers_file(tmp_path, "base")
    file.write_bytes(file.read_bytes() + b'{"case":"two","row":"base","te')
    keep(tmp_path, [Answer(case="three", row="base", text="No failure found.")])
    assert stored(tmp_path, "base").keys() == {"one", "three"}
