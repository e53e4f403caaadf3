"""Trajectories become exactly the sequences that were sampled, with the advantages ART gives them."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training_service.engine import TrainingError
from training_service.sequences import batch_of

Json = dict[str, Any]


def choice(prompt: list[int], tokens: list[int], logprob: float = -1.0, **changes: Any) -> Json:
    content = [{"token": "x", "logprob": logprob, "top_logprobs": []} for _ in tokens]
    plain = {
        "index": 0,
        "finish_reason": "stop",
        "message": {"role": "assistant", "content": "x"},
        "logprobs": {"content": content},
        "prompt_token_ids": prompt,
        "token_ids": tokens,
    }
    return plain | changes


def trajectory(reward: float, *entries: Json, more: list[list[Json]] | None = None) -> Json:
    return {
        "reward": reward,
        "messages_and_choices": [{"role": "user", "content": "hello"}, *entries],
        "additional_histories": [{"messages_and_choices": history} for history in more or []],
    }


def group(*trajectories: Json) -> Json:
    return {"trajectories": list(trajectories)}


def test_turns_that_extend_each_other_become_one_sequence_with_prompts_and_tool_results_masked() -> None:
    first, second = choice([1, 2], [3, 4]), choice([1, 2, 3, 4, 5, 6], [7])
    batch = batch_of(
        [
            group(
                trajectory(1, first, {"role": "tool", "content": "r"}, second),
                trajectory(0, choice([1, 2], [8])),
            )
        ]
    )
    sequence = batch.sequences[0]
    assert sequence.tokens == [1, 2, 3, 4, 5, 6, 7]
    assert sequence.sampled == [False, False, True, True, False, False, True]
    assert [value for value in sequence.old_logprobs if not math.isnan(value)] == [-1.0, -1.0, -1.0]
    assert len(batch.sequences) == 2


def test_a_prompt_that_rewrites_what_came_before_starts_a_new_sequence() -> None:
    first, second = choice([1, 2], [3, 4]), choice([1, 2, 9, 9, 5], [7])
    batch = batch_of([group(trajectory(1, first, second), trajectory(0, choice([1], [8])))])
    assert [sequence.tokens for sequence in batch.sequences] == [[1, 2, 3, 4], [1, 2, 9, 9, 5, 7], [1, 8]]


def test_additional_histories_are_trained_on_with_the_same_reward() -> None:
    batch = batch_of(
        [
            group(
                trajectory(1, choice([1], [2]), more=[[choice([5], [6, 7])]]), trajectory(0, choice([1], [3]))
            )
        ]
    )
    assert [sequence.tokens for sequence in batch.sequences] == [[1, 2], [5, 6, 7], [1, 3]]
    assert batch.sequences[0].advantage == batch.sequences[1].advantage > 0
    assert batch.sequences[0].weight == batch.sequences[1].weight


@pytest.mark.parametrize(
    "rewards",
    [
        pytest.param([1.0], id="one"),
        pytest.param([0.5, 0.5, 0.5], id="equal"),
        pytest.param([0.1 + 0.2, 0.3], id="equal but rounding"),
    ],
)
def test_a_group_without_differences_trains_nothing(rewards: list[float]) -> None:
    batch = batch_of([group(*(trajectory(reward, choice([1], [2])) for reward in rewards))])
    assert batch.sequences == []
    assert batch.flat_groups == 1


def test_an_empty_group_trains_nothing() -> None:
    assert batch_of([group()]).sequences == []


def test_a_trajectory_at_the_mean_of_its_group_is_left_out() -> None:
    batch = batch_of([group(*(trajectory(reward, choice([1], [2])) for reward in (0, 1, 2)))])
    assert len(batch.sequences) == 2


@given(
    st.lists(st.tuples(st.floats(-3, 3), st.integers(1, 9)), min_size=2, max_size=8),
    st.sampled_from([-0.5, 0.0, 0.5]),
    st.booleans(),
)
def test_the_mean_size_of_an_advantage_is_one_whatever_the_rewards(
    rows: list[tuple[float, int]], balance: float, scale: bool
) -> None:
    groups = [group(*(trajectory(reward, choice([1], [2] * length)) for reward, length in rows))]
    batch = batch_of(groups, scale_rewards=scale, advantage_balance=balance)
    tokens = sum(sequence.sampled_count for sequence in batch.sequences)
    if tokens:
        weights = sum(sequence.weight * sequence.sampled_count for sequence in batch.sequences)
        size = sum(
            abs(sequence.advantage) * sequence.weight * sequence.sampled_count for sequence in batch.sequences
        )
        assert weights / tokens == pytest.approx(1)
        assert size / tokens == pytest.approx(1)


def test_a_long_trajectory_weighs_no_more_than_a_short_one() -> None:
    batch = batch_of([group(trajectory(1, choice([1], [2] * 90)), trajectory(0, choice([1], [2] * 10)))])
    long, short = batch.sequences
    assert long.weight * long.sampled_count == pytest.approx(short.weight * short.sampled_count, rel=1e-4)


def test_full_balance_trains_on_good_trajectories_only() -> None:
    batch = batch_of(
        [group(trajectory(1, choice([1], [2])), trajectory(0, choice([1], [3])))], advantage_balance=1.0
    )
    assert [sequence.advantage > 0 for sequence in batch.sequences] == [True, False]
    assert batch.sequences[1].advantage == 0


def test_a_foreign_choice_with_logprobs_is_refused_by_name() -> None:
    foreign = choice([1], [2])
    del foreign["token_ids"]
    with pytest.raises(TrainingError, match=r"group 0, trajectory 0: .* this service did not write it"):
        batch_of([group(trajectory(1, foreign), trajectory(0, choice([1], [3])))])


def test_a_foreign_choice_without_logprobs_is_context() -> None:
    foreign = choice([1], [2], logprobs=None, token_ids=None, prompt_token_ids=None)
    batch = batch_of([group(trajectory(1, foreign, choice([1, 2, 3], [4])), trajectory(0, choice([1], [3])))])
    assert batch.sequences[0].sampled == [False, False, False, True]


def test_tokens_without_logprobs_count_as_sampled_from_the_current_policy() -> None:
    batch = batch_of([group(trajectory(1, choice([1], [2], logprobs=None)), trajectory(0, choice([1], [3])))])
    assert batch.sequences[0].sampled == [False, True]
    assert math.isnan(batch.sequences[0].old_logprobs[1])


def test_a_choice_that_lost_logprobs_is_refused() -> None:
    short = choice([1], [2, 3])
    short["logprobs"]["content"].pop()
    with pytest.raises(TrainingError, match="2 token_ids but 1 log-probabilities"):
        batch_of([group(trajectory(1, short), trajectory(0, choice([1], [3])))])


@pytest.mark.parametrize("rewards", [(1e300, -1e300), (1e300, 1e300), (0.0, 2e9)])
def test_a_reward_that_is_too_large_to_compute_with_is_refused(rewards: tuple[float, float]) -> None:
    first, second = rewards
    with pytest.raises(TrainingError, match=r"group 0: a reward of size \S+ is beyond 1e\+09; scale"):
        batch_of([group(trajectory(first, choice([1], [2])), trajectory(second, choice([1], [3])))])


def test_a_choice_without_tokens_is_refused() -> None:
    groups = [group(trajectory(1, choice([1], [])), trajectory(0, choice([1], [3])))]
    with pytest.raises(TrainingError, match="group 0, trajectory 0: token_ids of a choice is empty"):
        batch_of(groups)


def test_a_reward_that_is_not_finite_is_refused() -> None:
    with pytest.raises(TrainingError, match="group 0: a reward is not finite"):
        batch_of([group(trajectory(math.inf, choice([1], [2])), trajectory(0, choice([1], [3])))])
