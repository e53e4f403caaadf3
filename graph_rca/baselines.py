"""What ranks without learning: loudest, most named, n-sigma, BARO, and a random walk.
Each gives a score a service.

n-sigma and BARO follow L. Pham et al., "BARO: Robust Root Cause Analysis for Microservices via Multivariate
Bayesian Online Change Point Detection" (FSE 2024), without its change point detection: the healthy stretch is
known here. As published, both take the largest rise; two-sided, a fall counts too, so a service that stops is
seen. The walk restarts at services in proportion to how far their metrics moved, and goes along calls in both
directions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from graph_rca.graph import NODE_FEATURES, IncidentGraph
from graph_rca.metrics import by_clock
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
    for clock in by_clock(one for one in case.incident.metrics if one.service in place):
        healthy = clock.values[:, clock.times < case.graph.windows.split]
        now = clock.values[:, clock.times >= case.graph.windows.split]
        scores = _furthest(healthy, now, robust, falls)
        np.maximum.at(found, [place[one.service] for one in clock.series], scores)
    return found


def _furthest(healthy: Floats, now: Floats, robust: bool, falls: bool) -> Floats:
    """Return the largest change of each series: (series); 0 for what was not measured before and after."""
    known = (np.isfinite(healthy).sum(1) >= 2) & np.isfinite(now).any(1)
    scores = np.zeros(len(healthy))
    if known.any():
        healthy, now = healthy[known], now[known]
        quantiles = np.nanquantile if np.isnan(healthy).any() else np.quantile  # the first is far slower
        low, centre, high = quantiles(healthy, (0.25, 0.5, 0.75), axis=1)
        if not robust:
            centre, low, high = (
                np.nanmean(healthy, axis=1),
                np.zeros(len(healthy)),
                np.nanstd(healthy, axis=1),
            )
        spread = np.where(
            high - low > 0, high - low, 1.0
        )  # scikit-learn's scalers divide by 1 where nothing varies
        moved = (now - centre[:, None]) / spread[:, None]
        scores[known] = np.nanmax(np.abs(moved) if falls else moved, axis=1)
    return scores


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


class Baseline(NamedTuple):
    """A way to score, and whether it looks at the encoded graph, whose making then counts as its time."""

    score: Callable[[Case], Floats]
    needs_graph: bool = True


BASELINES: Mapping[str, Baseline] = {
    "loudest service": Baseline(loudest),
    "most named service": Baseline(most_named),
    "end of failing paths": Baseline(failing_end),
    "n-sigma": Baseline(nsigma, needs_graph=False),
    "n-sigma, two-sided": Baseline(nsigma_two_sided, needs_graph=False),
    "BARO": Baseline(baro, needs_graph=False),
    "BARO, two-sided": Baseline(baro_two_sided, needs_graph=False),
    "random walk with restart": Baseline(random_walk),
}
