"""What the reward pays for and what it does not, over every outcome that can be written down, contradictory
ones included.
"""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from project_types import Ending, Episode, Outcome
from rewards import training_reward, without_evidence
from rollout import BANDS, ENDED, Reward, reward

SCORED = [ending for ending in Ending if ending is not Ending.PROVIDER_ERROR]
COUNTED = [name for name, fact in Outcome.model_fields.items() if fact.annotation is int]
COUNTS = st.integers(0, 60) | st.integers(0, 10**9)


def changed(outcome: Outcome, **facts: object) -> Outcome:
    """The same outcome with some facts replaced, validated again."""
    return Outcome.model_validate(outcome.model_dump() | facts)


def solved(outcome: Outcome) -> bool:
    """Right: with an answer, or with 'unknown' where the evidence does not suffice."""
    return outcome.ending in (Ending.ANSWERED, Ending.UNKNOWN) and outcome.correct


OUTCOMES = st.builds(
    Outcome,
    ending=st.sampled_from(SCORED),
    correct=st.booleans(),
    service_correct=st.booleans(),
    **dict.fromkeys(COUNTED, COUNTS),
    seconds=st.floats(0, 1e4),
)
SOLVED = st.builds(changed, OUTCOMES, ending=st.just(Ending.ANSWERED), correct=st.just(True))
UNSOLVED = OUTCOMES.filter(lambda outcome: not solved(outcome))
GROUNDED = Outcome(
    ending=Ending.ANSWERED, correct=True, service_correct=True, turns=4, gold_evidence=2,
    gold_evidence_opened=2,
    cited=2, cited_seen=2, cited_gold=2, cited_supporting=2,
)  # fmt: skip
WORST_SOLVED = Outcome(
    ending=Ending.ANSWERED,
    correct=True,
    turns=50,
    repeated_calls=60,
    malformed_calls=60,
    cited=60,
    cited_seen=1,
    cited_fabricated=59,
)


def test_the_bands_never_touch() -> None:
    bands = list(BANDS.values())
    for better, worse in pairwise(bands):
        assert better.low > worse.high


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("grounded", 1.0, 1.6),
        ("unsupported", 0.05, 0.25),
        ("abstained", -0.74, -0.54),
        ("wrong", -1.0, -0.75),
        ("unfinished", -1.35, -1.15),
        ("broken", -2.0, -1.5),
    ],
)
def test_a_band_has_the_limits_the_documentation_names(name: str, low: float, high: float) -> None:
    assert (BANDS[name].low, BANDS[name].high) == (low, high)


@given(OUTCOMES)
def test_every_reward_lies_in_its_band_and_is_the_sum_of_its_components(outcome: Outcome) -> None:
    scored = reward(outcome)
    band = BANDS[scored.band]
    assert band.low <= scored.total <= band.high
    assert math.isclose(scored.total, sum(scored.components.values()), abs_tol=1e-9)


@given(OUTCOMES)
def test_every_component_is_always_there_so_that_averages_compare(outcome: Outcome) -> None:
    assert reward(outcome).components.keys() == reward(GROUNDED).components.keys()


@given(SOLVED, UNSOLVED)
def test_no_failure_outscores_a_success(success: Outcome, failure: Outcome) -> None:
    assert reward(success).total > reward(failure).total


@given(UNSOLVED)
def test_the_worst_solved_episode_beats_every_unsolved_one(outcome: Outcome) -> None:
    assert reward(WORST_SOLVED).total > reward(outcome).total


@given(SOLVED, SOLVED)
def test_a_grounded_answer_beats_every_unsupported_guess(one: Outcome, other: Outcome) -> None:
    grounded = changed(one, cited_supporting=one.cited_supporting + 1)
    guess = changed(other, cited_supporting=0)
    assert reward(grounded).total - reward(guess).total >= 0.75


@given(OUTCOMES, OUTCOMES)
def test_a_wrong_answer_always_costs_more_than_admitting_ignorance(one: Outcome, other: Outcome) -> None:
    wrong = changed(one, ending=Ending.ANSWERED, correct=False)
    unknown = changed(other, ending=Ending.UNKNOWN, correct=False)
    assert reward(wrong).total < reward(unknown).total


@given(OUTCOMES, OUTCOMES, st.sampled_from([Ending.OUT_OF_TURNS, Ending.OUT_OF_CONTEXT]))
def test_rambling_until_the_episode_is_cut_is_no_way_out(one: Outcome, other: Outcome, cut: Ending) -> None:
    reported = changed(other, ending=Ending.ANSWERED)
    assert reward(changed(one, ending=cut)).total < reward(reported).total


@given(
    OUTCOMES,
    st.sampled_from([ending for ending in SCORED if ending not in ENDED.keys() | {Ending.ANSWERED}]),
    OUTCOMES,
)
def test_an_episode_without_a_usable_reply_scores_lowest(
    one: Outcome, ending: Ending, other: Outcome
) -> None:
    assume(other.ending in ENDED.keys() | {Ending.ANSWERED})
    assert reward(changed(one, ending=ending)).total < reward(other).total


