"""Step 10: why a service is ranked first: take one thing away, rank again, say how far the probability falls.

Occlusion is the explanation: one modality of one service, or one call, is taken out of the graph. The drop is
exact for the network, and whether it also holds for the data is measured by taking the data itself away
(`faithfulness`). Attention weights stand beside it and are not sold as reasons. Each reason cites the lines,
series and spans it rests on.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from graph_rca.batches import batch_of
from graph_rca.graph import EDGE_FEATURES, MODALITIES, NODE_FEATURES, IncidentGraph
from graph_rca.metrics import HIGH
from graph_rca.model import Batch, without
from graph_rca.rank import Ranked
from graph_rca.weights import Ensemble
from project_types import Evidence

Floats = NDArray[np.float64]
MOST_CITED = 3
LEAST_DROP = 0.005
MOST_CALLS = 40
"""Calls of a service that are taken away one by one."""


class Reason(NamedTuple):
    """One thing that makes a service likely."""

    what: str
    """metrics, logs, traces, or 'call A -> B'."""
    drop: float
    """How far the service's probability falls without it, 0 to 1."""
    text: str
    evidence: tuple[Evidence, ...]
    attention: float | None = None
    """Mean attention on a call; None for what is no call, and without a graph network."""


def reasons(found: Ranked, place: int, most: int = 4) -> list[Reason]:
    """Return why a service is where it is, the strongest reason first."""
    graph = found.graph
    calls = calls_of(graph, place)
    after = without_each(found.ensemble, graph, place, calls)
    before = float(found.probabilities[place])
    attention = attention_of(found.ensemble, graph)
    told = [
        _of_modality(graph, place, modality, before - after[number])
        for number, modality in enumerate(MODALITIES)
    ]
    for number, call in enumerate(calls):
        told.append(_of_call(graph, call, before - after[len(MODALITIES) + number], attention))
    kept = [one for one in told if one.drop >= LEAST_DROP and one.text]
    return sorted(kept, key=lambda one: -one.drop)[:most]


def calls_of(graph: IncidentGraph, place: int) -> list[tuple[int, int]]:
    edges = {(int(one), int(other)) for one, other in graph.edges.T if place in (one, other)}
    forward = sorted(edge for edge in edges if _row(graph, edge) is not None)
    return forward[:MOST_CALLS]


def _row(graph: IncidentGraph, edge: tuple[int, int]) -> int | None:
    """Return the row of a call in its own direction."""
    back = EDGE_FEATURES.index(("shape", "backwards"))
    same = (graph.edges[0] == edge[0]) & (graph.edges[1] == edge[1]) & (graph.edge_features[:, back] == 0)
    return int(np.argmax(same)) if same.any() else None


def without_each(
    ensemble: Ensemble, graph: IncidentGraph, place: int, calls: Sequence[tuple[int, int]]
) -> list[float]:
    """Return the service's probability with each thing taken away: the modalities, then the calls."""
    probabilities = ensemble.of_batches(
        lambda projection: _all_without(batch_of([graph], projection=projection), place, calls)
    )
    size = len(graph.services)
    return [float(probabilities[number * size + place]) for number in range(len(MODALITIES) + len(calls))]


def _all_without(batch: Batch, place: int, calls: Sequence[tuple[int, int]]) -> Batch:
    """Return one batch of copies, each without one thing."""
    row = torch.tensor([place])
    copies = [(without(batch.nodes, batch.edge_features, one, row)[0], batch.edges, batch.edge_features)
              for one in MODALITIES]  # fmt: skip
    for caller, callee in calls:
        mine = (batch.edges[0] == caller) & (batch.edges[1] == callee)
        mine |= (batch.edges[0] == callee) & (batch.edges[1] == caller)
        copies.append((batch.nodes, batch.edges[:, ~mine], batch.edge_features[~mine]))
    size = len(batch.nodes)
    return Batch(
        torch.cat([nodes for nodes, _, _ in copies]),
        torch.cat([edges + number * size for number, (_, edges, _) in enumerate(copies)], dim=1),
        torch.cat([features for *_, features in copies]),
        torch.arange(len(copies)).repeat_interleave(size), batch.truths,
    )  # fmt: skip


