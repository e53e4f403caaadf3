"""What a run says about its time: how many steps fit, and that the clock ended it."""

from __future__ import annotations

from typing import Any

import pytest

from project_types import TrainingConfig
from training_runs.time_limit import TimeLimit, forecast, is_early, out_of_time, step_seconds

CONFIG = TrainingConfig(steps=40, max_minutes=10)


def row(split: str, step: int, seconds: float) -> dict[str, Any]:
    return {"split": split, "step": step, "seconds": seconds}


def test_the_pace_is_a_step_and_its_share_of_a_validation() -> None:
    rows = [row("test", 0, 99.0), row("val_sampled", 0, 8.0), row("val", 0, 2.0), row("train", 1, 20.0)]
    assert step_seconds(rows, validate_every=5) == pytest.approx(22.0)


def test_a_step_that_was_recovered_after_a_kill_has_no_pace() -> None:
    assert step_seconds([row("train", 1, 0.0)], validate_every=5) == 0.0
    assert step_seconds([row("train", 1, 0.0), row("train", 2, 6.0)], validate_every=5) == 6.0


def test_after_the_first_step_a_run_says_how_many_fit_into_the_time() -> None:
    said = forecast(CONFIG, position=1, step_s=30.0, left_s=570.0)
    assert "30.0 s a step" in said
    assert "only 19 of the 39 steps left fit into the time (--max-minutes)" in said
    assert "will end after about step 20 of 40" in said


def test_when_all_steps_fit_it_says_how_long_they_take() -> None:
    assert "39 steps left take about 6.5 minutes of 9.5 allowed" in forecast(CONFIG, 1, 10.0, 570.0)
    assert "39 steps left take about 6.5 minutes" in forecast(CONFIG, 1, 10.0, float("inf"))


def test_a_run_of_fewer_than_half_of_its_steps_is_early() -> None:
    assert is_early(19, 40)
    assert not is_early(20, 40)
    assert not is_early(0, 0)


def test_a_run_ended_early_says_that_its_numbers_show_little() -> None:
    early = out_of_time(3, 40, 12.0)
    assert "--max-minutes 12 was enough for 3 of 40 training steps" in early
    assert "less than half" in early
    assert "less than half" not in out_of_time(30, 40, 12.0)


def test_time_of_an_earlier_process_counts() -> None:
    limit = TimeLimit(max_minutes=10, spent_s=500.0)
    assert 500.0 <= limit.elapsed_s < 600.0
    assert 0.0 < limit.left_s <= 100.0
    assert TimeLimit(None, 500.0).left_s == float("inf")
