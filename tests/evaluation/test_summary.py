"""What a summary says of episodes whose every number is known."""

from __future__ import annotations

import random
from math import isnan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.summary import summarise
from evaluation.tables import summary_table
from project_types import Ending, Episode
from tests.builders.episodes import episode
from tests.builders.examples import examples

FOUR = [
    episode("a", 0, correct=True),
    episode("a", 1, correct=False),
    episode("b", 0, correct=True, metadata={"unseen": True, "fault_type": "missing_index", "family": "data"}),
    episode("b", 1, correct=True, metadata={"unseen": True, "fault_type": "missing_index", "family": "data"}),
]


def test_avg_and_pass_at_k_are_means_over_scenarios() -> None:
    whole = summarise(FOUR).whole
    assert whole.measures["accuracy"].value == pytest.approx(0.75)
    assert whole.measures["pass_at_k"].value == pytest.approx(1.0)
    assert summarise(FOUR, k=1).whole.measures["pass_at_k"].value == pytest.approx(0.75)
    assert (whole.scenarios, whole.episodes) == (2, 4)


def test_a_scenario_weighs_the_same_however_many_samples_it_has() -> None:
    lopsided = [*FOUR, *(episode("c", n, correct=False) for n in range(6))]
    assert summarise(lopsided).whole.measures["accuracy"].value == pytest.approx(0.5)


def test_pass_at_k_leaves_out_scenarios_with_fewer_than_k_samples() -> None:
    measures = summarise([*FOUR, episode("c", correct=True)]).whole.measures
    assert measures["pass_at_k"].n == 2
    assert measures["accuracy"].n == 3


def test_slices_follow_the_metadata() -> None:
    slices = summarise(FOUR).slices
    assert {kind: sorted(parts) for kind, parts in slices.items()} == {
        "seen": ["seen", "unseen"],
        "fault_family": ["data", "resource"],
        "fault_type": ["disk_full", "missing_index"],
        "topology": ["shop"],
    }
    assert slices["seen"]["seen"].measures["accuracy"].value == 0.5


def test_an_episode_without_metadata_is_in_no_slice() -> None:
    bare = episode("a").model_copy(update={"metadata": {}})
    assert summarise([bare]).slices == {}


def test_a_right_answer_without_evidence_is_not_grounded() -> None:
    guess = episode("a", correct=True)
    guess = guess.model_copy(
        update={"outcome": guess.outcome.model_copy(update={"cited_seen": 0, "cited_supporting": 0})}
    )
    measures = summarise([guess]).whole.measures
    assert (measures["accuracy"].value, measures["grounded"].value) == (1.0, 0.0)


def test_endings_are_counted_and_totals_summed() -> None:
    cut = episode(
        "c", ending=Ending.OUT_OF_TURNS, outcome={"prompt_tokens": 70, "completion_tokens": 5}, cost_usd=0.25
    )
    summary = summarise([*FOUR, cut])
    assert summary.whole.endings == {"answered": 4, "out_of_turns": 1}
    assert summary.totals == {"prompt_tokens": 70, "completion_tokens": 5, "cost_usd": 0.25, "seconds": 7.5}


def test_an_unscored_episode_has_no_reward_to_average() -> None:
    measures = summarise([episode("a", reward=None)]).whole.measures
    assert measures["reward"].n == 0
    assert isnan(measures["reward"].value)


def test_nothing_is_summarised_as_nothing() -> None:
    summary = summarise([])
    assert summary.whole.episodes == 0
    assert summary.to_json()["measures"]["accuracy"] == {
        "value": None,
        "low": None,
        "high": None,
        "scenarios": 0,
    }
    assert "0 episodes of 0 scenarios" in summary_table(summary, "nobody")


@given(st.randoms(use_true_random=False))
@examples(50)
def test_the_order_of_episodes_does_not_matter(rng: random.Random) -> None:
    shuffled = list(FOUR)
    rng.shuffle(shuffled)
    assert summarise(shuffled) == summarise(FOUR)


def of_twins(one: str, other: str, right: bool, sample: int = 0) -> Episode:
    return episode(one, sample, correct=right, metadata={"twin": other})


def test_twins_count_as_right_when_both_are() -> None:
    solved = [of_twins("a", "b", True), of_twins("b", "a", True)]
    half = [of_twins("c", "d", True), of_twins("d", "c", False)]
    both = summarise([*solved, *half, of_twins("e", "not played", True)]).whole.measures["both_twins"]
    assert (both.value, both.n) == (0.5, 2)


def test_both_samples_of_twins_are_right_as_often_as_chance_has_it() -> None:
    """Half of the samples of one, and all of the other: one attempt at each is right on both in half."""
    rows = [of_twins("a", "b", right, sample) for sample, right in enumerate((True, False))]
    rows += [of_twins("b", "a", True, sample) for sample in (0, 1)]
    assert summarise(rows).whole.measures["both_twins"].value == 0.5


def test_accusations_are_false_only_where_there_is_no_answer() -> None:
    nothing_wrong = {"answerable": False}
    accused = episode("a", metadata=nothing_wrong)
    knew = episode("b", ending=Ending.UNKNOWN, metadata=nothing_wrong)
    measures = summarise([accused, knew, episode("c", correct=False)]).whole.measures
    assert (measures["false_accusation"].value, measures["false_accusation"].n) == (0.5, 2)
    assert "false accusations" in summary_table(summarise([accused]), "careless")
    assert "false accusations" not in summary_table(summarise([episode("c")]), "careful")
