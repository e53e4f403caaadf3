"""What ranks without learning: loudest, most named, n-sigma, BARO, and a random walk. Each gives a score a service.

n-sigma and BARO follow L. Pham et al., "BARO: Robust Root Cause Analysis for Microservices via Multivariate Bayesian
Online Change Point Detection" (FSE 2024), without its change point detection: the healthy stretch is known here. As
published, both take the largest rise; two-sided, a fall counts too, so a service that stops is seen. The walk restarts
at services in proportion to how far their metrics moved, and goes along calls in both directions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from graph_rca.graph import NODE_FEATURES, IncidentGraph
from graph_rca.metrics import read_series
from project_types import Incident

Floats = NDArray[np.float64]
_RESTART = 0.25
_ROUNDS = 60
_BACK = 0.3
"""How much of a step goes against the direction of calls."""


class Case(NamedTuple):
    """What a baseline may look at."""

    incident: Incident
    graph: IncidentGraph


def column(graph: IncidentGraph, group: str, name: str) -> Floats:
    """Return one feature of all services."""
    return graph.nodes[:, NODE_FEATURES.index((group, name))].astype(np.float64)


def loudest(case: Case) -> Floats:
    """Score by the number of ERROR lines in the suspicious stretch."""
    return column(case.graph, "logs", "errors")


def most_named(case: Case) -> Floats:
    """Score by how often others name the service in WARN lines and worse."""
    return column(case.graph, "logs", "named_by_others")


def failing_end(case: Case) -> Floats:
    """Score by how many failing or slow paths end at the service."""
    return column(case.graph, "traces", "ends_failing") + column(case.graph, "traces", "ends_slow")


def _changes(case: Case, *, robust: bool, falls: bool) -> Floats:
    place = {name: number for number, name in enumerate(case.graph.services)}
    found = np.zeros(len(place))
    for series in case.incident.metrics:
        if series.service in place:
            score = _change(series, case.graph.windows.split, robust, falls)
            found[place[series.service]] = max(found[place[series.service]], score)
    return found


def _change(series: object, split: float, robust: bool, falls: bool) -> float:
    times, values = read_series(series)  # type: ignore[arg-type]
    times, values = times[np.isfinite(values)], values[np.isfinite(values)]
    healthy, now = values[times < split], values[times >= split]
    if len(healthy) < 2 or not len(now):
        return 0.0
    centre = float(np.median(healthy)) if robust else float(healthy.mean())
    low, high = np.quantile(healthy, (0.25, 0.75))
    spread = float(high - low) if robust else float(healthy.std())
    moved = (now - centre) / (spread or 1.0)  # scikit-learn's scalers divide by 1 where nothing varies
    return float(np.abs(moved).max() if falls else moved.max())


def nsigma(case: Case) -> Floats:
    """Score by the largest rise, in standard deviations."""
    return _changes(case, robust=False, falls=False)


def baro(case: Case) -> Floats:
    """Score by the largest rise, in interquartile ranges from the median."""
    return _changes(case, robust=True, falls=False)


def nsigma_two_sided(case: Case) -> Floats:
    """Score by the largest change, in standard deviations."""
    return _changes(case, robust=False, falls=True)


def baro_two_sided(case: Case) -> Floats:
    """Score by the largest change, in interquartile ranges from the median."""
    return _changes(case, robust=True, falls=True)


def random_walk(case: Case) -> Floats:
    """Score by a random walk with restart over calls (H. Tong et al., ICDM 2006, is the walk's source)."""
    restart = np.abs(
        case.graph.nodes[:, [NODE_FEATURES.index(("metrics", f"{kind}.at_alert")) for kind in _WALKED]]
    ).max(1)
    restart = restart.astype(np.float64) + 1e-3
    size = len(restart)
    steps = np.full((size, size), 1e-6)
    for caller, callee in case.graph.calls:
        steps[caller, callee] += restart[callee]
        steps[callee, caller] += _BACK * restart[caller]
    np.fill_diagonal(steps, restart)
    steps /= steps.sum(1, keepdims=True)
    restart = restart / restart.sum()
    at = restart
    for _ in range(_ROUNDS):
        at = (1 - _RESTART) * at @ steps + _RESTART * restart
    return np.asarray(at)


_WALKED = ("errors", "latency", "latency_high", "cpu", "memory", "connections", "queue")

BASELINES: Mapping[str, Callable[[Case], Floats]] = {
    "loudest service": loudest,
    "most named service": most_named,
    "end of failing paths": failing_end,
    "n-sigma": nsigma,
    "n-sigma, two-sided": nsigma_two_sided,
    "BARO": baro,
    "BARO, two-sided": baro_two_sided,
    "random walk with restart": random_walk,
}
