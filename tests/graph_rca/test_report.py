"""A report on few incidents ends, goes on where it was killed, and names its command;
ways are those of bad traces.
"""

from __future__ import annotations

import json
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from graph_rca.baselines import Case, baro, baro_two_sided, nsigma
from graph_rca.graph import build
from graph_rca.paths import path_of
from project_types import Incident
from tests.builders.generated import one


def test_the_way_to_the_users_is_that_of_bad_traces() -> None:
    scenario = one(3, "disk_full")
    graph = build(scenario.incident)
    cause = graph.services.index(scenario.ground_truth.service)
    told = [graph.services[place] for place in path_of(graph, cause)]
    assert told == list(scenario.ground_truth.propagation_path)


def test_without_traces_a_way_follows_calls() -> None:
    scenario = one(3, "disk_full")
    graph = build(scenario.incident.model_copy(update={"spans": ()}))
    way = path_of(graph, graph.services.index(scenario.ground_truth.service))
    calls = set(graph.calls)
    assert all((caller, callee) in calls for callee, caller in pairwise(way))


def test_baselines_follow_the_scalers_of_the_package_that_published_them() -> None:
    """BARO takes scikit-learn's RobustScaler, n-sigma its StandardScaler; both take the largest rise."""
    before, after = [5.0, 6.0, 7.0, 9.0, 30.0], [8.0, 2.0, 12.0]
    values = [*before, *after]
    series = {"service": "a", "name": "cpu", "start": "2026-03-04T14:00:00Z", "step_s": 10, "values": values}
    incident = Incident.model_validate({
        "id": "x", "description": "d", "time_hint": "14:01", "services": ["a", "b"], "metrics": [series],
        "baseline": {"start": "2026-03-04T14:00:00Z", "end": "2026-03-04T14:00:50Z"},
    })  # fmt: skip
    case = Case(incident, build(incident))
    low, middle, high = np.quantile(before, (0.25, 0.5, 0.75))
    assert baro(case)[0] == pytest.approx((12 - middle) / (high - low))
    assert baro_two_sided(case)[0] == pytest.approx(abs(2 - middle) / (high - low))
    assert nsigma(case)[0] == pytest.approx((12 - np.mean(before)) / np.std(before))


@pytest.mark.slow
@pytest.mark.skipif(find_spec("torch_geometric") is None, reason="needs the extra graph")
def test_a_report_ends_and_a_killed_one_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from graph_rca.__main__ import main

    page = tmp_path / "page.md"
    page.write_text("above\n<!-- graph_rca:begin -->\n<!-- graph_rca:end -->\nbelow\n", encoding="utf-8")
    asked = ["report", "--count", "2", "--hard", "2", "--explained", "1", "--out", str(tmp_path / "out")]
    assert main([*asked, "--write-docs", str(page)]) == 0
    written = page.read_text(encoding="utf-8")
    assert "| graph attention |" in written
    assert "report --count 2 --hard 2" in written
    assert written.startswith("above")
    assert written.endswith("below\n")
    kept = tmp_path / "out" / "results.jsonl"
    lines = kept.read_text(encoding="utf-8").splitlines()
    kept.write_text("\n".join(lines[:-4]) + "\n", encoding="utf-8")  # killed in its last slice
    capsys.readouterr()
    assert main(asked) == 0
    again = [json.loads(line) for line in kept.read_text(encoding="utf-8").splitlines()]
    assert [(one["slice"], one["number"]) for one in again] == [
        (one["slice"], one["number"]) for one in map(json.loads, lines)
    ]
    assert "seen:" not in capsys.readouterr().err
    assert main([*asked, "--seed", "1"]) == 2
    assert main([*asked, "--runs", str(tmp_path / "typo")]) == 2
    assert "holds no networks" in capsys.readouterr().err
    assert main([*asked, "--runs", str(tmp_path / "a" / "run"), str(tmp_path / "b" / "run")]) == 2
    assert "two folders have one name" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(find_spec("torch_geometric") is None, reason="needs the extra graph")
def test_a_network_of_a_run_has_rows_of_first_places_of_top_three_and_of_its_cost() -> None:
    from graph_rca.measuring import Measured
    from graph_rca.report_tables import GAT, tables
    from graph_rca.scoring import Row

    right, near = Row((1.0,) * 5, None, 20.0), Row((0.0, 0.0, 1.0, 1.0, 1.0), None, 41.0)
    rows = {"n-sigma": near, GAT: right, "run/gat-0": near}
    text = tables(
        {"seen": [Measured("seen", str(n), 8, "", False, rows) for n in range(4)]},
        {GAT: 0.2, "run/gat-0": 0.3},
        None,
    )
    assert [line for line in text.splitlines() if line.startswith("| run/gat-0")] == [
        "| run/gat-0 | 0 [0, 60] | - |", "| run/gat-0 | 100 [40, 100] | - |", "| run/gat-0 | 41 | 0.30 |",
    ]  # fmt: skip
