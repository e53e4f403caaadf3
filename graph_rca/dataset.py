"""Encoded incidents on disk: one .npz file holds many graphs, with what is true about
them. It holds no pickles.

Feature columns are named in the file. A file of other columns is refused, so that weights never meet numbers
that mean something else. Sentence vectors are kept when they were asked for.
"""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from core.files import replace_file
from graph_rca.encoders import with_vectors
from graph_rca.graph import EDGE_FEATURES, NODE_FEATURES, IncidentGraph, build
from graph_rca.roughen import rough
from graph_rca.windows import Windows
from project_types import ConfigurationError, Scenario

_VECTORS = "vectors."
COLUMNS = [".".join(one) for one in (*NODE_FEATURES, *EDGE_FEATURES)]


class Labelled(NamedTuple):
    """A graph, and what is known about it."""

    graph: IncidentGraph
    truth: int
    """Place of the service where the fault began."""
    fault: str
    system: str
    unseen: bool
    path: tuple[int, ...]
    """Services from the cause to the complaint."""
    twin: str = ""

    @property
    def services(self) -> int:
        """Return how many services there are to choose from."""
        return len(self.graph.services)


def labelled(
    scenario: Scenario,
    *,
    encoders: Collection[str] = (),
    alert: float | None = None,
    roughness: int | None = None,
) -> Labelled | None:
    """Encode a scenario, made rougher by a seed if one is given; None when its answer is 'unknown'.

    `encoders` also make sentence vectors.

    Raises:
        InsufficientEvidence: it cannot be ranked.
    """
    truth = scenario.ground_truth
    if truth.insufficient:
        return None
    incident = scenario.incident
    if roughness is not None:
        incident = rough(incident, np.random.default_rng([roughness, zlib.crc32(scenario.id.encode())]))
    graph = with_vectors(build(incident, alert=alert), encoders)
    place = {name: number for number, name in enumerate(graph.services)}
    path = tuple(place[name] for name in truth.propagation_path if name in place)
    known = scenario.provenance
    return Labelled(
        graph, place[truth.service], truth.fault_type, known.topology or known.source or "", known.unseen, path,
        known.twin or "",
    )  # fmt: skip


def save(items: Sequence[Labelled], path: Path) -> None:
    """Write encoded incidents. Raises OSError."""
    graphs = [one.graph for one in items]
    facts = [
        {"id": one.graph.id, "services": one.graph.services, "truth": one.truth, "fault": one.fault,
         "system": one.system, "unseen": one.unseen, "path": one.path, "twin": one.twin,
         "windows": one.graph.windows, "alert": one.graph.alert, "missing": one.graph.missing}
        for one in items
    ]  # fmt: skip
    arrays: dict[str, Any] = {
        "nodes": np.concatenate([graph.nodes for graph in graphs]).astype(np.float16),
        "edges": np.concatenate([graph.edges for graph in graphs], axis=1).astype(np.int16),
        "edge_features": np.concatenate([graph.edge_features for graph in graphs]).astype(np.float16),
        "edge_counts": np.array([graph.edges.shape[1] for graph in graphs]),
        "facts": np.array(json.dumps(facts)),
        "columns": np.array(json.dumps(COLUMNS)),
    }
    for name in set.intersection(*(set(graph.vectors) for graph in graphs)):
        vectors = np.concatenate([graph.vectors[name] for graph in graphs])
        arrays[f"{_VECTORS}{name}"] = vectors.astype(np.float16)
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    replace_file(path, content.getvalue())


def load(path: Path) -> list[Labelled]:
    """Read encoded incidents. Raises ConfigurationError for a file that is damaged or of other features."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        facts, columns = json.loads(str(arrays["facts"])), json.loads(str(arrays["columns"]))
    except (OSError, ValueError, KeyError) as trouble:
        raise ConfigurationError(
            f"{path}: is no file of encoded incidents ({type(trouble).__name__}); make it: python -m graph_rca encode"
        ) from trouble
    if columns != COLUMNS:
        raise ConfigurationError(
            f"{path}: was encoded with other features; make it again: python -m graph_rca encode"
        )
    return list(_items(arrays, facts))


def _items(arrays: dict[str, Any], facts: Iterable[dict[str, Any]]) -> Iterator[Labelled]:
    node = edge = 0
    encoded = [name for name in arrays if name.startswith(_VECTORS)]
    for fact, count in zip(facts, arrays["edge_counts"].tolist(), strict=True):
        nodes = slice(node, node + len(fact["services"]))
        edges = slice(edge, edge + count)
        vectors = {name.removeprefix(_VECTORS): arrays[name][nodes].astype(np.float32) for name in encoded}
        graph = IncidentGraph(
            fact["id"], tuple(fact["services"]), arrays["nodes"][nodes].astype(np.float32),
            arrays["edges"][:, edges].astype(np.int64), arrays["edge_features"][edges].astype(np.float32),
            Windows(*fact["windows"]), fact["alert"], tuple(fact["missing"]), vectors=vectors,
        )  # fmt: skip
        yield Labelled(
            graph,
            fact["truth"],
            fact["fault"],
            fact["system"],
            fact["unseen"],
            tuple(fact["path"]),
            fact["twin"],
        )
        node, edge = nodes.stop, edges.stop
