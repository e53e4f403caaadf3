"""Attention over sequences of different lengths packed one after the other, without padding.

Generation and training both feed a model one long row of tokens, `[1, T]`, and a plan that says which stretch
of the row belongs to which sequence. Everything but attention works token by token and never notices;
attention comes here, registered with transformers as the implementation "ragged", and the plan splits it.
Linear layers thus see one large matrix product whatever the lengths are, and no position is ever spent on
padding. `PackedPlan` (training) attends within the row; the plan of generation, which keeps earlier keys and
values, is in `kv_cache`.

Covers causal attention, grouped key-value heads and sliding windows: Llama, Qwen, Mistral and their like. Not
soft-capped or sink attention (Gemma 2, gpt-oss), which `check_supported` refuses by trying the model once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

NAME = "ragged"


class Plan(Protocol):
    """Says how the packed tokens of one forward attend to each other and to what came before."""

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float | None, window: int | None
    ) -> Tensor:
        """query [H, T, D], key and value [K, T, D] (K key-value heads) to the result [T, H, D]."""
        ...


class PackedPlan:
    """Training: each sequence of the row sees itself only, causally. `lengths` are in the order of packing."""

    def __init__(self, lengths: Sequence[int]) -> None:
        self.lengths = list(lengths)

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float | None, window: int | None
    ) -> Tensor:
        pieces = []
        split = (torch.split(tensor, self.lengths, dim=1) for tensor in (query, key, value))
        for q, k, v in zip(*split, strict=True):
            pieces.append(causal(q, k, v, scaling, window))
        return torch.cat(pieces, dim=1).transpose(0, 1)


def causal(query: Tensor, key: Tensor, value: Tensor, scaling: float | None, window: int | None) -> Tensor:
    """The last tokens of one sequence, query [H, S, D], over the whole of it, key and value [K, L, D] with L
    >= S.
    """
    new, seen = query.shape[1], key.shape[1]
    mask = None
    within = window is None or seen <= window
    if new == 1 and not within:
        key, value = key[:, -window:], value[:, -window:]  # type: ignore[operator]
    elif new > 1 and (new < seen or not within):
        mask = torch.ones(new, seen, dtype=torch.bool, device=query.device).tril(seen - new)
        if window is not None and not within:
            mask = mask.triu(seen - new - window + 1)
    return scaled_dot_product_attention(
        query[None],
        key[None],
        value[None],
        attn_mask=mask,
        is_causal=new > 1 and mask is None,
        scale=scaling,
        enable_gqa=query.shape[0] != key.shape[0],
    )[0]


def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    plan: Plan | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    if plan is None:
        raise ValueError("this model runs packed: call it with plan=PackedPlan([...])")
    if options.get("softcap") is not None or options.get("s_aux") is not None or dropout:
        raise ValueError("soft-capped attention, attention sinks and attention dropout are not supported")
    return plan.attend(int(module.layer_idx), query[0], key[0], value[0], scaling, sliding_window)[None], None  # type: ignore[arg-type]


AttentionInterface.register(NAME, _attention)


def packed_logits(model: nn.Module, tokens: Sequence[Sequence[int]], device: torch.device) -> Tensor:
    """Logits [T, V] of whole sequences packed in order: the plain way to run a model that has no cache."""
    flat = torch.tensor([token for sequence in tokens for token in sequence], device=device)[None]
    positions = torch.cat([torch.arange(len(sequence), device=device) for sequence in tokens])[None]
    plan = PackedPlan([len(sequence) for sequence in tokens])
    logits: Tensor = model(input_ids=flat, position_ids=positions, use_cache=False, plan=plan).logits[0]
    return logits