@torch.no_grad()
def attention_of(ensemble: Ensemble, graph: IncidentGraph) -> dict[tuple[int, int], float]:
    """Return the mean attention that each directed edge gets; empty without a graph network."""
    found: dict[tuple[int, int], list[float]] = {}
    for member in ensemble.members:
        if member.model.settings.kind != "gat" or not member.model.settings.attention:
            continue
        attentions: list[tuple[torch.Tensor, torch.Tensor]] = []
        member.model(batch_of([graph], projection=member.projection), attentions)
        for edges, weights in attentions:
            for (one, other), weight in zip(edges.T.tolist(), weights.tolist(), strict=True):
                found.setdefault((one, other), []).append(weight)
    return {edge: float(np.mean(weights)) for edge, weights in found.items()}


# ------------------------------------------------------------------------------------------------- in words


def _of_modality(graph: IncidentGraph, place: int, modality: str, drop: float) -> Reason:
    describe = {"metrics": _metrics, "logs": _logs, "traces": _traces}[modality]
    text, evidence = describe(graph, place)
    return Reason(modality, drop, text, evidence)


def clock(at: float) -> str:
    """Return a moment as HH:MM:SS, UTC."""
    return f"{datetime.fromtimestamp(at, UTC):%H:%M:%S}"


def _metrics(graph: IncidentGraph, place: int) -> tuple[str, tuple[Evidence, ...]]:
    mine = [one for one in graph.moved if one.service == graph.services[place] and abs(one.score) >= HIGH]
    mine.sort(key=lambda one: -abs(one.score))
    told = []
    for one in mine[:MOST_CITED]:
        way = "rose" if one.extreme > one.usual else "fell"
        since = f" from {clock(one.onset)} on" if one.onset else ""
        told.append(f"{one.name} {way} from {one.usual:.4g} to {one.extreme:.4g}{since}")
    evidence = tuple(Evidence(kind="metric", id=f"{one.service}/{one.name}") for one in mine[:MOST_CITED])
    return "; ".join(told) or "its metrics stayed calm", evidence


def _logs(graph: IncidentGraph, place: int) -> tuple[str, tuple[Evidence, ...]]:
    mine = [line for line in graph.new_lines if line.service == place]
    if not mine:
        return "it wrote nothing new", ()
    loud = sum(line.loud for line in mine)
    first = min(mine[:MOST_CITED], key=lambda line: line.at)
    text = f"{len(mine)} lines of new kinds, {loud} of them warnings or worse, e.g. at {clock(first.at)}: {first.template[:110]}"
    return text, tuple(Evidence(kind="log", id=line.id) for line in mine[:MOST_CITED])


def _traces(graph: IncidentGraph, place: int) -> tuple[str, tuple[Evidence, ...]]:
    value = dict(zip(NODE_FEATURES, graph.nodes[place].tolist(), strict=True))
    told = []
    ends = value["traces", "ends_failing"] + value["traces", "ends_slow"]
    if ends > 0:
        told.append(f"{100 * min(1.0, ends):.0f} % of bad traces end here")
    if value["traces", "failed_more"] > 0.02:
        told.append(f"{100 * value['traces', 'failed']:.0f} % of its spans fail")
    longer = np.exp(3 * value["traces", "own_slower"])
    if longer > 1.3:
        told.append(f"its own time is {longer:.1f} times as long as before")
    if value["traces", "vanished"]:
        told.append("its spans vanished")
    spans = graph.spans.get(graph.services[place], ())
    evidence = tuple(Evidence(kind="span", id=one) for one in list(dict.fromkeys(spans))[:MOST_CITED])
    return "; ".join(told) or "its traces look as before", evidence


def _of_call(
    graph: IncidentGraph, call: tuple[int, int], drop: float, attention: dict[tuple[int, int], float]
) -> Reason:
    caller, callee = (graph.services[one] for one in call)
    row = _row(graph, call)
    value = dict(zip(EDGE_FEATURES, graph.edge_features[row or 0].tolist(), strict=True))
    told = []
    if value["traces", "failed"] > 0.02:
        told.append(f"{100 * value['traces', 'failed']:.0f} % of these calls fail")
    if value["traces", "missing"] > 0:
        told.append("calls are missing under failed spans")
    longer = np.exp(3 * value["traces", "slower"])
    if longer > 1.3:
        told.append(f"they take {longer:.1f} times as long")
    if value["logs", "named_loudly"] > value["logs", "named_before"]:
        told.append(f"{caller} warns about {callee}")
    weight = attention.get(call)
    return Reason(f"call {caller} -> {callee}", drop, "; ".join(told) or "who calls whom", (), weight)
