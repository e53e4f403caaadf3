"""The number of threads follows what pieces of work took; every case is told speeds, nothing is timed."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch

from training_service.threads import TRY_EVERY, Threads


def played(threads: Threads, speeds: Mapping[int, float], pieces: int) -> list[int]:
    """Run pieces at these speeds; returns the number of threads of each."""
    chosen = []
    for _ in range(pieces):
        chosen.append(threads.choose())
        threads.learn(chosen[-1], speeds[chosen[-1]])
    return chosen


@pytest.mark.parametrize(
    ("speeds", "best"), [({2: 200.0, 1: 100.0}, 2), ({2: 60.0, 1: 100.0}, 1)], ids=["quiet", "busy"]
)
def test_each_number_is_tried_once_and_the_fastest_goes_on(speeds: dict[int, float], best: int) -> None:
    assert played(Threads(2), speeds, 11) == [2, 2, 1, *[best] * 8]


def test_the_first_piece_of_all_is_slow_for_another_reason_and_not_counted() -> None:
    threads = Threads(2)
    threads.learn(threads.choose(), 1.0)
    assert played(threads, {2: 200.0, 1: 100.0}, 4) == [2, 1, 2, 2]


def test_one_core_leaves_nothing_to_choose() -> None:
    assert played(Threads(1), {1: 1.0}, 3) == [1, 1, 1]


def test_one_busy_core_of_eight_leaves_seven() -> None:
    speeds = {8: 400.0, 7: 700.0, 4: 400.0, 1: 100.0}
    assert played(Threads(8), speeds, 7) == [8, 8, 7, 4, 1, 7, 7]


def test_a_core_that_gets_busy_is_noticed_at_once() -> None:
    threads = Threads(2)
    played(threads, {2: 200.0, 1: 100.0}, 10)
    assert played(threads, {2: 50.0, 1: 100.0}, 5) == [2, 1, 1, 1, 1]


def test_a_core_that_gets_free_is_noticed_after_a_while() -> None:
    threads = Threads(2)
    played(threads, {2: 50.0, 1: 100.0}, 10)
    assert played(threads, {2: 200.0, 1: 100.0}, 3 * TRY_EVERY)[-TRY_EVERY:].count(2) >= TRY_EVERY - 1


def test_a_piece_runs_with_the_chosen_number_and_is_learnt_from() -> None:
    threads, before = Threads(2), torch.get_num_threads()
    for number in (2, 2, 1):
        with threads.piece(100):
            assert torch.get_num_threads() == number
    torch.set_num_threads(before)
    assert threads.fastest() in (1, 2)


def test_a_piece_that_fails_says_nothing_about_speed() -> None:
    threads = Threads(1)
    with pytest.raises(RuntimeError, match="broken"), threads.piece(100):
        raise RuntimeError("broken")
    assert threads.choose() == 1
