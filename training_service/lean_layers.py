"""Layers of a model with adapters that do less work in a gradient step, with the same results.

In a forward that computes in bfloat16 on a CPU, half of the time of small layers goes into casts to float32
and back, and into fresh memory for what lies between. Two layers are written out here, forward and backward:

- a frozen linear layer with its adapter: input and result are bfloat16, the adapter is added in place, and the
  input is kept once,
- a frozen root mean square norm: it keeps its input and one number for each token.

Weights, their names and the saved adapter stay as they are. Any other forward, and a layer of another kind,
runs as before. Not here: attention (`block_attention`), and where adapters come from (`base_models`).
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from peft.tuners.lora import Linear
from torch import Tensor, nn

from training_service.precision import bfloat16_on_cpu


def make_lean(layers: nn.Module) -> None:
    """Give the decoder layers of a model with adapters the forwards of this module where they fit."""
    for module in layers.modules():
        kind: Any = type(module)
        if isinstance(module, Linear) and is_plain(module):
            module.__class__ = _mixed(_LeanLinear, kind)
        elif hasattr(module, "variance_epsilon") and not module.weight.requires_grad:
            module.__class__ = _mixed(_LeanNorm, kind)


def is_plain(layer: Linear) -> bool:
    """Tell whether a layer is nothing but `W x + scaling * B A x`."""
    bias = layer.base_layer.bias is not None or any(layer.lora_bias.values())
    dropout = any(not isinstance(one, nn.Identity) for one in layer.lora_dropout.values())
    return not (bias or dropout or layer.lora_variant) and type(layer.base_layer) is nn.Linear


@cache
def _mixed(mixin: Any, kind: Any) -> Any:
    return type(kind.__name__, (mixin, kind), {})


class _LeanLinear:
    """Mixed into a linear layer of peft."""

    def forward(self: Any, x: Tensor, *rest: Any, **named: Any) -> Tensor:
        usual = rest or named or self.disable_adapters or self.merged or len(self.active_adapters) != 1
        if usual or not bfloat16_on_cpu(x.device):
            return super().forward(x, *rest, **named)  # type: ignore[misc, no-any-return]
        (name,) = self.active_adapters
        weights = (self.base_layer.weight, self.lora_A[name].weight, self.lora_B[name].weight)
        result: Tensor = _Adapted.apply(x.bfloat16().flatten(0, -2), *weights, self.scaling[name])  # type: ignore[no-untyped-call]
        return result.view(*x.shape[:-1], -1)


class _Adapted(torch.autograd.Function):
    """`W x + scaling * B A x` of x [T, in] in bfloat16; W [out, in] is frozen, A [r,
    in] and B [out, r] are not.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, a: Tensor, b: Tensor, scaling: float) -> Tensor:
        inner = (x @ a.bfloat16().T).mul_(scaling)
        # the frozen weight is cast again in the backward, which costs less than to keep the cast one
        ctx.save_for_backward(x, weight, a, b, inner)
        ctx.scaling = scaling
        return (x @ weight.bfloat16().T).addmm_(inner, b.bfloat16().T)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, None, Tensor, Tensor, None]:
        x, weight, a, b, inner = ctx.saved_tensors
        of_inner = (gradient @ b.bfloat16()).mul_(ctx.scaling)
        of_x = None
        if ctx.needs_input_grad[0]:
            of_x = (gradient @ weight.bfloat16()).addmm_(of_inner, a.bfloat16())
        of_a, of_b = of_inner.T @ x, gradient.T @ inner
        return of_x, None, of_a.to(a.dtype), of_b.to(b.dtype), None


class _LeanNorm:
    """Mixed into a norm of the Llama kind: `w * x / sqrt(mean(x * x) + epsilon)`."""

    def forward(self: Any, x: Tensor) -> Tensor:
        if x.dtype != torch.float32 or not bfloat16_on_cpu(x.device):
            return super().forward(x)  # type: ignore[misc, no-any-return]
        return _Normed.apply(x, self.weight, self.variance_epsilon)  # type: ignore[no-untyped-call, no-any-return]


class _Normed(torch.autograd.Function):
    """The norm of x [..., D] in float32, rounded to the bfloat16 that linear layers read."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        inverse = x.square().mean(-1, keepdim=True).add_(epsilon).rsqrt_()
        ctx.save_for_backward(x, weight, inverse)
        return (x * inverse).mul_(weight).bfloat16()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        # with g = w * gradient and r = 1 / sqrt(mean(x * x) + epsilon): r * g - x * r^3 * mean(g * x)
        x, weight, inverse = ctx.saved_tensors
        weighted = gradient * weight
        shrink = (weighted * x).mean(-1, keepdim=True).mul_(inverse**3)
        return weighted.mul_(inverse).addcmul_(x, shrink, value=-1), None, None