@pytest.mark.parametrize(
    "effort",
    [
        "turns",
        "tool_calls",
        "repeated_calls",
        "malformed_calls",
        "report_words",
        "prompt_tokens",
        "completion_tokens",
    ],
)
@given(outcome=OUTCOMES, more=st.integers(1, 1000))
def test_more_effort_never_raises_the_reward_by_itself(effort: str, outcome: Outcome, more: int) -> None:
    assert (
        reward(changed(outcome, **{effort: getattr(outcome, effort) + more})).total <= reward(outcome).total
    )


@given(OUTCOMES, st.integers(1, 100))
def test_citing_more_ids_never_raises_the_reward_by_itself(outcome: Outcome, more: int) -> None:
    longer = changed(outcome, cited=outcome.cited + more)
    assert reward(longer).total <= reward(outcome).total
    if (
        outcome.cited_seen
    ):  # once something seen is cited, further lines that were merely seen add nothing either
        padded = changed(longer, cited_seen=outcome.cited_seen + more)
        assert reward(padded).total <= reward(outcome).total


@given(OUTCOMES, st.integers(0, 99))
def test_every_fabricated_id_costs(
    outcome: Outcome, before: int
) -> None:  # a report holds a hundred ids at most
    outcome = changed(outcome, cited_fabricated=before)
    invented = changed(outcome, cited=outcome.cited + 1, cited_fabricated=before + 1)
    assert reward(invented).total < reward(outcome).total


@given(OUTCOMES)
def test_the_same_facts_give_the_same_reward(outcome: Outcome) -> None:
    assert reward(outcome) == reward(Outcome.model_validate_json(outcome.model_dump_json()))


@given(OUTCOMES)
def test_time_and_tokens_are_not_scored(outcome: Outcome) -> None:
    assert reward(changed(outcome, seconds=0.0, prompt_tokens=0, completion_tokens=0)) == reward(outcome)


@pytest.mark.parametrize("ending", [Ending.OUT_OF_TURNS, Ending.UNKNOWN, Ending.MALFORMED_CALL])
def test_finding_gold_evidence_orders_failures_among_themselves(ending: Ending) -> None:
    rewards = [
        reward(Outcome(ending=ending, gold_evidence=3, gold_evidence_opened=opened)).total
        for opened in range(4)
    ]
    assert rewards == sorted(set(rewards))


def test_a_wrong_answer_in_the_right_service_is_less_wrong() -> None:
    wrong = Outcome(ending=Ending.ANSWERED)
    assert reward(changed(wrong, service_correct=True)).total > reward(wrong).total


def test_citing_gold_pays_more_than_citing_what_was_merely_seen() -> None:
    assert reward(GROUNDED).total > reward(changed(GROUNDED, cited_gold=0)).total + 0.2


def test_of_two_equal_successes_the_shorter_earns_a_little_more() -> None:
    gain = reward(GROUNDED).total - reward(changed(GROUNDED, turns=5)).total
    assert 0 < gain <= 0.02


def test_an_outcome_from_before_support_was_counted_is_read_as_it_was_counted_then() -> None:
    old = GROUNDED.model_dump(exclude={"cited_supporting"})
    assert Outcome.model_validate(old).grounded
    assert not Outcome.model_validate(old | {"cited_seen": 0}).grounded


def test_a_broken_off_episode_is_refused_rather_than_scored() -> None:
    with pytest.raises(ValueError, match="never scored"):
        reward(Outcome(ending=Ending.PROVIDER_ERROR))


def test_a_reward_shows_what_it_is_made_of() -> None:
    assert reward(GROUNDED) == Reward(
        band="grounded",
        total=1.56,
        components={
            "band": 1.2, "cited_gold": 0.2, "evidence_opened": 0.1, "right_service": 0.0, "few_turns": 0.06,
            "fabricated_ids": 0.0, "irrelevant_ids": 0.0, "repeated_calls": 0.0, "malformed_calls": 0.0,
        },
    )  # fmt: skip


@given(OUTCOMES, OUTCOMES)
def test_without_its_evidence_term_only_the_rest_of_an_episode_is_paid(
    outcome: Outcome, other: Outcome
) -> None:
    evidence = {
        name: getattr(other, name) for name in ("cited", "cited_gold", "cited_fabricated", "cited_supporting")
    }
    opened = {"gold_evidence_opened": other.gold_evidence_opened}
    assert reward(without_evidence(changed(outcome, **evidence, **opened))) == reward(
        without_evidence(outcome)
    )
    if outcome.ending is Ending.ANSWERED:
        assert reward(without_evidence(outcome)).band == ("grounded" if outcome.correct else "wrong")


def test_a_trainer_is_told_the_stored_reward_unless_the_evidence_term_is_left_out() -> None:
    guess = changed(GROUNDED, cited_supporting=0, cited_gold=0)
    stored = reward(guess).total
    episode = Episode(scenario_id="a", messages=(), outcome=guess, reward=stored)
    assert training_reward(episode, evidence=True) == stored < BANDS["grounded"].low
    assert training_reward(episode, evidence=False) == reward(without_evidence(GROUNDED)).total
