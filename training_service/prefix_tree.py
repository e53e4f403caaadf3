"""Sequences that begin alike, packed into one row in which a common beginning stands once.

The rollouts of one question share its prompt, often the first reply and what the tool printed after it. Of 64
stored trajectories more than half of the tokens are such repetitions (22,276 of 41,850). A model computes
each of them once here, forward and backward: the row is a tree of tokens, every sequence is a path through
it, and a token attends to its own path only. Gradients of shared tokens add up by themselves. Results are
those of the sequences run one by one, up to rounding.

    row    find the cause | service a failed | disk full | search b | ...
    paths  sequence 0 is stretches 0, 1, 2; sequence 1 is stretches 0, 3

Not here: attention itself (`ragged_attention.causal`) and what is done with the logits (`training`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from training_service.ragged_attention import causal

Tokens = np.ndarray[tuple[int], np.dtype[np.int32]]
Places = NDArray[np.int64]


def common_prefix(a: Tokens, b: Tokens) -> int:
    """Return how many leading tokens are equal."""
    shorter = min(len(a), len(b))
    different = np.flatnonzero(a[:shorter] != b[:shorter])
    return int(different[0]) if len(different) else shorter


class TokenTree:
    """A packed row. `paths[n]` holds the places in the row of the tokens of sequence `n`, in order."""

    def __init__(self, sequences: Sequence[Tokens]) -> None:
        self.size = 0
        self.paths: list[Places] = [np.empty(0, np.int64)] * len(sequences)
        self.stretches: list[tuple[int, Places]] = []
        """Of each stretch of new tokens: how many, and the path that ends with them."""
        tokens: list[Tokens] = []
        positions: list[Places] = []
        before = -1
        # in this order the longest beginning that a sequence shares is with the one before it
        for number in sorted(range(len(sequences)), key=lambda number: sequences[number].tolist()):
            sequence = sequences[number]
            shared = common_prefix(sequences[before], sequence) if before >= 0 else 0
            count = len(sequence) - shared
            fresh = np.arange(self.size, self.size + count)
            path = np.concatenate([self.paths[before][:shared], fresh]) if before >= 0 else fresh
            self.paths[number], before = path, number
            if count:
                self.stretches.append((count, path))
                tokens.append(sequence[shared:])
                positions.append(np.arange(shared, len(sequence)))
                self.size += count
        self.tokens = np.concatenate(tokens)
        self.positions = np.concatenate(positions)


class TreePlan:
    """`ragged_attention.Plan` of a token tree: each stretch attends to its path."""

    def __init__(self, tree: TokenTree, device: torch.device) -> None:
        self._counts = [count for count, _ in tree.stretches]
        self._lengths = [len(path) for _, path in tree.stretches]
        self._gather = torch.from_numpy(np.concatenate([path for _, path in tree.stretches])).to(device)

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float | None, window: int | None
    ) -> Tensor:
        # one gather for all stretches: its backward is one addition instead of one per stretch
        keys = torch.split(key.index_select(1, self._gather), self._lengths, dim=1)
        values = torch.split(value.index_select(1, self._gather), self._lengths, dim=1)
        queries = torch.split(query, self._counts, dim=1)
        pieces = [causal(q, k, v, scaling, window) for q, k, v in zip(queries, keys, values, strict=True)]
        return torch.cat(pieces, dim=1).transpose(0, 1)


def tree_logits(
    model: nn.Module, tree: TokenTree, device: torch.device, keep: Places | None = None
) -> Tensor:
    """Run a model over a tree; returns logits `[T, V]`, or `[len(keep), V]` of the places in `keep`."""
    logits: Tensor = model(
        input_ids=torch.from_numpy(tree.tokens).long().to(device)[None],
        position_ids=torch.from_numpy(tree.positions).to(device)[None],
        use_cache=False,
        logits_to_keep=0 if keep is None else torch.from_numpy(keep).to(device),
        plan=TreePlan(tree, device),
    ).logits[0]
    return logits
