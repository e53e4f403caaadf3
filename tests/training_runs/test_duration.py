"""How long a run takes at most, from a measured second."""

from __future__ import annotations

import pytest

from project_types import TrainingConfig
from tests.training_runs.test_settings import WITH_KEY, settings
from training_runs.duration import forecast, line, longest_tokens, measured

SPEED = {"reading": 1000.0, "writing": 100.0, "training": 50.0}


SLOW = {name: value / 100 for name, value in SPEED.items()}


def a_run(steps: str, minutes: str = "none") -> TrainingConfig:
    sizes = ("--groups-per-step", "1", "--rollouts-per-group", "2")
    return settings("--steps", steps, *sizes, "--max-minutes", minutes)


def hours(text: str) -> float:
    return float(text.split()[3])


def test_hours_are_tokens_over_speed() -> None:
    config = a_run("1")
    assert line(config, SPEED).startswith("time       at most ")
    assert "reading 1000, writing 100, training 50" in line(config, SPEED)
    rules = config.episode
    turn = rules.max_completion_tokens + rules.tool_budget_tokens
    assert longest_tokens(rules) == 400 + rules.max_turns * turn
    assert hours(line(config, SLOW)) == pytest.approx(100 * hours(line(config, SPEED)), rel=0.1, abs=6)
    assert hours(line(a_run("2"), SLOW)) > hours(line(config, SLOW))


def test_the_cap_on_minutes_bounds_the_steps_and_not_the_tests() -> None:
    one, two, free = (hours(line(a_run("500", minutes), SLOW)) for minutes in ("60", "120", "none"))
    assert two == pytest.approx(one + 1, abs=0.2)
    assert one > 1, "tests are played besides"
    assert free > two


def test_only_an_embedded_run_is_forecast() -> None:
    assert forecast(settings("--backend", "serverless", environment=WITH_KEY)) == ""


@pytest.mark.slow
def test_a_model_that_is_not_there_is_said() -> None:
    assert "cannot be loaded" in forecast(settings("--base-model", "no-such-model"))


@pytest.mark.slow
def test_the_shipped_model_is_measured() -> None:
    speed = measured(settings())
    assert speed is not None
    assert all(value > 0 for value in speed.values())
