"""Attention by blocks is that of torch in float32, forward and backward, up to the rounding of bfloat16."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from training_service.block_attention import BLOCK, attend

ROUNDING = 0.01
"""Share of a tensor's norm: 8 bits of each number, in scores, weights and sums."""


def drawn(heads: int, kv_heads: int, new: int, seen: int) -> tuple[Tensor, Tensor, Tensor]:
    dice = torch.Generator().manual_seed(0)
    query = torch.randn(heads, new, 16, generator=dice).requires_grad_()
    key, value = (torch.randn(kv_heads, seen, 16, generator=dice).requires_grad_() for _ in range(2))
    return query, key, value


def plainly(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    new, seen = query.shape[1], key.shape[1]
    mask = torch.ones(new, seen, dtype=torch.bool).tril(seen - new)
    whole = (query[None], key[None], value[None])
    return scaled_dot_product_attention(*whole, attn_mask=mask, scale=0.3, enable_gqa=True)[0]


@pytest.mark.parametrize(
    ("heads", "kv_heads", "new", "seen"),
    [
        pytest.param(2, 2, 7, 7, id="less than a block"),
        pytest.param(6, 2, 2 * BLOCK, 2 * BLOCK, id="whole blocks, shared keys"),
        pytest.param(3, 1, BLOCK + 5, 2 * BLOCK + 40, id="the end of a longer sequence"),
        pytest.param(4, 2, 2, 2 * BLOCK + 1, id="two tokens in two blocks"),
    ],
)
def test_results_and_gradients_are_those_of_torch(heads: int, kv_heads: int, new: int, seen: int) -> None:
    ours, plain = drawn(heads, kv_heads, new, seen), drawn(heads, kv_heads, new, seen)
    result, expected = attend(*ours, 0.3), plainly(*plain)
    assert close(result, expected)
    gradient = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1))
    torch.autograd.backward([result, expected], [gradient.bfloat16(), gradient])
    for one, other in zip(ours, plain, strict=True):
        assert one.grad is not None
        assert other.grad is not None
        assert close(one.grad, other.grad)


def close(one: Tensor, other: Tensor) -> bool:
    return bool((one.float() - other).norm() < ROUNDING * other.norm())
