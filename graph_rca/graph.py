"""Step 5: one graph for an incident: services with what was measured about them, calls in both directions.

Features are numpy arrays, so nothing here needs torch; `as_data` makes the `torch_geometric` graph of it. No
feature knows a name: another order or other names of the services give the same numbers. Values are also
given as shares of the largest in the graph, because a cause stands out among its neighbours and not on a
scale of its own. Masks say which source knew a service at all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graph_rca import logs, metrics, traces
from graph_rca.path_grams import PATHS
from graph_rca.topology import Call, ServiceGraph, from_spans
from graph_rca.windows import Windows, windows_of
from project_types import Incident, InvestigatorError

Floats = NDArray[np.float32]
SHAPE = ("entry", "named_by_alert", "callers", "callees", "leaf", "services", "rare_entry")
MASKS = ("has_metrics", "has_logs", "has_traces")
_PLAIN = (
    *(("metrics", name) for name in metrics.FEATURES), *(("logs", name) for name in logs.FEATURES),
    *(("traces", name) for name in traces.FEATURES),
)  # fmt: skip
NODE_FEATURES: Sequence[tuple[str, str]] = (
    *_PLAIN, *((group, f"{name}.share") for group, name in _PLAIN), *(("shape", name) for name in (*SHAPE, *MASKS)),
)  # fmt: skip
"""(modality, name) of each column."""
EDGE_FEATURES: Sequence[tuple[str, str]] = (
    *(("traces", name) for name in traces.EDGE_FEATURES), *(("logs", name) for name in logs.EDGE_FEATURES),
    ("shape", "declared"), ("shape", "backwards"), ("shape", "is_call"),
)  # fmt: skip
_OTHER_ENTRY = 0.15
"""How much an entry counts that the alert does not name."""
MODALITIES = ("metrics", "logs", "traces")


class InsufficientEvidence(InvestigatorError):
    """Nothing that can be ranked; the text says what was missing."""


@dataclass(frozen=True)
class IncidentGraph:
    """An incident as arrays. E counts each call twice: once in each direction."""

    id: str
    services: tuple[str, ...]
    nodes: Floats
    """(services, NODE_FEATURES)"""
    edges: NDArray[np.int64]
    """(2, E): from, to."""
    edge_features: Floats
    """(E, EDGE_FEATURES)"""
    windows: Windows
    alert: float
    missing: tuple[str, ...] = ()
    """What was not there, in words."""
    new_lines: Sequence[logs.Line] = ()
    moved: Sequence[metrics.Moved] = ()
    spans: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """service → ids of spans at which bad paths end."""
    ways: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """service → services from it up to the users, as bad traces show them."""
    complaints: Mapping[str, float] = field(default_factory=dict)
    """service → weight of the bad traces that begin there."""
    templates: Mapping[int, Sequence[str]] = field(default_factory=dict)
    """place of a service → its first different new templates."""
    vectors: Mapping[str, Floats] = field(default_factory=dict)
    """encoder → (services, its width): paths always, sentences when asked for (`encoders.with_vectors`)."""

    @property
    def calls(self) -> list[tuple[int, int]]:
        """Return (caller, callee) of every edge that points along a call."""
        column = EDGE_FEATURES.index(("shape", "is_call"))
        along = self.edge_features[:, column] > 0
        return [(int(one), int(other)) for one, other in self.edges[:, along].T]


def build(
    incident: Incident, *, alert: float | None = None, topology: ServiceGraph | None = None
) -> IncidentGraph:
    """Return the graph of an incident.

    Args:
        alert: when it was noticed, seconds UTC; otherwise the time hint, or the first symptom.
        topology: calls known from elsewhere, such as a Prometheus.

    Raises:
        InsufficientEvidence: fewer than two services, or nothing with a clock.
    """
    windows = windows_of(incident)
    _check(incident, windows)
    services = incident.services
    declared = [(edge.caller, edge.callee) for edge in incident.topology]
    declared += [(call.caller, call.callee) for call in topology.calls] if topology else []
    known = [(call.caller, call.callee) for call in from_spans(incident.spans, declared).calls]
    entries = _entries(incident, known)
    moved = metrics.all_moved(incident.metrics, windows)
    best, times = metrics.strongest(moved), metrics.grid(windows)
    profile = metrics.symptom(best, entries, len(times))
    book = traces.read(incident, windows, entries)
    when = alert or _noticed(profile, book.density(times), times, windows)
    seen = book.view(when)
    wrote = logs.view(incident, windows, when, seen.bad_traces)
    with_metrics = {name for name, kind in best if kind in metrics.KINDS}
    measured = np.array([name in with_metrics for name in services])
    plain = np.concatenate(
        [metrics.features(best, services, profile, times, when), wrote.features, seen.features], axis=1
    )
    shape = np.column_stack([_shape(incident, known, entries), measured, wrote.has, seen.has])
    going = {
        call[:2]: _of_metrics(call) for call in (topology.calls if topology else ()) if call.per_s is not None
    }
    edges, edge_features = _edges(services, known, declared, going | dict(seen.edges), wrote.edges)
    return IncidentGraph(
        incident.id, services, np.concatenate([plain, _shares(plain), shape], axis=1).astype(np.float32), edges,
        edge_features, windows, when, _missing(incident, measured, wrote.has, seen.has, moved), wrote.new[:400], moved,
        seen.culprits, seen.ways, seen.complaints, logs.new_templates(wrote.new),
        {PATHS: seen.paths},
    )  # fmt: skip


def _noticed(
    profile: NDArray[np.float64], density: NDArray[np.float64], times: NDArray[np.float64], windows: Windows
) -> float:
    """Return when users began to suffer.

    People say when with minutes of error, so it is what metrics and bad traces show together, either
    alone, and the time hint last.
    """
    both = profile * density
    for found in (both, profile, density):
        if found.any():
            return metrics.onset_of(found, times)
    return windows.alert or (windows.split + windows.end) / 2


def _check(incident: Incident, windows: Windows) -> None:
    if len(incident.services) < 2:
        raise InsufficientEvidence(
            f"insufficient evidence: {len(incident.services)} service; ranking needs two or more"
        )
    if windows.end <= 0:
        raise InsufficientEvidence("insufficient evidence: no row, span or metric has a clock")


def _shares(plain: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return each value as a share of the largest in the graph, by size."""
    largest = np.abs(plain).max(axis=0, keepdims=True)
    return np.asarray(plain / np.maximum(largest, 1e-6))


