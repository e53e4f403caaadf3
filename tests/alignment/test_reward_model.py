"""What a reward model must show before anybody learns from it: on pairs whose margins are known."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from alignment.generator import generate
from alignment.pairs import from_answers, from_cases
from alignment.preferences import Origin, Preference
from alignment.reward_model import BASELINES, Scored, calibration_error, slices, table, verdict

SEEN, UNSEEN = list(generate("seen", 120, seed=3)), list(generate("unseen", 120, seed=3))
PAIRS = list(from_cases([*SEEN, *UNSEEN]))
MODEL = Origin(model="smollm2", adapter="warm@v1", temperature=1.0)


def judged(margin: Callable[[Preference], float]) -> list[Scored]:
    return [Scored(pair, margin(pair)) for pair in PAIRS]


def test_one_that_is_always_right_passes() -> None:
    found = verdict(judged(lambda _: 4.0))
    assert found.refusals == ()
    assert found.accuracy["wrong cause"]["model"].value == 1.0
    assert "the gate lets it pass" in table(found)


@pytest.mark.parametrize("rule", BASELINES)
def test_one_that_understands_nothing_is_refused(rule: str) -> None:
    assert verdict(judged(BASELINES[rule])).refusals


def test_one_that_is_right_about_form_only_is_refused_for_the_pairs_of_equal_length() -> None:
    """Right wherever the lengths differ much, a coin where they do not."""
    coins = iter(range(10_000))

    def form(pair: Preference) -> float:
        far = abs(len(pair.chosen.split()) - len(pair.rejected.split())) > 12
        return 1.0 if far else float(next(coins) % 2) - 0.5

    assert any(reason.startswith("length-matched") for reason in verdict(judged(form)).refusals)


def test_mistakes_that_a_model_made_have_a_slice_of_their_own() -> None:
    assert "real mistakes" not in slices(judged(lambda _: 1.0))
    failed = [case for case in UNSEEN if case.truth.failed][:5]
    said = {case.id: [f"Root cause: {case.log[case.truth.symptom_lines[0]]}."] for case in failed}
    own = [Scored(pair, -1.0) for pair in from_answers(failed, said, MODEL)]
    found = verdict([*judged(lambda _: 1.0), *own])
    assert found.accuracy["real mistakes"]["model"].n == len(own) == 5
    assert found.accuracy["real mistakes"]["model"].value == 0.0


def test_without_held_out_pairs_nothing_is_known() -> None:
    assert all("nothing is known" in reason for reason in verdict([]).refusals)
    assert verdict([]).refusals


def test_one_that_is_sure_and_often_wrong_is_badly_calibrated() -> None:
    right = [Scored(PAIRS[0], 9.0)]
    assert calibration_error(right * 10) == pytest.approx(0.0, abs=0.01)
    assert calibration_error([*right * 5, *[Scored(PAIRS[0], -9.0)] * 5]) == pytest.approx(0.5, abs=0.01)
