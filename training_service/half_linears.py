"""Linear layers that multiply in bfloat16, in a model whose other parts stay in
float32: for generating on a CPU.

Where a processor multiplies bfloat16 faster, that is worth it. The weights are laid out once as oneDNN reads
them. Given row by row, it lays them out again in every product: one token of SmolLM2 then takes a third
longer. Keys, values, attention and norms stay exact: attention to single tokens is slower in bfloat16. Training
computes in bfloat16 on such a processor anyway, so sampler and trainer differ no more than before.

Not here: when that is worth it (`base_models`, `precision`), and training (`lean_layers`).
"""

from __future__ import annotations

import copy
from collections.abc import Collection

import torch
from peft.tuners.lora import Linear
from torch import Tensor, nn
from torch.nn.functional import linear

from training_service.lean_layers import is_plain

Halves = dict[int, Tensor]
"""By the id of a frozen weight: its copy in bfloat16, which all checkpoints of a base model share."""
LAID_OUT = bool(
    hasattr(torch.ops.mkldnn, "_reorder_linear_weight") and torch.ops.mkldnn._is_mkldnn_bf16_supported()
)
"""Whether weights can be laid out here: not by every torch, and not for a processor without the instructions
(AVX2). There is no public name for it; torch's own compiler uses these operators.
"""


class HalfLinear(nn.Module):
    """`W x + b` of x [..., in] in float32 to [..., out] in float32, multiplied in bfloat16.

    The weight is one of `_half`.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.weight, self.bias = weight, bias

    def forward(self, x: Tensor) -> Tensor:
        """Round the input, multiply, and go on in float32."""
        result = _product(x.bfloat16(), self.weight).float()
        return result if self.bias is None else result + self.bias


class AdaptedHalf(nn.Module):
    """`W x + scaling * B A x`: a `HalfLinear` with an adapter in float32, A [r, in] and B [out, r]."""

    def __init__(self, weight: Tensor, a: Tensor, b: Tensor, scaling: float) -> None:
        super().__init__()
        self.weight, self.a, self.b, self.scaling = weight, a, b, scaling

    def forward(self, x: Tensor) -> Tensor:
        """Add the adapter in place; what peft does besides takes longer than the adapter."""
        result = _product(x.bfloat16(), self.weight).float()
        rows = result.flatten(0, -2)
        rows.addmm_(x.flatten(0, -2) @ self.a.T, self.b.T, alpha=self.scaling)
        return result


def halved(model: nn.Module, base: nn.Module, halves: Halves) -> nn.Module:
    """Return a model that shares all tensors with this one, with the linear layers of `base` in bfloat16.

    `model` is `base` itself or `base` with an adapter, which stays in float32. `halves` is added to.
    """
    return _framed(model, {id(weight) for weight in base.parameters()}, halves, {})


def _framed(
    module: nn.Module, frozen: Collection[int], halves: Halves, made: dict[int, nn.Module]
) -> nn.Module:
    """Return a module of the same kind with the same tensors, whose layers are replaced, each once."""
    if id(module) not in made:
        half = _of(module, frozen, halves)
        made[id(module)] = frame = copy.copy(module) if half is None else half
        if half is None:
            frame._modules = {
                name: None if part is None else _framed(part, frozen, halves, made)
                for name, part in module._modules.items()
            }
    return made[id(module)]


def _of(layer: nn.Module, frozen: Collection[int], halves: Halves) -> nn.Module | None:
    """Return what takes the place of a layer; None where it stays. Only what is frozen has a half: it lives on."""
    if isinstance(layer, Linear):
        weight = layer.base_layer.weight
        if id(weight) not in frozen or not is_plain(layer) or len(layer.active_adapters) != 1:
            return None
        (name,) = layer.active_adapters
        a, b = layer.lora_A[name].weight.detach(), layer.lora_B[name].weight.detach()
        return AdaptedHalf(_half(weight, halves), a, b, layer.scaling[name])
    if type(layer) is nn.Linear and id(layer.weight) in frozen:
        return HalfLinear(_half(layer.weight, halves), layer.bias)
    return None


def _half(weight: Tensor, halves: Halves) -> Tensor:
    if id(weight) not in halves:
        half = weight.detach().bfloat16()
        halves[id(weight)] = torch.ops.mkldnn._reorder_linear_weight(half) if LAID_OUT else half
    return halves[id(weight)]


def _product(x: Tensor, weight: Tensor) -> Tensor:
    if not LAID_OUT:
        return linear(x, weight)
    result: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, None, "none", [], "")
    return result