def _entries(incident: Incident, calls: Sequence[tuple[str, str]]) -> dict[str, float]:
    """Return services that nobody calls, the ones that the alert's text names weighted up."""
    called = {callee for _, callee in calls}
    named = logs.names_of(incident.services).named(incident.description)
    calling = {caller for caller, _ in calls}
    # who neither calls nor is called is idle or unseen, and no user is behind it
    entries = [name for name in incident.services if name in calling - called] or list(incident.services)
    weights = dict.fromkeys(entries, _OTHER_ENTRY if named else 1.0)
    for number in named:
        weights[incident.services[number]] = 1.0
    return weights


def _shape(
    incident: Incident, calls: Sequence[tuple[str, str]], entries: Mapping[str, float]
) -> NDArray[np.float64]:
    rows = []
    size = np.log(len(incident.services)) / 4
    named = {name for name, weight in entries.items() if weight == 1.0 and min(entries.values()) < 1.0}
    callers_of, callees_of = Counter(callee for _, callee in calls), Counter(caller for caller, _ in calls)
    for name in incident.services:
        callers, callees = callers_of[name], callees_of[name]
        rows.append([
            not callers, name in named, np.log1p(callers) / 2, np.log1p(callees) / 2, not callees, size,
            not callers and name not in named,
        ])  # fmt: skip
    return np.array(rows, np.float64)


def _edges(
    services: Sequence[str],
    known: Sequence[tuple[str, str]],
    declared: Sequence[tuple[str, str]],
    spans: Mapping[traces.Edge, NDArray[np.float64]],
    named: Mapping[tuple[int, int], NDArray[np.float64]],
) -> tuple[NDArray[np.int64], Floats]:
    place = {name: number for number, name in enumerate(services)}
    pairs = {(place[one], place[other]) for one, other in known if one in place and other in place}
    pairs |= {(place[one], place[other]) for one, other in spans if one in place and other in place}
    calls, stated = set(pairs), {(place[a], place[b]) for a, b in declared if a in place and b in place}
    every = sorted(pairs | set(named))
    rows = []
    for pair in every:
        ends = services[pair[0]], services[pair[1]]
        seen = spans.get(ends, np.zeros(len(traces.EDGE_FEATURES)))
        wrote = named.get(pair, np.zeros(len(logs.EDGE_FEATURES)))
        rows.append([*seen, *wrote, pair in stated, 0.0, pair in calls])
    return _both_ways(every, np.array(rows, np.float32).reshape(len(every), len(EDGE_FEATURES)))


def _of_metrics(call: Call) -> NDArray[np.float64]:
    """Return what metrics say about a call in the columns of spans, for a window without spans of it."""
    rate, failed, before = call.per_s or 0.0, call.error_share or 0.0, call.before
    found = dict.fromkeys(traces.EDGE_FEATURES, 0.0)
    # spans are few, being drawn; the calls of a minute are of their order
    found |= {"calls": np.log1p(60 * rate) / 3, "failed": failed}
    if before:
        found["failed_more"] = failed - before.error_share
        if call.latency_ms is not None and before.latency_ms is not None:
            found["slower"] = traces.ratio(call.latency_ms, before.latency_ms) / 3
    return np.array(list(found.values()))


def _both_ways(pairs: Sequence[tuple[int, int]], rows: Floats) -> tuple[NDArray[np.int64], Floats]:
    there = np.array(pairs, np.int64).reshape(-1, 2).T
    back = rows.copy()
    back[:, EDGE_FEATURES.index(("shape", "backwards"))] = 1.0
    back[:, EDGE_FEATURES.index(("shape", "is_call"))] = 0.0
    return np.concatenate([there, there[::-1]], axis=1), np.concatenate([rows, back])


def _missing(incident: Incident, *known: Any) -> tuple[str, ...]:
    """Say what was not there."""
    *masks, moved = known
    told = []
    for name, mask, rows in zip(
        MODALITIES, masks, (incident.metrics, incident.logs, incident.spans), strict=True
    ):
        lacking = [service for service, has in zip(incident.services, mask, strict=True) if not has]
        if not rows:
            told.append(f"no {name}")
        elif lacking:
            told.append(f"no {name} of {', '.join(lacking[:6])}{' and others' if len(lacking) > 6 else ''}")
    if incident.metrics and not moved:
        told.append("no metric of a known kind with values before and after")
    return tuple(told)


def as_data(graph: IncidentGraph, truth: str | None = None) -> Any:
    """Return the `torch_geometric.data.Data` of a graph; `y` is the place of the
    true service, -1 without one.
    """
    import torch
    from torch_geometric.data import Data

    return Data(
        x=torch.from_numpy(graph.nodes),
        edge_index=torch.from_numpy(graph.edges),
        edge_attr=torch.from_numpy(graph.edge_features),
        y=torch.tensor(graph.services.index(truth) if truth in graph.services else -1),
    )
