"""A generated scenario keeps its promises, whatever the seed and the fault."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaos.catalogue import CATALOGUE, HELD_OUT
from chaos.compose import make_scenario
from chaos.leaks import leaks
from chaos.plans import EVEN, Mix, schedule
from chaos.soundness import sizes, truth
from chaos.splits import PREFIXES, scenario_seed, scenarios
from chaos.topologies import topologies
from core.judges.offline import OfflineJudge
from project_types import Scenario


def made(seed: int, fault: str) -> Scenario:
    """A validated scenario, read as its file would be."""
    return Scenario.model_validate_json(json.dumps(make_scenario(seed, fault, fault in HELD_OUT)))


@pytest.mark.parametrize("fault", CATALOGUE)
async def test_each_fault_type_makes_a_scenario_that_the_judge_ranks_right(fault: str) -> None:
    for seed in range(3):
        scenario = made(seed, fault)
        assert scenario.ground_truth.fault_type == fault
        assert (await OfflineJudge().verdict(scenario, scenario.gold_report)).correct
        assert not [
            d for d in scenario.distractors if (await OfflineJudge().verdict(scenario, d.report)).correct
        ]


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**51), fault=st.sampled_from(list(CATALOGUE)))
def test_every_seed_gives_a_scenario_that_holds_together_and_leaks_nothing(seed: int, fault: str) -> None:
    scenario = made(seed, fault)
    assert [*sizes(scenario), *truth(scenario), *leaks(scenario, Path(f"scenario-{scenario.id}.json"))] == []


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**51), fault=st.sampled_from(list(CATALOGUE)))
def test_decisive_lines_are_few_short_and_only_at_the_culprit(seed: int, fault: str) -> None:
    scenario = made(seed, fault)
    rows = [row for row in scenario.logs if row.id in scenario.ground_truth.evidence_log_ids]
    assert {row.service for row in rows} == {scenario.ground_truth.service}
    assert all(len(row.message.split()) <= 16 for row in scenario.logs)
    assert max(Counter(f"{row.timestamp:%X}" for row in rows).values()) == 1


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**51), fault=st.sampled_from(list(CATALOGUE)))
def test_children_of_a_span_start_inside_the_window_of_their_trace(seed: int, fault: str) -> None:
    scenario = made(seed, fault)
    roots = {span.trace_id: span for span in scenario.spans if span.parent_span_id is None}
    assert all(span.start >= roots[span.trace_id].start for span in scenario.spans)
    assert len(roots) == len({span.trace_id for span in scenario.spans})


def test_a_scenario_is_a_pure_function_of_its_seed() -> None:
    assert make_scenario(5, "disk_full") == make_scenario(5, "disk_full")
    assert make_scenario(5, "disk_full") != make_scenario(6, "disk_full")


def test_decisive_lines_are_mostly_no_errors() -> None:
    found = [Scenario.model_validate_json(json.dumps(scenario)) for scenario in scenarios("val", 48, 3)]
    with_error = sum(
        any(
            row.level == "ERROR" and row.id in scenario.ground_truth.evidence_log_ids for row in scenario.logs
        )
        for scenario in found
    )
    assert with_error <= 0.35 * len(found)


def test_the_unseen_slice_shares_no_fault_and_no_system_with_the_rest() -> None:
    found = list(scenarios("test", 26, 3))
    unseen = [scenario for scenario in found if scenario["provenance"]["unseen"]]
    seen = [scenario for scenario in found if not scenario["provenance"]["unseen"]]
    assert len(unseen) == 6
    assert {s["ground_truth"]["fault_type"] for s in unseen} <= set(HELD_OUT)
    assert {s["ground_truth"]["fault_type"] for s in seen} & set(HELD_OUT) == set()
    assert all(topologies()[s["provenance"]["topology"]].held_out for s in unseen)
    assert not any(topologies()[s["provenance"]["topology"]].held_out for s in seen)


def test_lines_of_held_out_faults_never_occur_in_training() -> None:
    held_out = [
        wording for name in HELD_OUT for strike in CATALOGUE[name].strikes for wording in strike.wordings
    ]
    patterns = [re.compile(re.sub(r"\\{\w+\\}", r"\\S+", re.escape(wording))) for wording in held_out]
    assert all(
        pattern.fullmatch(re.sub(r"\{\w+\}", "7", wording))
        for pattern, wording in zip(patterns, held_out, strict=True)
    )
    messages = {row["message"] for scenario in scenarios("train", 48, 3) for row in scenario["logs"]}
    assert not [text for text in messages for pattern in patterns if pattern.fullmatch(text)]


@given(seeds=st.lists(st.tuples(st.integers(0, 999), st.integers(0, 9999)), max_size=20))
def test_splits_never_share_a_seed(seeds: list[tuple[int, int]]) -> None:
    drawn = [{scenario_seed(split, seed, position) for seed, position in seeds} for split in PREFIXES]
    assert len(set.union(*drawn)) == sum(map(len, drawn))


def test_a_schedule_follows_the_weights() -> None:
    even = Counter(schedule(48, False, EVEN, random.Random(1)))
    assert set(even.values()) == {3}
    bent = Counter(schedule(60, False, Mix(faults={"disk_full": 5.0, "dns_failure": 0.0}), random.Random(1)))
    assert bent["dns_failure"] == 0
    assert 14 <= bent["disk_full"] <= 17
