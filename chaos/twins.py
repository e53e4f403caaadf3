"""Are the twins of a split twins? The suspicious rows of both are the same, and only the truth has moved.

A row is suspicious here when it proves the cause of either twin. It must stand in both with the same words,
level and moment, at the same service, and prove the cause of one of them only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from project_types import Scenario

Shape = tuple[datetime | None, str, str, str]
"""(moment, service, level, message) of a row."""


def twin_problems(scenarios: Sequence[Scenario]) -> Iterator[str]:
    """What is wrong between twins, a sentence each."""
    known = {scenario.id: scenario for scenario in scenarios}
    for scenario in scenarios:
        name = scenario.provenance.twin
        if name is None:
            continue
        twin = known.get(name)
        if twin is None or twin.provenance.twin != scenario.id:
            yield f"{scenario.id} names the twin {name}, which is not there or names another"
        elif scenario.id < name:
            yield from (
                f"{scenario.id} and its twin {name}: {problem}" for problem in _between(scenario, twin)
            )


def _between(one: Scenario, two: Scenario) -> Iterator[str]:
    if set(one.services) != set(two.services) or set(one.topology) != set(two.topology):
        yield "they are different systems"
    if one.ground_truth.service == two.ground_truth.service:
        yield "both have the same culprit"
    for mine, other in ((one, two), (two, one)):
        if lost := decisive(mine) - shapes(other):
            yield f"{len(lost)} decisive rows of {mine.id} are not in the other"
    if decisive(one) & decisive(two):
        yield "a row is decisive in both"


def shapes(scenario: Scenario) -> set[Shape]:
    """The rows of a scenario, apart from their ids."""
    return {(row.timestamp, row.service, row.level, row.message) for row in scenario.logs}


def decisive(scenario: Scenario) -> set[Shape]:
    """The rows that prove its cause."""
    evidence = set(scenario.ground_truth.evidence_log_ids)
    return {
        (row.timestamp, row.service, row.level, row.message) for row in scenario.logs if row.id in evidence
    }
