"""Groups in which all rewards are equal."""

from __future__ import annotations

from tests.fakes.art_alone import art
from training_runs.flat_groups import is_flat, lessons


def group(*rewards: float) -> art.TrajectoryGroup:
    return art.TrajectoryGroup([art.Trajectory(messages_and_choices=[], reward=reward) for reward in rewards])


def test_a_group_is_flat_when_nothing_in_it_is_better_than_the_rest() -> None:
    assert is_flat(group(0.5, 0.5, 0.5))
    assert is_flat(group())
    assert not is_flat(group(0.5, 0.5, 0.6))


def test_flat_groups_are_left_out_of_the_training_job() -> None:
    flat, taught, empty = group(1.0, 1.0), group(1.0, -1.0), group()
    assert lessons([flat, taught, empty]) == [taught]


def test_a_step_without_any_lesson_is_submitted_all_the_same() -> None:
    flat, empty = group(1.0, 1.0), group()
    assert lessons([flat, empty]) == [flat]
