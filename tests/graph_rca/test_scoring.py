"""AC@k counts ties by chance, twins count together, and a changed incident keeps its answer."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graph_rca.scoring import Row, chance, hits, summed
from graph_rca.slices import CHANGES, GENERATED, changed, generated
from project_types import Scenario
from tests.builders.generated import one


@settings(max_examples=20, deadline=None)
@given(services=st.integers(2, 60), truth=st.integers(0, 1))
def test_a_ranker_that_gives_one_score_to_all_has_exactly_chance(services: int, truth: int) -> None:
    assert hits(np.zeros(services), truth) == pytest.approx(chance(services))


def test_better_ones_come_first_and_ties_share() -> None:
    assert hits(np.array([0.5, 0.3, 0.3, 0.1]), 1) == (0.0, 0.5, 1.0, 1.0, 1.0)


def test_twins_are_right_when_both_are() -> None:
    rows = [Row((first,) * 5, None, 1.0) for first in (1.0, 1.0, 1.0, 0.0)]
    scores = summed(rows, [10] * 4, ["a/b", "a/b", "c/d", "c/d"])
    assert scores.twins.value == 0.5
    assert scores.first.value == 0.75
    assert scores.lift == pytest.approx(7.5)


@cache
def small() -> Scenario:
    return one(3, "disk_full")


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_incident_keeps_its_answer(name: str) -> None:
    before = small()
    after = changed(before, CHANGES[name])
    place = before.services.index(before.ground_truth.service)
    assert after.services.index(after.ground_truth.service) == place


@pytest.mark.slow
def test_generated_slices_hold_what_their_names_say() -> None:
    for name, kind in GENERATED.items():
        for scenario in generated(name, 2, 5):
            assert scenario.provenance.unseen == kind.new_system
            assert scenario.ground_truth.service in scenario.services
