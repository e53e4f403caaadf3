"""Rank the services of one incident: who is how likely the cause, how it travels to the
users, and what was missing.

`ranked` is what every door uses: the command, the watcher, the agent's tools and the report. It says what no
source measured. Where nothing at all stands out, or nothing can be ranked, the answer is "insufficient
evidence", never some order.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from graph_rca.encoders import with_vectors
from graph_rca.graph import MODALITIES, NODE_FEATURES, IncidentGraph, InsufficientEvidence, build
from graph_rca.paths import path_of
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
    graph = build(incident, alert=alert, topology=topology)
    check_evidence(graph)
    graph = with_vectors(graph, chosen.encoders)
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
