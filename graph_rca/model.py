"""Step 6: three networks that score services: graph attention, own features only, and
own with neighbours' means.

All take any number of services in any order and learn no name: another order gives the same scores in that
order. The graph network is GATv2 with edge features (S. Brody et al., "How Attentive are Graph Attention
Networks?", ICLR 2022; the layer is torch_geometric's). The other two exist because a graph network that does
not beat them has no case. Scores are logits: a softmax over the services of one incident makes them
probabilities.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn

from graph_rca.graph import EDGE_FEATURES, MASKS, MODALITIES, NODE_FEATURES

Kind = Literal["gat", "neighbours", "own"]
KINDS: tuple[Kind, ...] = get_args(Kind)
MOST_DEVIATIONS = 3.0
"""Standard deviations of the training set at which an input is cut off."""
_BACKWARDS = EDGE_FEATURES.index(("shape", "backwards"))


class Settings(NamedTuple):
    """The shape of a network."""

    kind: Kind = "gat"
    hidden: int = 64
    layers: int = 2
    heads: int = 4
    dropout: float = 0.25
    attention: bool = True
    """False: every neighbour counts the same (an ablation)."""
    edges: bool = True
    """False: no edge features (an ablation)."""
    vectors: int = 0
    """Numbers of sentence vectors that are appended; 0 for none."""
    without: str = ""
    """A modality that the network never sees (an ablation); empty for none."""
    encoder: str = ""
    """What made the sentence vectors; empty for none."""


class Batch(NamedTuple):
    """Several incidents as one graph of separate parts."""

    nodes: Tensor
    """(N, features)"""
    edges: Tensor
    """(2, E)"""
    edge_features: Tensor
    """(E, features)"""
    graph_of: Tensor
    """(N): which incident a service belongs to."""
    truths: Tensor
    """(graphs): place of the true service in `nodes`."""


class Ranker(nn.Module):
    """Gives every service a score; what is measured is put on one scale first."""

    mean: Tensor
    scale: Tensor
    edge_mean: Tensor
    edge_scale: Tensor

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        width = len(NODE_FEATURES) + settings.vectors
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))
        self.register_buffer("edge_mean", torch.zeros(len(EDGE_FEATURES)))
        self.register_buffer("edge_scale", torch.ones(len(EDGE_FEATURES)))
        hidden = settings.hidden
        first = width if settings.kind != "neighbours" else 2 * width + 2 * len(EDGE_FEATURES)
        self.enter = nn.Sequential(nn.Linear(first, hidden), nn.GELU(), nn.Dropout(settings.dropout))
        self.middle = nn.ModuleList(self._layer() for _ in range(settings.layers))
        self.norms = nn.ModuleList(nn.LayerNorm(hidden) for _ in range(settings.layers))
        self.drop = nn.Dropout(settings.dropout)
        self.leave = nn.Sequential(nn.Linear(hidden * 2, hidden), nn.GELU(), nn.Linear(hidden, 1))

    def _layer(self) -> nn.Module:
        settings = self.settings
        if settings.kind != "gat":
            return nn.Sequential(nn.Linear(settings.hidden, settings.hidden), nn.GELU())
        if not settings.attention:
            return _MeanOfNeighbours(settings.hidden)
        from torch_geometric.nn import GATv2Conv

        layer: nn.Module = GATv2Conv(
            settings.hidden, settings.hidden // settings.heads, settings.heads,
            edge_dim=len(EDGE_FEATURES) if settings.edges else None, add_self_loops=False, residual=True,
        )  # fmt: skip
        return layer

    def forward(self, batch: Batch, attentions: list[Any] | None = None) -> Tensor:
        """Return one logit for each service: (N,). `attentions` collects (edges, weights) of each layer."""
        if self.settings.without:
            seen, known = without(batch.nodes, batch.edge_features, self.settings.without)
            batch = batch._replace(nodes=seen, edge_features=known)
        # what is further out than anything in training must not be extrapolated
        nodes = ((batch.nodes - self.mean) / self.scale).clamp(-MOST_DEVIATIONS, MOST_DEVIATIONS)
        features = (batch.edge_features - self.edge_mean) / self.edge_scale
        features = features.clamp(-MOST_DEVIATIONS, MOST_DEVIATIONS)
        if self.settings.kind == "neighbours":
            nodes = torch.cat([nodes, *_around(nodes, batch.edges, features)], dim=1)
        first = hidden = self.enter(nodes)
        for layer, norm in zip(self.middle, self.norms, strict=True):
            found = self._pass(layer, hidden, batch.edges, features, attentions)
            hidden = norm(hidden + self.drop(nn.functional.gelu(found)))
        scores: Tensor = self.leave(torch.cat([first, hidden], dim=1)).squeeze(1)
        return scores

    def _pass(
        self, layer: nn.Module, hidden: Tensor, edges: Tensor, features: Tensor, attentions: list[Any] | None
    ) -> Tensor:
        if self.settings.kind != "gat":
            found: Tensor = layer(hidden)
            return found
        if not self.settings.attention:
            return layer(hidden, edges)  # type: ignore[no-any-return]
        known = features if self.settings.edges else None
        if attentions is None:
            return layer(hidden, edges, known)  # type: ignore[no-any-return]
        found, weights = layer(hidden, edges, known, return_attention_weights=True)
        attentions.append((weights[0], weights[1].mean(dim=1)))
        return found


class _MeanOfNeighbours(nn.Module):
    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.own, self.other = nn.Linear(hidden, hidden), nn.Linear(hidden, hidden)

    def forward(self, hidden: Tensor, edges: Tensor) -> Tensor:
        found: Tensor = self.own(hidden) + self.other(mean_over(hidden[edges[0]], edges[1], len(hidden)))
        return found


def mean_over(values: Tensor, places: Tensor, count: int) -> Tensor:
    """Return the mean of the rows that belong to each place, zeros where there are none: (count, columns)."""
    total = values.new_zeros(count, values.shape[1]).index_add_(0, places, values)
    times = values.new_zeros(count).index_add_(0, places, values.new_ones(len(places)))
    return total / times.clamp(min=1).unsqueeze(1)


def _around(nodes: Tensor, edges: Tensor, features: Tensor) -> Sequence[Tensor]:
    """Return the means of neighbours, of calls made and of calls received."""
    count, back = len(nodes), features[:, _BACKWARDS] > 0  # half of all edges: 1 and -1 on one scale
    received, made = edges[:, ~back], edges[:, back]
    return (
        mean_over(nodes[edges[0]], edges[1], count),
        mean_over(features[~back], received[1], count),
        mean_over(features[back], made[1], count),
    )


def log_softmax(scores: Tensor, graph_of: Tensor, graphs: int) -> Tensor:
    """Return the logarithms of the softmax within each graph: (N,)."""
    most = scores.new_full((graphs,), -torch.inf).scatter_reduce(0, graph_of, scores, "amax")
    shifted = scores - most[graph_of].detach()
    total = scores.new_zeros(graphs).index_add_(0, graph_of, shifted.exp())
    return shifted - total.log()[graph_of]


def without(
    nodes: Tensor, edge_features: Tensor, modality: str, rows: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return copies in which nothing was measured of a modality, for all services or for the given ones."""
    columns, edge_columns = columns_of(modality)
    nodes, edge_features = nodes.clone(), edge_features.clone()
    places = torch.arange(len(nodes)) if rows is None else rows
    nodes[places.unsqueeze(1), torch.tensor(columns)] = 0.0
    if rows is None and edge_columns:
        edge_features[:, edge_columns] = 0.0
    return nodes, edge_features


def columns_of(modality: str) -> tuple[list[int], list[int]]:
    """Return the columns of a modality, its mask included, and its columns of edges."""
    nodes = [number for number, (group, _) in enumerate(NODE_FEATURES) if group == modality]
    if modality in MODALITIES:
        nodes.append(NODE_FEATURES.index(("shape", MASKS[MODALITIES.index(modality)])))
    return nodes, [number for number, (group, _) in enumerate(EDGE_FEATURES) if group == modality]
