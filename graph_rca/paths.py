"""How trouble travels from a cause to the users: the way that bad traces show, or the
shortest one along calls.

A way ends at the service where most bad traces begin, weighted by how well they fit the alert. A service that
calls it and that no bad trace begins at, such as a prober, is no user. Where no trace shows the cause, the
way is the shortest one against the direction of calls, and without traces it ends at the entry whose metrics
suffer most.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from graph_rca.graph import NODE_FEATURES, IncidentGraph

Floats = NDArray[np.float64]


def path_of(graph: IncidentGraph, cause: int) -> list[int]:
    """Return the places of the services from a cause to the users who suffer most."""
    place = {name: number for number, name in enumerate(graph.services)}
    shown = graph.ways.get(graph.services[cause], ())
    if shown and all(name in place for name in shown):
        return [place[name] for name in shown]
    callers: dict[int, list[int]] = {}
    for caller, callee in graph.calls:
        callers.setdefault(callee, []).append(caller)
    reached = _reached(cause, callers)
    path = [_end(graph, list(reached), callers)]
    while path[-1] != cause:
        path.append(reached[path[-1]])
    return path[::-1]


def _end(graph: IncidentGraph, reached: Sequence[int], callers: Mapping[int, Sequence[int]]) -> int:
    complaining = [one for one in reached if graph.complaints.get(graph.services[one])]
    if complaining:
        return max(complaining, key=lambda one: (graph.complaints[graph.services[one]], -one))
    ends = [one for one in reached if not callers.get(one)] or reached
    worth = _suffering(graph)
    return max(ends, key=lambda one: (worth[one], -one))


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
