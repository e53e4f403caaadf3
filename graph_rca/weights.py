"""Weights on disk: one safetensors file with any number of networks, and a card that says what they are.

The card holds the hash of the weights, the feature columns, the seeds and what was measured. Weights whose
hash or columns do not fit are refused: they would rank without an error and be wrong. Several networks rank
together by the mean of their probabilities.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load, save
from torch import Tensor

from core.files import replace_file, sha256_of
from graph_rca.batches import Projection, batch_of
from graph_rca.dataset import COLUMNS
from graph_rca.encoders import fingerprint
from graph_rca.graph import IncidentGraph
from graph_rca.model import Batch, Ranker, Settings, log_softmax
from project_types import ConfigurationError

SHIPPED = Path(__file__).parent / "shipped" / "ranker.safetensors"


class Member(NamedTuple):
    """One network, and what projects the sentence vectors that it reads."""

    model: Ranker
    projection: Projection | None = None


class Ensemble(NamedTuple):
    """Networks that rank together."""

    members: Sequence[Member]
    card: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Return what the networks are, such as 'gat+neighbours'."""
        return "+".join(dict.fromkeys(member.model.settings.kind for member in self.members))

    @property
    def megabytes(self) -> float:
        """Return the size of all weights."""
        tensors = [tensor for member in self.members for tensor in member.model.state_dict().values()]
        return float(sum(tensor.numel() * tensor.element_size() for tensor in tensors)) / 1e6

    def alone(self) -> dict[str, Ensemble]:
        """Return each network as a ranker of its own, by its kind."""
        return {member.model.settings.kind: Ensemble([member], self.card) for member in self.members}

    def probabilities(self, graph: IncidentGraph) -> NDArray[np.float64]:
        """Return each service's probability to be the cause: (services)."""
        return self.of_batches(lambda projection: batch_of([graph], projection=projection))

    @torch.no_grad()
    def of_batches(self, read: Callable[[Projection | None], Batch]) -> NDArray[np.float64]:
        """Return probabilities, given what reads an incident as a network wants it."""
        once = cache(lambda number: read(self.members[number].projection))
        # networks without sentence vectors read the same batch: that of the first of them
        first = next((n for n, one in enumerate(self.members) if one.projection is None), 0)
        found = [
            self._one(member, once(number if member.projection else first))
            for number, member in enumerate(self.members)
        ]
        return np.asarray(np.mean(found, axis=0))

    @property
    def encoders(self) -> set[str]:
        """Return what must make sentence vectors before an incident is ranked."""
        return {member.projection.encoder for member in self.members if member.projection}

    def _one(self, member: Member, batch: Batch) -> NDArray[np.float64]:
        graphs = int(batch.graph_of[-1]) + 1
        return np.asarray(log_softmax(member.model(batch), batch.graph_of, graphs).exp().double().numpy())


def save_ensemble(members: Sequence[Member], path: Path, facts: Mapping[str, Any]) -> None:
    """Write weights and their card. Raises OSError."""
    tensors: dict[str, Tensor] = {}
    for number, member in enumerate(members):
        tensors |= {
            f"{number}.{name}": value.contiguous() for name, value in member.model.state_dict().items()
        }
        if member.projection is not None:
            tensors[f"{number}.basis"] = member.projection.basis.contiguous()
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, save(tensors))
    encoders = {member.projection.encoder for member in members if member.projection}
    card = {
        "members": [member.model.settings._asdict() for member in members], "sha256": sha256_of(path),
        "encoders": {name: fingerprint(name) for name in sorted(encoders)}, "columns": COLUMNS, **facts,
    }  # fmt: skip
    replace_file(path.with_suffix(".json"), f"{json.dumps(card, indent=1)}\n".encode())


def load_ensemble(path: Path = SHIPPED) -> Ensemble:
    """Read weights. Raises ConfigurationError when they are missing, damaged, or of other features."""
    again = "train: python -m graph_rca train --help"
    try:
        card = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        content = path.read_bytes()
    except (OSError, ValueError) as trouble:
        raise ConfigurationError(
            f"{path}: no weights with a card here ({type(trouble).__name__}); {again}"
        ) from trouble
    if card.get("sha256") != sha256_of(path):
        raise ConfigurationError(
            f"{path}: the weights are not those of their card; get both again, or {again}"
        )
    if card.get("columns") != COLUMNS:
        raise ConfigurationError(f"{path}: the weights are of other features; {again}")
    for name, known in card.get("encoders", {}).items():
        if fingerprint(name) != known:
            raise ConfigurationError(f"{path}: the weights learnt with another encoder '{name}'; {again}")
    torch.set_num_threads(1)  # graphs are small; threads that wait for one another cost more than they give
    tensors = load(content)
    members = [_member(number, Settings(**given), tensors) for number, given in enumerate(card["members"])]
    return Ensemble(members, card)


def _member(number: int, settings: Settings, tensors: Mapping[str, Tensor]) -> Member:
    prefix = f"{number}."
    mine = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
    basis = mine.pop("basis", None)
    model = Ranker(settings)
    model.load_state_dict(mine)
    model.eval()
    return Member(model, None if basis is None else Projection(settings.encoder, basis))


@cache
def shipped() -> Ensemble:
    """Return the shipped weights, loaded once a process."""
    return load_ensemble(SHIPPED)
