"""Words do not give the cause away: twins share their suspicious rows, and every
wording is harmless somewhere.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos.faults import catalogue
from chaos.splits import scenarios
from chaos.twins import decisive, shapes, twin_problems
from project_types import Scenario
from tests.builders.examples import examples
from tests.builders.generated import FAULTS, pair, read


@examples(6)
@given(seed=st.integers(0, 2**51), fault=st.sampled_from(FAULTS))
def test_twins_have_the_same_system_and_suspicious_rows_and_another_culprit(seed: int, fault: str) -> None:
    assert list(twin_problems(pair(seed, fault))) == []


def failing(scenario: Scenario) -> Counter[tuple[str, str]]:
    """How often each operation fails or takes long."""
    bad = [span for span in scenario.spans if span.failed or span.duration_ms > 900]
    return Counter((span.service, span.operation) for span in bad)


@examples(6)
@given(seed=st.integers(0, 2**51), fault=st.sampled_from(FAULTS))
def test_what_fails_differs_between_twins(seed: int, fault: str) -> None:
    first, second = map(failing, pair(seed, fault))
    assert first != second


def test_twins_are_found_out_when_they_are_none() -> None:
    first, second = pair(4, "disk_full")
    other, _ = pair(5, "dns_failure")
    alone = first.model_copy(update={"provenance": first.provenance.model_copy(update={"twin": "nobody"})})
    assert any("is not there" in problem for problem in twin_problems([alone]))
    fake = other.model_copy(
        update={"id": second.id, "provenance": second.provenance.model_copy(update={"twin": first.id})}
    )
    assert any("different systems" in problem for problem in twin_problems([first, fake]))
    row = next(
        row for row in second.logs if (row.timestamp, row.service, row.level, row.message) in decisive(first)
    )
    without = second.model_copy(update={"logs": tuple(one for one in second.logs if one is not row)})
    assert any("decisive rows" in problem for problem in twin_problems([first, without]))


@cache
def split() -> list[Scenario]:
    """Thirty pairs worded as test is."""
    return [read(scenario) for scenario in scenarios("test", 60, 11)]


@cache
def marks() -> dict[str, str]:
    """The longest fixed part of each test wording, which tells the rows that use it."""
    wordings = [text for fault in catalogue().values() for text in fault.wordings["test"]]
    return {max(re.split(r"\{\w+\}|[\"']", text), key=len): text for text in wordings}


def uses(scenario: Scenario) -> Iterator[tuple[str, bool]]:
    """(wording, it tells the cause) of each suspicious row."""
    evidence = set(scenario.ground_truth.evidence_log_ids)
    for row in scenario.logs:
        for mark, text in marks().items():
            if mark in row.message:
                yield text, row.id in evidence


@pytest.mark.slow
def test_every_wording_that_tells_a_cause_is_harmless_at_least_as_often() -> None:
    telling, harmless = Counter[str](), Counter[str]()
    for scenario in split():
        for text, decides in uses(scenario):
            (telling if decides else harmless)[text] += 1
    assert len(telling) >= 40
    assert [text for text, count in telling.items() if harmless[text] < count] == []


@pytest.mark.slow
@pytest.mark.parametrize("what", ["level", "count"])
def test_decisive_and_harmless_suspicious_rows_have_the_same_levels_and_counts(what: str) -> None:
    """A twin's decisive rows are harmless here, and the other way round, so the shares are equal."""
    mine, others = Counter[object](), Counter[object]()
    known = {scenario.id: scenario for scenario in split()}
    for scenario in known.values():
        twin = known[scenario.provenance.twin or ""]
        for rows, counts in ((decisive(scenario), mine), (decisive(twin) & shapes(scenario), others)):
            counts.update([len(rows)] if what == "count" else [level for _, _, level, _ in rows])
    assert mine == others
