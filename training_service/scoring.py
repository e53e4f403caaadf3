"""Log-probabilities of the tokens that were sampled: the forward pass of training.

Sequences are packed into micro-batches without padding, and what they have in common is computed once
(`prefix_tree`). Log-probabilities are needed of sampled tokens only, so the output layer runs on those
positions and nowhere else. Not here: the loss (`loss`) and the step (`training`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from training_service.precision import Precision, arithmetic
from training_service.prefix_tree import Places, TokenTree, common_prefix, tree_logits
from training_service.sequences import TokenSequence

LOGITS_AT_ONCE = 1 << 26
"""Logits (sampled tokens x vocabulary) of one micro-batch, at most: 256 MiB in float32."""
READS_PER_TOKEN = 8
"""Tokens whose keys and values a sequence reads that cost as much as one token computed."""


@dataclass(frozen=True)
class Scored:
    """Log-probability and entropy of each sampled token of a micro-batch, in order, `[N]`."""

    logprobs: Tensor
    entropies: Tensor


def score(
    model: nn.Module, sequences: Sequence[TokenSequence], device: torch.device, precision: Precision
) -> Scored:
    """Score every sampled token of the sequences in order.

    The first token of a sequence has nothing before it and is never scored.
    """
    tree = TokenTree([np.array(sequence.tokens, np.int32) for sequence in sequences])
    reads, writes, which = _targets(tree, sequences)
    with arithmetic(precision, device):
        logits = tree_logits(model, tree, device, reads)
    every = logits.float().log_softmax(-1)
    with torch.no_grad():
        entropies = -(every.exp() * every).sum(-1)
    written = torch.from_numpy(tree.tokens[writes]).long().to(device)
    order = torch.from_numpy(which).to(device)
    return Scored(every.gather(-1, written[:, None])[:, 0][order], entropies[order])


def _targets(tree: TokenTree, sequences: Sequence[TokenSequence]) -> tuple[Places, Places, Places]:
    """Find where logits are needed.

    Returns the places that read, the places of the tokens that follow them, and which of these each sampled
    token of the sequences is.
    """
    reads, writes = [], []
    for sequence, path in zip(sequences, tree.paths, strict=True):
        sampled = np.flatnonzero(sequence.sampled[1:])
        reads.append(path[sampled])
        writes.append(path[sampled + 1])
    places, first, which = np.unique(np.concatenate(writes), return_index=True, return_inverse=True)
    return np.concatenate(reads)[first], places, which


def micro_batches(
    sequences: Sequence[TokenSequence], limit: int, vocabulary: int
) -> Iterator[list[TokenSequence]]:
    """Yield sequences that begin alike side by side, up to `limit` in cost and LOGITS_AT_ONCE in logits.

    The cost of a sequence is its tokens beyond the beginning it shares with the one before it, and a part of
    its whole length for the keys and values it reads. A sequence above the limit goes alone.
    """
    batch: list[TokenSequence] = []
    before, cost, sampled = np.empty(0, np.int32), 0, 0
    for sequence in sorted(sequences, key=lambda entry: entry.tokens):
        own = np.array(sequence.tokens, np.int32)
        read = len(own) // READS_PER_TOKEN
        cost += len(own) - common_prefix(before, own) + read
        sampled += sequence.sampled_count
        if batch and (cost > limit or sampled * vocabulary > LOGITS_AT_ONCE):
            yield batch
            batch, cost, sampled = [], len(own) + read, sequence.sampled_count
        batch.append(sequence)
        before = own
    if batch:
        yield batch
