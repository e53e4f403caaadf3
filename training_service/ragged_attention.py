"""Attention over sequences of different lengths packed one after the other, without padding.

Generation and training both feed a model one long row of tokens, `[1, T]`, and a plan that says what each
stretch of the row attends to. Everything but attention works token by token and never notices. Attention
comes here, registered with transformers as the implementation "ragged", and the plan splits it. Linear layers
thus see one large matrix product whatever the lengths are, and no position is spent on padding. The plan of
training is in `prefix_tree`; that of generation, which keeps earlier keys and values, is in `kv_cache`.

Covers causal attention, grouped key-value heads and sliding windows: Llama, Qwen, Mistral and their like. Not
soft-capped or sink attention (Gemma 2, gpt-oss), which is refused when the model is tried once.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from training_service import block_attention
from training_service.precision import bfloat16_on_cpu

NAME = "ragged"


class Plan(Protocol):
    """Says how the packed tokens of one forward attend to each other and to what came before."""

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float | None, window: int | None
    ) -> Tensor:
        """query [H, T, D], key and value [K, T, D] (K key-value heads) to the result [T, H, D]."""
        ...


def causal(query: Tensor, key: Tensor, value: Tensor, scaling: float | None, window: int | None) -> Tensor:
    """The last tokens of one sequence, query [H, S, D], over the whole of it, key and value [K, L, D] with L
    >= S.
    """
    new, seen = query.shape[1], key.shape[1]
    mask = None
    within = window is None or seen <= window
    if new > 1 and within and bfloat16_on_cpu(query.device):
        return block_attention.attend(query, key, value, scaling)
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
        raise ValueError("this model runs packed: call it with a plan, as prefix_tree.tree_logits does")
    if options.get("softcap") is not None or options.get("s_aux") is not None or dropout:
        raise ValueError("soft-capped attention, attention sinks and attention dropout are not supported")
    return plan.attend(int(module.layer_idx), query[0], key[0], value[0], scaling, sliding_window)[None], None  # type: ignore[arg-type]


AttentionInterface.register(NAME, _attention)
