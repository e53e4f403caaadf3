"""Encoded incidents as tensors: batches of separate graphs, and the random losses
that make training sturdy.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from graph_rca.dataset import Labelled
from graph_rca.graph import MODALITIES, Floats, IncidentGraph
from graph_rca.model import Batch, without
from project_types import ConfigurationError

LOSS_SHARE = 0.12
"""How often training loses a whole modality of an incident."""
SERVICE_LOSS_SHARE = 0.1
"""How often it loses a modality of some services."""


class Projection(NamedTuple):
    """What makes a few numbers of a sentence vector."""

    encoder: str
    basis: Tensor
    """(width of the encoder, numbers)"""


def batch_of(
    graphs: Sequence[IncidentGraph], truths: Sequence[int] = (), projection: Projection | None = None
) -> Batch:
    """Return incidents as one batch, with projected sentence vectors if a projection is given."""
    sizes = [len(graph.services) for graph in graphs]
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
    edges = [graph.edges + start for graph, start in zip(graphs, starts, strict=True)]
    nodes = torch.from_numpy(np.concatenate([graph.nodes for graph in graphs]))
    if projection is not None:
        vectors = np.concatenate([vectors_of(graph, projection.encoder) for graph in graphs])
        nodes = torch.cat([nodes, torch.from_numpy(vectors) @ projection.basis], dim=1)
    return Batch(
        nodes, torch.from_numpy(np.concatenate(edges, axis=1)),
        torch.from_numpy(np.concatenate([graph.edge_features for graph in graphs])),
        torch.repeat_interleave(torch.arange(len(graphs)), torch.tensor(sizes)),
        torch.tensor([start + truth for start, truth in zip(starts.tolist(), truths, strict=False)]),
    )  # fmt: skip


def vectors_of(graph: IncidentGraph, encoder: str) -> Floats:
    """Return the sentence vectors of a graph. Raises ConfigurationError when it was encoded without them."""
    if encoder not in graph.vectors:
        raise ConfigurationError(
            f"{graph.id} has no vectors of {encoder}; encode it again: python -m graph_rca encode --encoder {encoder}"
        )
    return graph.vectors[encoder]


def shuffled(
    items: Sequence[Labelled], size: int, rng: np.random.Generator, projection: Projection | None = None
) -> Iterator[Batch]:
    """Yield all incidents once, in a drawn order."""
    order = rng.permutation(len(items))
    for start in range(0, len(items), size):
        chosen = [items[place] for place in order[start : start + size]]
        yield batch_of([one.graph for one in chosen], [one.truth for one in chosen], projection)


def lossy(batch: Batch, rng: np.random.Generator) -> Batch:
    """Return a batch in which some incidents lost a modality, and some services one of theirs."""
    nodes, edges = batch.nodes, batch.edge_features
    graphs = int(batch.graph_of[-1]) + 1
    for modality in MODALITIES:
        lost = torch.from_numpy(rng.random(graphs) < LOSS_SHARE)
        rows = lost[batch.graph_of]
        rows |= torch.from_numpy(rng.random(len(nodes)) < SERVICE_LOSS_SHARE / 2)
        nodes, _ = without(nodes, edges, modality, rows.nonzero().squeeze(1))
        _, blank = without(nodes, edges, modality)
        edge_lost = lost[batch.graph_of[batch.edges[0]]].unsqueeze(1)
        edges = torch.where(edge_lost, blank, edges)
    return batch._replace(nodes=nodes, edge_features=edges)
