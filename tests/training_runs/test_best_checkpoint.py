"""Which checkpoint is the best on val."""

from __future__ import annotations

from typing import Any

import pytest

from training_runs.best_checkpoint import best_checkpoint, selection, val_rewards


def row(split: str, step: int, reward: float) -> dict[str, Any]:
    return {"split": split, "step": step, "reward": reward}


def test_the_mean_of_both_temperatures_counts() -> None:
    rows = [row("val", 0, 0.5), row("val_sampled", 0, 0.0), row("val", 5, 0.4), row("val_sampled", 5, 0.3)]
    rewards = val_rewards([*rows, row("test", 5, -1.0)])
    assert rewards == pytest.approx({0: 0.25, 5: 0.35})
    assert best_checkpoint(rewards, otherwise=9) == 5


def test_without_samples_temperature_0_counts_alone() -> None:
    assert val_rewards([row("val", 0, 0.5), row("val", 5, 0.4)]) == {0: 0.5, 5: 0.4}


def test_of_equals_the_later_is_the_best_for_us_and_for_art() -> None:
    rewards = {0: 0.5, 5: 0.5, 10: 0.4}
    assert best_checkpoint(rewards, otherwise=0) == 5
    assert max(rewards, key=lambda step: selection(rewards, step)) == 5


def test_without_val_scenarios_the_latest_is_the_best() -> None:
    assert best_checkpoint({}, otherwise=7) == 7
