"""Rank the services of one incident: who is how likely the cause, how it travels to the users, and what was missing.

`ranked` is what every door uses: the command, the watcher, the agent's tools and the report. It says what no source
measured. Where nothing at all stands out, or nothing can be ranked, the answer is "insufficient evidence", never
some order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from graph_rca.graph import MODALITIES, NODE_FEATURES, IncidentGraph, InsufficientEvidence, build
from graph_rca.topology import ServiceGraph
from graph_rca.weights import Ensemble, shipped
from project_types import Incident

Floats = NDArray[np.float64]


class Ranked(NamedTuple):
    """A ranking of all services of an incident."""

    graph: IncidentGraph
    probabilities: Floats
    """(services), in the order of the incident."""
    ensemble: Ensemble

    @property
    def order(self) -> list[int]:
        """Return the places of all services, the likeliest first; equal ones by name."""
        names = self.graph.services
        return sorted(range(len(names)), key=lambda place: (-self.probabilities[place], names[place]))

    @property
    def services(self) -> list[str]:
        """Return the services, the likeliest first."""
        return [self.graph.services[place] for place in self.order]

    def path(self) -> list[str]:
        """Return how the trouble travels, from the likeliest cause to the users."""
        return [self.graph.services[place] for place in path_of(self.graph, self.order[0])]


def ranked(
    incident: Incident,
    ensemble: Ensemble | None = None,
    *,
    alert: float | None = None,
    topology: ServiceGraph | None = None,
) -> Ranked:
    """Rank the services of an incident.

    Raises:
        InsufficientEvidence: there are fewer than two services, no clocks, or nothing that differs from before.
        ConfigurationError: the weights are missing or damaged.
    """
    chosen = ensemble or shipped()
    vectors = any(member.model.settings.vectors for member in chosen.members)
    graph = build(incident, alert=alert, vectors=vectors, topology=topology)
    check_evidence(graph)
    return Ranked(graph, chosen.probabilities(graph), chosen)


def check_evidence(graph: IncidentGraph) -> None:
    """Raise InsufficientEvidence when no source shows anything that differs from the healthy stretch."""
    told = [
        number
        for number, (group, name) in enumerate(NODE_FEATURES)
        if group in MODALITIES and ".share" not in name
    ]
    if not np.abs(graph.nodes[:, told]).max(initial=0.0) > 0:
        raise InsufficientEvidence(
            f"insufficient evidence: nothing differs from before ({'; '.join(graph.missing) or 'all sources were there'})"
        )


def path_of(graph: IncidentGraph, cause: int) -> list[int]:
    """Return the shortest way against the direction of calls from a cause to the entry that suffers most.

    Suffering is what metrics and traces show of an entry at the alert. An entry that the alert names comes first.
    """
    callers: dict[int, list[int]] = {}
    for caller, callee in graph.calls:
        callers.setdefault(callee, []).append(caller)
    reached = _reached(cause, callers)
    ends = [place for place in reached if not callers.get(place)] or list(reached)
    worth = _suffering(graph)
    end = max(ends, key=lambda place: (worth[place], -place))
    path = [end]
    while path[-1] != cause:
        path.append(reached[path[-1]])
    return path[::-1]


def _reached(start: int, callers: Mapping[int, Sequence[int]]) -> dict[int, int]:
    """Return every service that a cause can reach, with the one before it."""
    found, waiting = {start: start}, deque([start])
    while waiting:
        here = waiting.popleft()
        for caller in sorted(callers.get(here, ())):
            if caller not in found:
                found[caller] = here
                waiting.append(caller)
    return found


def _suffering(graph: IncidentGraph) -> Floats:
    def value(group: str, name: str) -> Floats:
        return graph.nodes[:, NODE_FEATURES.index((group, name))].astype(np.float64)

    return (
        10 * value("shape", "named_by_alert") + value("metrics", "errors.at_alert")
        + value("metrics", "latency_high.at_alert") + value("traces", "suspicious_alert")
    )  # fmt: skip
