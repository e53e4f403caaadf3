"""Runs as the page sees them: their folders, their state, their curves, and the watcher that captures what
changes.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from dashboard.curves import curves
from dashboard.overviews import MOST_BARS, MOST_NAMES, chart_of, natural_bucket
from dashboard.shelf import Shelf
from failure_analysis.aggregates import Count
from failure_analysis.logs.analyzer import NO_MODEL, LogAnalyzer
from failure_analysis.store import DATABASE, FailureStore, Wanted
from failure_analysis.watching import Watcher
from project_types import ConfigurationError
from tests.builders.episodes import episode, write_episodes
from tests.builders.runs import metrics_row, training_run, write_state
from tests.dashboard.served import captured, dashboard


def test_a_run_that_the_clock_ended_early_is_out_of_time_and_not_finished(tmp_path: Path) -> None:
    run = training_run(tmp_path, finished=False)
    write_state(run, {"finished": False, "ended_by": "time"})
    (run / "summary.json").write_text(json.dumps({"go_on": "python train_serverless.py --resume"}))
    with dashboard(tmp_path) as url, urlopen(f"{url}/run?name=seed1") as reply:
        page = reply.read().decode()
    assert "out of time" in page
    assert "Go on with: python train_serverless.py --resume" in page
    assert "finished" not in page


def rows_with(**fields: Any) -> list[dict[str, Any]]:
    """Three training rows with a field of them replaced."""
    return [metrics_row("train", step, 0.1) | fields for step in (1, 2, 3)]


@pytest.mark.parametrize("value", [None, "many", True, float("nan"), float("inf"), [1], {}])
def test_a_value_that_is_no_number_is_a_gap(value: object) -> None:
    accuracy = [chart for chart in curves(rows_with(accuracy=value)) if chart.id == "accuracy"]
    assert accuracy == []
    reward = next(chart for chart in curves(rows_with(accuracy=value)) if chart.id == "reward")
    assert reward.x == (1, 2, 3)


def test_intervals_are_as_long_as_the_axis() -> None:
    made = curves([metrics_row("val", 0, 0.3), *rows_with(), metrics_row("val", 3, 0.6)])
    validation = next(series for series in made[0].series if series.label == "validation")
    assert validation.low == (20, None, None, 50)
    assert len(validation.values) == len(validation.high) == len(made[0].x)


def test_flat_groups_and_failed_rollouts_are_shares() -> None:
    lost = next(
        chart
        for chart in curves(rows_with(groups=8, flat_groups=2, rollouts=60, failed=20))
        if chart.id == "lost"
    )
    assert {series.label: series.values[0] for series in lost.series} == {
        "groups with equal rewards": 25,
        "rollouts that failed": 25,
    }


def test_a_row_written_twice_counts_once() -> None:
    made = curves([metrics_row("train", 1, 0.1), metrics_row("train", 1, 0.4)])
    assert made[0].x == (1,)
    assert made[0].series[0].values == (40,)


def test_bars_fill_the_hours_in_which_nothing_failed(tmp_path: Path) -> None:
    training_run(tmp_path)
    store = captured(tmp_path)
    assert natural_bucket(store) in ("hour", "day", "week")
    first = Count(name="timeout", failures=2, at=datetime(2026, 3, 1, 10, tzinfo=UTC))
    last = Count(name="timeout", failures=3, at=datetime(2026, 3, 1, 14, tzinfo=UTC))
    chart = chart_of([first, last], "hour", "x")
    assert chart.series[0].values == (2, 0, 0, 0, 3)
    assert [b - a for a, b in zip(chart.x, chart.x[1:], strict=False)] == [3600] * 4


def test_too_many_bars_leave_the_gaps_out_and_rare_names_are_summed_up() -> None:
    far = [Count(name="timeout", failures=1, at=f"20{year}-03-01T10:00:00Z") for year in (20, 26)]  # type: ignore[arg-type]
    assert len(chart_of(far, "hour", "x").x) == 2 < MOST_BARS
    many = [Count(name=f"kind {number}", failures=number + 1, step=0) for number in range(20)]
    series = chart_of(many, "step", "x").series
    assert len(series) == MOST_NAMES
    assert series[-1].label == "other"
    assert sum(one.values[0] or 0 for one in series) == sum(range(1, 21))


# ---------------------------------------------------------------------------------------------------- watcher


def test_the_watcher_captures_what_is_there_and_then_what_is_added(tmp_path: Path) -> None:
    run = training_run(tmp_path)
    store = FailureStore(tmp_path / DATABASE)
    with Watcher(tmp_path, store, LogAnalyzer(NO_MODEL), every_s=0.05) as watcher:
        assert watcher.wait_for_pass(1, 60)
        before = store.experiments().total
        write_episodes(run / "episodes" / "val-0003-t0.jsonl", episode("0f3c"))
        assert watcher.wait_for_pass(watcher.passes + 2, 60)
        assert store.experiments().total == before + 1
        assert watcher.trouble() == ""


def test_while_a_run_is_captured_its_page_says_how_far_that_is(tmp_path: Path) -> None:
    training_run(tmp_path)
    store = FailureStore(tmp_path / DATABASE)
    said = list[tuple[str, int] | None]()
    watcher = Watcher(tmp_path, store, LogAnalyzer(NO_MODEL), after=[lambda: said.append(watcher.reading)])
    seen = Shelf(tmp_path, store, watcher)
    assert seen.lines_read("seed1") is None
    watcher.reading = ("seed1", 400)
    assert seen.lines_read("seed1") == 400
    assert seen.lines_read("another") is None
    watcher.look()
    assert said == [None]


def test_a_run_that_did_not_change_is_not_captured_again(tmp_path: Path) -> None:
    training_run(tmp_path)
    store = FailureStore(tmp_path / DATABASE)
    watcher = Watcher(tmp_path, store, LogAnalyzer(NO_MODEL))
    watcher.look()
    written = store.path.stat().st_mtime_ns
    watcher.look()
    assert store.path.stat().st_mtime_ns == written


def test_a_store_that_cannot_be_written_is_said_until_it_can(tmp_path: Path) -> None:
    training_run(tmp_path)
    damaged = tmp_path / DATABASE
    damaged.write_bytes(b"this is no database" * 100)
    watcher = Watcher(tmp_path, FailureStore(damaged), LogAnalyzer(NO_MODEL))
    watcher.look()
    assert "repair" in watcher.trouble()
    damaged.unlink()
    watcher.look()
    assert watcher.trouble() == ""
    assert FailureStore(damaged).experiments().total > 0


def test_a_run_that_cannot_be_read_does_not_keep_others_from_being_captured(tmp_path: Path) -> None:
    bad = training_run(tmp_path, "a-bad-one")
    training_run(tmp_path / "b", "good")
    for path in bad.glob("episodes/*"):
        path.unlink()
        path.mkdir()  # a folder where a file should be
    store = FailureStore(tmp_path / DATABASE)
    watcher = Watcher(tmp_path, store, LogAnalyzer(NO_MODEL))
    watcher.look()
    assert store.experiments(Wanted(run="b/good")).total == 9
    assert watcher.trouble()


def test_what_is_done_after_a_look_may_fail_without_ending_the_watch(tmp_path: Path) -> None:
    def fail() -> None:
        raise ConfigurationError("the webhook is gone")

    training_run(tmp_path)
    watcher = Watcher(tmp_path, FailureStore(tmp_path / DATABASE), LogAnalyzer(NO_MODEL), after=[fail])
    watcher.look()
    assert watcher.trouble() == "the webhook is gone"
    assert watcher.store.experiments().total == 9


def test_a_folder_that_is_not_there_yet_is_no_trouble(tmp_path: Path) -> None:
    watcher = Watcher(tmp_path / "runs", FailureStore(tmp_path / "runs" / DATABASE), LogAnalyzer(NO_MODEL))
    watcher.look()
    assert watcher.trouble() == ""
