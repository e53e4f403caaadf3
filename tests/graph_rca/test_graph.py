"""The graph of an incident: names and order do not matter, falls are seen, and what is missing is said."""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from graph_rca import slices
from graph_rca.__main__ import main
from graph_rca.baselines import Case, baro, baro_two_sided
from graph_rca.dataset import load
from graph_rca.encode_command import PART, parts_of
from graph_rca.graph import EDGE_FEATURES, NODE_FEATURES, IncidentGraph, InsufficientEvidence, build
from graph_rca.metrics import kind_of
from graph_rca.path_grams import PATHS
from graph_rca.topology import Call, Rate, ServiceGraph
from graph_rca.windows import alert_of
from importers.labels import Label, truth_of
from project_types import Incident, MetricSeries, Scenario
from tests.builders.generated import one


@cache
def scenario() -> Scenario:
    return one(3, "disk_full")


@cache
def graph() -> IncidentGraph:
    return build(scenario().incident)


def value(found: IncidentGraph, service: str, group: str, name: str) -> float:
    return float(found.nodes[found.services.index(service), NODE_FEATURES.index((group, name))])


def test_every_feature_is_a_number_and_every_call_goes_both_ways() -> None:
    found = graph()
    assert found.nodes.shape == (len(scenario().services), len(NODE_FEATURES))
    assert found.edge_features.shape == (found.edges.shape[1], len(EDGE_FEATURES))
    assert np.isfinite(found.nodes).all()
    assert np.isfinite(found.edge_features).all()
    pairs = set(map(tuple, found.edges.T.tolist()))
    assert pairs == {(other, here) for here, other in pairs}
    declared = {(edge.caller, edge.callee) for edge in scenario().topology}
    assert declared <= {(found.services[a], found.services[b]) for a, b in found.calls}


def test_another_order_of_services_gives_the_same_rows_in_that_order() -> None:
    names = list(scenario().services)
    random.Random(1).shuffle(names)
    again = build(scenario().incident.model_copy(update={"services": tuple(names)}))
    order = [again.services.index(name) for name in graph().services]
    np.testing.assert_allclose(again.nodes[order], graph().nodes, rtol=1e-5, atol=1e-6)


