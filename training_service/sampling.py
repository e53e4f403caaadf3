"""The next token of each sequence: temperature, nucleus, one stream of random numbers per request.

A token is drawn by inverting the cumulative distribution at one uniform number per token, taken from the
sequence's own generator. Which requests happen to be decoded together therefore has no part in the draw; only
rounding differences of the model's arithmetic in another batch can, when the number falls that close to a
boundary.

The log-probability returned is that of the model itself, before temperature and nucleus, because that is what
training compares with. At temperature 1 and top_p 1 it is also that of the draw; at any other setting the
importance ratio still measures how far the policy has moved, not how the sample was drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Sampling:
    """How one sequence is sampled. Temperature 0 takes the likeliest token."""

    temperature: float
    top_p: float
    random: np.random.Generator

    @classmethod
    def seeded(cls, temperature: float, top_p: float, seed: int | None, index: int) -> Sampling:
        """The stream of choice number `index` of a request; without a seed it starts anywhere."""
        entropy = None if seed is None else [abs(seed), int(seed < 0), index]
        return cls(temperature, top_p, np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy))))


def draw(logits: Tensor, ways: Sequence[Sampling]) -> tuple[list[int], list[float]]:
    """Tokens and their untempered log-probabilities; logits [N, V], one way per row.

    Raises FloatingPointError when a row has no finite maximum: the weights are broken.
    """
    logprobs = logits.float().log_softmax(-1)
    chosen = logits.argmax(-1)
    hot = [row for row, way in enumerate(ways) if way.temperature > 0]
    if hot:
        temperatures = torch.tensor([ways[row].temperature for row in hot], device=logits.device)
        scaled = (logprobs if len(hot) == len(ways) else logprobs[hot]) / temperatures[:, None]
        nucleus = [ways[row].top_p for row in hot]
        if min(nucleus) < 1:
            scaled = _keep_nucleus(scaled, torch.tensor(nucleus, device=logits.device))
        uniform = torch.tensor(
            [ways[row].random.random() for row in hot], dtype=torch.float64, device=logits.device
        )
        cumulative = scaled.softmax(-1, dtype=torch.float64).cumsum(-1)
        picked = torch.searchsorted(cumulative, (uniform * cumulative[:, -1])[:, None], right=True)[:, 0]
        chosen[hot] = picked.clamp(max=logits.shape[-1] - 1)
    values = logprobs.gather(-1, chosen[:, None])[:, 0]
    if not bool(torch.isfinite(values).all()):
        raise FloatingPointError(
            "the model's output is not finite; this checkpoint has diverged, use an earlier step"
        )
    return chosen.tolist(), values.tolist()


def _keep_nucleus(scores: Tensor, top_p: Tensor) -> Tensor:
    """Mask all but the smallest set of likeliest tokens whose probability reaches top_p; scores [N, V]."""
    ordered, order = scores.sort(dim=-1, descending=True)
    before = ordered.softmax(-1).cumsum(-1) - ordered.softmax(-1)
    dropped = (before >= top_p[:, None]) & (top_p < 1)[:, None]
    return scores.masked_fill(torch.zeros_like(dropped).scatter(-1, order, dropped), -torch.inf)
