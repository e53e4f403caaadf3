"""A generated scenario keeps its promises, whatever the seed and the fault."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chaos.compose import make_control, make_scenario
from chaos.faults import catalogue
from chaos.leaks import leaks
from chaos.plans import EVEN, Mix, schedule
from chaos.soundness import sizes, truth
from chaos.splits import PREFIXES, scenario_seed, scenarios
from chaos.topologies import topologies
from core.judges.offline import OfflineJudge
from project_types import Scenario
from tests.builders.examples import examples, one_in
from tests.builders.generated import FAULTS, one, order, pair, read

ANY_FAULT = st.sampled_from(FAULTS)
ANY_SEED = st.integers(0, 2**51)


@pytest.mark.parametrize("fault", one_in(4, FAULTS))
async def test_each_fault_type_makes_a_scenario_that_the_judge_ranks_right(fault: str) -> None:
    scenario = one(1, fault)
    assert scenario.ground_truth.fault_type == fault
    assert (await OfflineJudge().verdict(scenario, scenario.gold_report)).correct
    verdicts = [await OfflineJudge().verdict(scenario, item.report) for item in scenario.distractors]
    assert not [verdict for verdict in verdicts if verdict.correct]


@example(seed=30412382, fault="slow_disk").via("support complains, and a logger has a package of that name")
@examples(15)
@given(seed=ANY_SEED, fault=ANY_FAULT)
def test_every_seed_gives_a_scenario_that_holds_together_and_leaks_nothing(seed: int, fault: str) -> None:
    scenario = one(seed, fault)
    assert [*sizes(scenario), *truth(scenario), *leaks(scenario, Path(f"scenario-{scenario.id}.json"))] == []


@examples(10)
@given(seed=ANY_SEED, fault=ANY_FAULT)
def test_decisive_rows_are_few_and_apart_and_only_at_the_culprit(seed: int, fault: str) -> None:
    scenario = one(seed, fault)
    rows = [row for row in scenario.logs if row.id in scenario.ground_truth.evidence_log_ids]
    assert len(rows) <= 4
    assert {row.service for row in rows} <= {scenario.ground_truth.service}
    assert len({row.timestamp for row in rows}) == len(rows)


@examples(15)
@given(seed=ANY_SEED, fault=ANY_FAULT)
def test_every_trace_has_one_root_unless_its_first_service_sends_no_spans(seed: int, fault: str) -> None:
    scenario = one(seed, fault)
    roots = Counter(span.trace_id for span in scenario.spans if span.parent_span_id is None)
    assert set(roots) == {span.trace_id for span in scenario.spans}
    assert max(roots.values()) == 1


def test_a_scenario_is_a_pure_function_of_its_order() -> None:
    assert make_scenario(order(5, "disk_full")) == make_scenario(order(5, "disk_full"))
    assert make_scenario(order(5, "disk_full")) != make_scenario(order(6, "disk_full"))


def test_a_redraw_changes_names_and_wordings_and_nothing_else() -> None:
    first, second = one(5, "disk_full"), one(5, "disk_full", redraw=1)
    assert set(first.services) != set(second.services)
    assert [row.message for row in first.logs] != [row.message for row in second.logs]
    assert [span.duration_ms for span in first.spans] == [span.duration_ms for span in second.spans]
    assert [series.values for series in first.metrics] == [series.values for series in second.metrics]
    assert (first.ground_truth.fault_type, first.time_hint) == (
        second.ground_truth.fault_type,
        second.time_hint,
    )


@pytest.mark.slow
def test_decisive_rows_are_mostly_no_errors() -> None:
    found = [read(scenario) for scenario in scenarios("val", 24, 3)]
    severe = 0
    for scenario in found:
        evidence = scenario.ground_truth.evidence_log_ids
        severe += any(row.level == "ERROR" and row.id in evidence for row in scenario.logs)
    assert severe <= 0.4 * len(found)


def test_rows_come_in_many_layouts_and_lengths() -> None:
    rows = [row.message for scenario in scenarios("train", 12, 3) for row in read(scenario).logs]
    shapes = {
        "json": '{"logger"',
        "java": "--- [nio",
        "logfmt": "caller=",
        "access": 'HTTP/1.1"',
        "stack": "\tat ",
    }
    assert {name for name, mark in shapes.items() if any(mark in text for text in rows)} == set(shapes)
    lengths = sorted(len(text.split()) for text in rows)
    assert lengths[len(lengths) // 10] <= 6
    assert max(map(len, rows)) > 700


def test_a_control_has_suspicious_rows_and_no_cause() -> None:
    scenario = read(make_control(order(3, "disk_full", pool="test")))
    assert scenario.ground_truth.insufficient
    assert scenario.gold_report.suspected_service == "unknown"
    assert len(scenario.distractors) >= 2
    users = {
        span.trace_id for span in scenario.spans if span.parent_span_id is None and "/" in span.operation
    }
    failed = [span for span in scenario.spans if span.parent_span_id is None and span.failed]
    assert len([span for span in failed if span.trace_id in users]) <= 8  # a few fail on any day


# ----------------------------------------------------------------------------------------------------- splits


@pytest.mark.slow
def test_the_unseen_slice_shares_no_fault_and_no_system_with_the_rest() -> None:
    found = [read(scenario) for scenario in scenarios("test", 26, 3)]
    unseen = [scenario for scenario in found if scenario.provenance.unseen]
    seen = [scenario for scenario in found if not scenario.provenance.unseen]
    assert len(unseen) == 6

    def held_out(scenario: Scenario) -> set[bool]:
        parts = (scenario.provenance.topology or "").split("+")
        systems = {topologies()[name].held_out for name in parts}
        return systems | {catalogue()[scenario.ground_truth.fault_type].held_out}

    assert all(held_out(scenario) == {True} for scenario in unseen)
    assert all(held_out(scenario) == {False} for scenario in seen)


@given(seeds=st.lists(st.tuples(st.integers(0, 999), st.integers(0, 9999)), max_size=20))
def test_splits_never_share_a_seed(seeds: list[tuple[int, int]]) -> None:
    drawn = [{scenario_seed(split, seed, position) for seed, position in seeds} for split in PREFIXES]
    assert len(set.union(*drawn)) == sum(map(len, drawn))


def test_a_schedule_follows_the_weights() -> None:
    count = sum(not fault.held_out for fault in catalogue().values())
    even = Counter(schedule(3 * count, False, EVEN, random.Random(1)))
    assert set(even.values()) == {3}
    bent = Counter(
        schedule(4 * count, False, Mix(faults={"disk_full": 10.0, "dns_failure": 0.0}), random.Random(1))
    )
    assert bent["dns_failure"] == 0
    assert bent["disk_full"] >= 25


def test_twins_name_each_other_and_nobody_else_does() -> None:
    first, second = pair(4, "disk_full")
    assert (first.provenance.twin, second.provenance.twin) == (second.id, first.id)
    assert one(4, "disk_full").provenance.twin is None
