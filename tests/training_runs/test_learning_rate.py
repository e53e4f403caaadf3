"""The learning rate falls with the steps, and with nothing else."""

from __future__ import annotations

import pytest

from project_types import TrainingConfig
from training_runs.learning_rate import learning_rate


def test_it_falls_in_a_straight_line_over_the_steps() -> None:
    config = TrainingConfig(learning_rate=1.0, learning_rate_decay=0.8, steps=4)
    assert [learning_rate(config, step) for step in (1, 2, 3, 4)] == pytest.approx([1.0, 0.8, 0.6, 0.4])


def test_without_decay_it_stays() -> None:
    config = TrainingConfig(learning_rate=1e-5, steps=3)
    assert {learning_rate(config, step) for step in (1, 2, 3)} == {1e-5}
