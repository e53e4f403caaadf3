"""Causal attention in bfloat16 on a CPU, forward and backward, by blocks of queries.

The fused kernel of torch takes about twice as long here as the matrix products it consists of. So this one is
written as products. A block of queries reads the keys up to its end and none behind them. The scores of a
block stay in the processor's cache. None are kept for the backward, which computes them again. Query heads
that share a key-value head become rows of one product.

Scores and weights are rounded to bfloat16; softmax adds up in float32. Not here: when this attention is used
(`ragged_attention`), and masks other than the causal one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

BLOCK = 128
"""Queries of a block. Blocks end at multiples of it, so that few shapes of products have to be compiled."""


def attend(query: Tensor, key: Tensor, value: Tensor, scaling: float | None) -> Tensor:
    """The last S tokens of a sequence over all L of it.

    query [H, S, D], key and value [K, L, D] to the result [H, S, D] in bfloat16. H is a multiple of K.
    """
    new, width = query.shape[1:]
    scaled = (query * (width**-0.5 if scaling is None else scaling)).bfloat16()
    # [K, S * H / K, D]: the heads of one token that read the same keys follow each other
    rows = torch.unflatten(scaled, 0, (len(key), -1)).transpose(1, 2).flatten(1, 2)
    result: Tensor = _Blocks.apply(rows, key.bfloat16(), value.bfloat16(), new)  # type: ignore[no-untyped-call]
    return torch.unflatten(result, 1, (new, -1)).transpose(1, 2).flatten(0, 1)


class _Blocks(torch.autograd.Function):
    """Attention of rows [K, S * G, D], G to a token, over key and value [K, L, D]."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, key: Tensor, value: Tensor, new: int) -> Tensor:
        ctx.save_for_backward(rows, key, value)
        ctx.new = new
        result, scratch = torch.empty_like(rows), _scratch(rows, key, new)
        for block in _blocks(rows, key, new):
            weights = _weights(rows, key, block, scratch)
            result[:, block.rows] = weights @ value[:, block.seen]
        return result

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        rows, key, value = ctx.saved_tensors
        of_rows = torch.empty_like(rows)
        # these add up over the blocks, in float32
        of_key, of_value = torch.zeros(key.shape), torch.zeros(value.shape)
        scratch, scratch_too = _scratch(rows, key, ctx.new), _scratch(rows, key, ctx.new)
        for block in _blocks(rows, key, ctx.new):
            own, seen = gradient[:, block.rows], block.seen
            weights = _weights(rows, key, block, scratch)
            of_value[:, seen] += weights.transpose(1, 2) @ own
            change = _product(own, value[:, seen], scratch_too)
            torch._softmax_backward_data(change, weights, -1, change.dtype, grad_input=change)
            of_rows[:, block.rows] = change @ key[:, seen]
            of_key[:, seen] += change.transpose(1, 2) @ rows[:, block.rows]
        return of_rows, of_key.to(key.dtype), of_value.to(value.dtype), None


class _Block(NamedTuple):
    """Rows of the same few tokens, the keys up to the last of these, and which of
    them come later than a row.
    """

    rows: slice
    seen: slice
    later: Tensor
    """[rows, tokens]: true where a token comes after that of the row."""


def _blocks(rows: Tensor, key: Tensor, new: int) -> Iterator[_Block]:
    group, length = rows.shape[1] // new, key.shape[1]
    begin = length - new
    while begin < length:
        end = min(begin + BLOCK - begin % BLOCK, length)
        later = torch.ones(end - begin, end - begin, dtype=torch.bool).triu(1).repeat_interleave(group, 0)
        first = group * (begin - length + new)
        yield _Block(slice(first, first + len(later)), slice(end), later)
        begin = end


def _weights(rows: Tensor, key: Tensor, block: _Block, scratch: Tensor) -> Tensor:
    """Return what each row of a block reads of each key, [K, rows, seen]; lies in `scratch`."""
    scores = _product(rows[:, block.rows], key[:, block.seen], scratch)
    scores[..., -block.later.shape[1] :].masked_fill_(block.later, float("-inf"))
    return torch.softmax(scores, -1, out=scores)


def _product(left: Tensor, right: Tensor, scratch: Tensor) -> Tensor:
    """Multiply [K, R, D] by the transpose of [K, L, D] into `scratch`, as [K, R, L]."""
    shape = (len(left), left.shape[1], right.shape[1])
    return torch.bmm(left, right.transpose(1, 2), out=scratch[: torch.Size(shape).numel()].view(shape))


def _scratch(rows: Tensor, key: Tensor, new: int) -> Tensor:
    """Return memory for the scores of one block at a time. Fresh memory for each
    costs as much as its scores.
    """
    longest = min(BLOCK, new) * (rows.shape[1] // new)
    return torch.empty(len(key) * longest * key.shape[1], dtype=rows.dtype)
