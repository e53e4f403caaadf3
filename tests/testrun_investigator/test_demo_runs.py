"""The generated runs: at least a dozen, each with one cause, told by its rows and not by its names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from testrun_investigator.demo_runs.generator import METRICS, play
from testrun_investigator.demo_runs.packing import facts, raw_event, truth, write_run
from testrun_investigator.demo_runs.plots import Plot, plots

PLOTS = plots()


def test_there_are_at_least_a_dozen_plots() -> None:
    assert len(PLOTS) >= 12
    assert len({plot.fault_type for plot in PLOTS.values()}) >= 10
    assert {plot.culprit for plot in PLOTS.values()} == {"db", "loader"}


@pytest.mark.parametrize("plot", PLOTS.values(), ids=lambda plot: plot.key)
def test_a_run_has_a_cause_that_its_rows_prove(plot: Plot) -> None:
    run = play(plot, seed=3, noise=0.1)
    about = truth(run)
    assert run.culprit in (*run.nodes, *run.loaders)
    assert run.culprit in run.cause
    assert "{" not in run.cause
    assert len(about["evidence"]) >= 1
    assert any(one.lower() in json.dumps(about).lower() for one in plot.accepted) or plot.accepted
    texts = [entry.text for entry in run.logs] + [event.text for event in run.events]
    assert not any("{node}" in text or "{peer}" in text for text in texts)
    assert any(event.severity in ("ERROR", "CRITICAL") for event in run.events)
    assert len(plot.disruptions) >= 2


def test_the_same_plot_and_seed_give_the_same_run() -> None:
    plot = PLOTS["slow-disk"]
    assert play(plot, 5, 0.1) == play(plot, 5, 0.1)
    assert play(plot, 5, 0.1).run_id != play(plot, 6, 0.1).run_id


def test_nothing_an_assistant_sees_names_the_plot(tmp_path: Path) -> None:
    run = play(PLOTS["corrupt-sstable"], 1, 0.1)
    folder = write_run(run, tmp_path)
    shown = json.dumps(facts(run, sorted(path.name for path in folder.iterdir())))
    for word in ("corrupt-sstable", "corrupt_record", run.cause[:40]):
        assert word not in shown
    assert "corrupt-sstable" not in folder.name


def test_every_trend_moves_a_metric_that_exists() -> None:
    for plot in PLOTS.values():
        assert {trend.metric for trend in plot.trends} <= METRICS.keys()


def test_events_are_written_as_sct_writes_them() -> None:
    run = play(PLOTS["disk-full"], 1, 0.1)
    raw = [raw_event(run, event) for event in run.events]
    assert {
        "base",
        "type",
        "subtype",
        "event_timestamp",
        "severity",
        "period_type",
        "event_id",
        "subcontext",
    } <= raw[0].keys()
    during = next(one for one in raw if one["type"] == "NO_SPACE_ERROR")
    assert during["subcontext"] == [{"base": "DisruptionEvent", "nemesis_name": "NoCorruptRepairMonkey"}]
