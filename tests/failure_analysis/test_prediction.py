"""Warnings come before the trouble, from series of any scale, and a run that goes well is left in peace."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.prediction import bandits, disks, first_warning, networks
from failure_analysis.__main__ import main
from failure_analysis.prediction.forecasts import (
    filling,
    policy_collapsing,
    reward_collapsing,
    training_diverging,
)
from failure_analysis.prediction.readings import Space, name_of_test, of_rows, of_tests, series
from failure_analysis.store import FailureStore
from tests.failure_analysis.test_ingest import PYTEST, take, written

GOOD = [1.0, 0.8, 0.7, 0.6, 0.55, 0.5, 0.52, 0.48, 0.47, 0.46]


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_a_loss_that_runs_away_is_told_whatever_its_scale(scale: float) -> None:
    losses = [scale * value for value in [*GOOD, 1.9, 7.0]]
    assert training_diverging([scale * value for value in GOOD]) == ""
    assert training_diverging(losses)


def test_one_step_is_enough_when_the_gradient_says_the_same() -> None:
    losses, norms = [*GOOD, 1.9], [*([1.0] * len(GOOD)), 9.0]
    assert training_diverging(losses) == ""
    assert "at once" in training_diverging(losses, norms)


def test_a_single_spike_is_no_divergence() -> None:
    assert training_diverging([*GOOD, 1.9, 0.5]) == ""


def test_what_is_no_number_is_said_at_once() -> None:
    assert "not a number" in training_diverging([0.5, math.nan])
    assert "gradient is not a number" in training_diverging([0.5, 0.4], [1.0, math.inf])


def test_a_reward_that_falls_away_is_told_and_one_that_grows_or_wavers_is_not() -> None:
    rng = np.random.default_rng(1)
    growing = [min(0.8, 0.1 * step) + 0.05 * float(rng.normal()) for step in range(20)]
    assert reward_collapsing(growing) == ""
    assert "the reward falls" in reward_collapsing([*growing, 0.3, 0.2, 0.1, 0.0])
    assert reward_collapsing([0.3 * float(rng.normal()) for _ in range(40)]) == ""


def test_a_policy_without_choice_is_told() -> None:
    entropies = [1.0] * 6 + [0.05] * 4
    assert "no choice left" in policy_collapsing(entropies, [0.9] * 10)
    assert policy_collapsing(entropies, [0.2] * 10) == ""
    assert policy_collapsing([1.0] * 10, [0.9] * 10) == ""


def test_a_disk_that_fills_is_told_with_the_time_that_is_left() -> None:
    left = filling([0, 10, 20, 30, 40], [500, 400, 300, 200, 100], 60)
    assert left == pytest.approx(10)
    assert filling([0, 10, 20, 30, 40], [100, 200, 300, 400, 500], 60) is None
    assert filling([0, 10], [2, 1], 60) is None
    assert filling([0, 10, 20, 30, 40], [500, 499, 498, 497, 100], 60) is None, "one big file is no trend"


def test_nothing_is_said_of_a_disk_that_is_mostly_free() -> None:
    space = Space("disk", "the disk", 3600)
    said = [space.add(1000 - 10 * at, 1000, now=10.0 * at) for at in range(30)]
    assert not any(said)
    said = [space.add(200 - 5 * at, 1000, now=300 + 10.0 * at) for at in range(30)]
    assert any("is full in about" in one[0].text for one in said if one)


SERIES = st.lists(st.floats(allow_nan=True, allow_infinity=True, width=32), max_size=60)


@given(SERIES, SERIES)
def test_any_numbers_get_an_answer(one: list[float], other: list[float]) -> None:
    for said in (training_diverging(one, other), reward_collapsing(one), policy_collapsing(one, other)):
        assert isinstance(said, str)
    size = min(len(one), len(other))
    filling([float(at) for at in range(size)], other[:size], 60)


@pytest.mark.slow
def test_recorded_runs_are_warned_of_before_they_fail_and_good_ones_hardly_ever() -> None:
    for make, seeds in (
        (networks, range(1000, 1018)),
        (bandits, range(1000, 1012)),
        (disks, range(1000, 1012)),
    ):
        runs = list(make(seeds))
        bad, good = (
            [run for run in runs if run.failed_at is not None],
            [run for run in runs if run.failed_at is None],
        )
        assert len(bad) >= 5
        assert all(first_warning(run) is not None for run in bad)
        assert sum(first_warning(run) is not None for run in good) <= 1


# ------------------------------------------------------------------------------------------------------ watch


def row(step: int, reward: float, **job: float) -> dict[str, Any]:
    return {"split": "train", "step": step, "reward": reward, "groups": 8, "flat_groups": 1, "job": job}


def write_run(folder: Path, rewards: list[float]) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    rows = [row(step, reward, **{"loss/train": -0.03}) for step, reward in enumerate(rewards, start=1)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
    return folder


def test_watch_tells_what_the_rows_foretell_and_says_so_with_its_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = write_run(tmp_path / "runs" / "good", [0.1 * step for step in range(12)])
    bad = write_run(tmp_path / "runs" / "bad", [0.1 * step for step in range(12)] + [0.2, 0.1, 0.0, -0.1])
    failures = ("--failures", str(tmp_path / "failures.db"))
    assert main(["watch", str(good), *failures]) == 0, "it has ended, so there is nothing to wait for"
    assert capsys.readouterr().out == ""
    assert main(["watch", "bad", "--once", "--runs", str(bad.parent), *failures]) == 1
    assert "reward: the reward falls" in capsys.readouterr().out


def test_values_are_found_in_the_row_or_in_its_job() -> None:
    rows = [row(1, 0.5, **{"loss/train": 2.0}), {"loss": 3}, {"loss": "many"}, {"job": None}, {"loss": True}]
    assert series(rows, "loss/train", "loss") == [2.0, 3.0]
    assert of_rows(rows) == []


def test_tests_that_failed_before_are_named_while_they_run(tmp_path: Path) -> None:
    store = FailureStore(tmp_path / "failures.db")
    take(store, written(tmp_path / "junit.xml", PYTEST))
    log = tmp_path / "pytest.log"
    assert of_tests(log, store) == []
    log.write_text("tests/test_cart.py::test_ok PASSED\ntests/test_cart.py::test_total[a & b] \n")
    assert of_tests(log, store) == [], "the case is another one"
    log.write_text("tests.test_cart::test_total running\ntests/test_new.py::test_x PASSED\n")
    take(store, written(tmp_path / "b.xml", PYTEST.replace("test_total[a &amp; b]", "test_total")))
    (warned,) = of_tests(log, store)
    assert "tests.test_cart::test_total failed 1 times before" in warned.text
    assert "assert 41 == 42" in warned.text


@pytest.mark.parametrize("name", ["tests/test_cart.py::test_total", "tests.test_cart::test_total"])
def test_a_test_has_one_name(name: str) -> None:
    assert name_of_test(name) == "tests.test_cart::test_total"
