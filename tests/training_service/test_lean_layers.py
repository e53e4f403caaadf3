"""Layers that do less work in bfloat16 learn what those of transformers and peft learn in float32."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from training_service.base_models import Base
from training_service.heads import decoder
from training_service.precision import Precision, arithmetic
from training_service.scoring import score
from training_service.sequences import TokenSequence

pytestmark = pytest.mark.slow  # a model computes gradients in each of them

CPU = torch.device("cpu")
ROUNDING = 0.03
"""Share of a gradient's norm: bfloat16 keeps 8 bits, and two layers add up their errors."""


@pytest.fixture(scope="module")
def trainee(base: Base) -> nn.Module:
    """A model whose adapter is not the zero that it starts as."""
    torch.manual_seed(0)
    model = Base("random", base.folder, CPU, adapt="lora").fresh_trainee()
    for parameter in model.parameters():
        if parameter.requires_grad:
            nn.init.normal_(parameter, std=0.1)
    return model


def learnt(model: nn.Module, precision: Precision) -> tuple[Tensor, dict[str, Tensor]]:
    """Return log-probabilities of two sequences that begin alike, and the gradient of each adapter matrix."""
    model.zero_grad()
    start = list(range(5, 60))
    sequences = [
        TokenSequence([*start, *end], [False] * 40 + [True] * (15 + len(end)), [0.0] * (55 + len(end)))
        for end in ([7, 8, 9], [11] * 20)
    ]
    logprobs = score(model, sequences, CPU, precision).logprobs
    torch.autograd.backward(logprobs.mean())
    return logprobs.detach(), {
        name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None
    }


def test_logprobs_and_gradients_of_adapters_are_those_of_float32(trainee: nn.Module) -> None:
    expected, gradients = learnt(trainee, "float32")
    logprobs, ours = learnt(trainee, "bfloat16")
    assert torch.allclose(logprobs, expected, atol=0.05)
    assert ours.keys() == gradients.keys()
    assert len(ours) == 2 * 2 * 7  # A and B of seven linear layers, twice
    for name, gradient in gradients.items():
        assert float((ours[name] - gradient).norm() / gradient.norm()) < ROUNDING, name


def test_a_frozen_norm_gives_the_bfloat16_that_linear_layers_read(trainee: nn.Module) -> None:
    norm, states = decoder(trainee).layers[0].input_layernorm, torch.randn(3, 64)
    with arithmetic("bfloat16", CPU):
        rounded = norm(states)
    assert rounded.dtype == torch.bfloat16
    assert torch.equal(rounded, norm(states).bfloat16())


def test_a_switched_off_adapter_leaves_the_base(base: Base, trainee: nn.Module) -> None:
    ids, layer = torch.randn(3, 64), decoder(trainee).layers[1].mlp.up_proj
    plain = base.model.model.layers[1].mlp.up_proj
    with arithmetic("bfloat16", CPU), torch.no_grad():
        layer.enable_adapters(False)
        off = layer(ids)
        layer.enable_adapters(True)
        assert torch.equal(off, plain(ids))
        assert not torch.equal(layer(ids), off)