def test_other_names_give_the_same_metrics_and_traces() -> None:
    again = build(slices.renamed(scenario().incident, random.Random(1)), alert=graph().alert)
    same = [number for number, (group, _) in enumerate(NODE_FEATURES) if group in ("metrics", "traces")]
    np.testing.assert_allclose(again.nodes[:, same], graph().nodes[:, same], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(again.vectors[PATHS], graph().vectors[PATHS], rtol=1e-4, atol=1e-4)
    assert graph().vectors[PATHS].any()


@pytest.mark.parametrize("kind", ["spans", "metrics", "logs"])
def test_what_is_missing_is_said_and_the_rest_is_encoded(kind: str) -> None:
    found = build(slices.without(kind, scenario().incident, random.Random(1)))
    assert {"spans": "no traces", "metrics": "no metrics", "logs": "no logs"}[kind] in found.missing
    assert np.abs(found.nodes).sum() > 0


def falling() -> Incident:
    """Two services; the metrics of one fall to 0, those of the other rise a little."""

    def series(service: str, later: float) -> dict[str, object]:
        values = [50.0 + (step % 3) for step in range(30)] + [later + (step % 3) for step in range(30)]
        return {
            "service": service,
            "name": "cpu_percent",
            "start": "2026-03-04T14:00:00Z",
            "step_s": 10,
            "values": values,
        }

    return Incident.model_validate({
        "id": "fall", "description": "Something is wrong.", "time_hint": "14:05", "services": ["db", "web"],
        "metrics": [series("db", 0.0), series("web", 56.0)], "topology": [{"caller": "web", "callee": "db"}],
        "baseline": {"start": "2026-03-04T14:00:00Z", "end": "2026-03-04T14:05:00Z"},
    })  # fmt: skip


def test_a_metric_that_falls_to_zero_is_seen_where_the_published_baro_does_not_see_it() -> None:
    incident = falling()
    found = build(incident)
    assert value(found, "db", "metrics", "cpu.down") > value(found, "web", "metrics", "cpu.up") > 0
    case = Case(incident, found)
    assert baro(case).argmax() == 1
    assert baro_two_sided(case).argmax() == 0


def test_gaps_and_infinities_are_left_out() -> None:
    incident = falling()
    broken = tuple(
        one.model_copy(
            update={"values": tuple(None if step % 7 == 0 else v for step, v in enumerate(one.values))}
        )
        for one in incident.metrics
    )
    points = tuple((at, float("inf")) for at, _ in incident.metrics[0].points)
    odd = MetricSeries.model_validate({"service": "db", "name": "memory", "points": points})
    found = build(incident.model_copy(update={"metrics": (*broken, odd)}))
    assert np.isfinite(found.nodes).all()
    assert value(found, "db", "metrics", "cpu.down") > 1


def test_without_spans_a_call_weighs_what_metrics_say_of_it_now_and_before() -> None:
    known = ServiceGraph(["db", "web"], [Call("web", "db", 2.0, 0.4, 95.0, before=Rate(2.0, 0.1, 5.0))])
    found = build(falling(), topology=known)
    row = found.edge_features[list(map(tuple, found.edges.T.tolist())).index((1, 0))]
    told = dict(zip(EDGE_FEATURES, row.tolist(), strict=True))
    names = ("calls", "failed", "failed_more", "slower")
    assert [told["traces", name] for name in names] == pytest.approx(
        [np.log(121) / 3, 0.4, 0.3, np.log(10) / 3]
    )


def test_one_service_is_no_choice() -> None:
    lonely = falling().model_copy(update={"services": ("db",)})
    with pytest.raises(InsufficientEvidence, match="insufficient evidence: 1 service"):
        build(lonely)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("PodServerLatencyP95(s)", "latency_high"), ("cart_cpu", "cpu"), ("workload", "requests"), ("mood", None),
     ("PodSuccessRate(%)", "errors"), ("CpuUsageRate(%)", "cpu"), ("NodeCpuUsageRate(%)", None),
     ("errors", "errors"), ("latency-50", "latency")],
)  # fmt: skip
def test_a_metric_is_known_by_its_name(name: str, kind: str | None) -> None:
    assert kind_of(name) == kind


def test_an_alert_around_midnight_is_found_on_the_right_day() -> None:
    late = 86_400 * 20_000 - 300.0
    assert alert_of("00:02 or so", late, late + 900) == late + 420
    assert alert_of("12:00", late, late + 900) is None


def test_a_part_of_an_encoding_belongs_to_its_scenarios_and_its_flags(tmp_path: Path) -> None:
    paths = [tmp_path / f"scenario-{number}.json" for number in range(PART + 1)]
    first, second = parts_of(paths, tmp_path / "out.npz", "none")
    assert [len(first[1]), len(second[1])] == [PART, 1]
    names = {part for flags in ("none", "minilm") for part, _ in parts_of(paths, tmp_path / "out.npz", flags)}
    assert len(names) == 4
    # more scenarios leave a whole part as it is
    assert parts_of(paths[:PART], tmp_path / "out.npz", "none") == [first]


def test_a_scenario_that_cannot_be_ranked_is_left_out_and_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, name = scenario(), scenario().services[0]
    mine = tuple(row for row in whole.logs if row.service == name)
    alone = {"services": (name,), "logs": mine, "spans": (), "metrics": (), "events": (), "topology": ()}
    incident = whole.incident.model_copy(update={**alone, "id": "lonely"})
    truth = truth_of(Label(name, "disk full", "It stopped.", "14:05", "a test"))
    lonely = Scenario.model_validate(incident.model_dump(mode="json") | truth)
    for one_of in (whole, lonely):
        (tmp_path / f"scenario-{one_of.id}.json").write_text(one_of.model_dump_json(), encoding="utf-8")
    assert main(["encode", str(tmp_path), "--out", str(tmp_path / "out.npz")]) == 0
    assert "lonely.json: left out: insufficient evidence: 1 service" in capsys.readouterr().err
    assert [kept.graph.id for kept in load(tmp_path / "out.npz")] == [whole.id]
    assert not list(tmp_path.glob("*.part-*"))
