"""Generating with linear layers in bfloat16: nearly the same words, shared weights,
and the original untouched.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.training_service.random_model import random_base
from training_service.base_models import Base
from training_service.half_linears import AdaptedHalf, HalfLinear, Halves, halved
from training_service.prefix_tree import TokenTree, tree_logits

pytestmark = pytest.mark.filterwarnings(
    "ignore:`is_gradient_checkpointing`"
)  # pytest undoes the room's own filter
CPU = torch.device("cpu")


@pytest.fixture
def adapted(tmp_path: Path) -> Base:
    """A random base that is trained through an adapter."""
    return random_base(tmp_path / "model", adapt="lora")


def checkpoint(base: Base, folder: Path) -> Path:
    """A checkpoint whose adapter says something."""
    model = base.fresh_trainee()
    torch.manual_seed(3)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(weight, std=0.05)
    folder.mkdir()
    base.save(model, folder, 1)
    return folder


def logprobs(model: nn.Module) -> Tensor:
    """What a model says of every token after a short text, [10, vocabulary]."""
    tokens = np.arange(10, dtype=np.int32)
    with torch.inference_mode():
        return tree_logits(model, TokenTree([tokens]), CPU).float().log_softmax(-1)


def halves_in(model: nn.Module) -> list[HalfLinear | AdaptedHalf]:
    return [layer for layer in model.modules() if isinstance(layer, HalfLinear | AdaptedHalf)]


def test_a_checkpoint_says_nearly_what_it_says_in_float32(adapted: Base, tmp_path: Path) -> None:
    exact = adapted.policy(checkpoint(adapted, tmp_path / "one"))
    half = halved(exact, adapted.model, {})
    assert halves_in(half)
    assert not torch.equal(logprobs(exact), logprobs(adapted.model)), "the adapter says something"
    torch.testing.assert_close(logprobs(half), logprobs(exact), atol=0.02, rtol=0)


def test_the_model_it_was_made_from_stays_as_it_was(adapted: Base) -> None:
    before = logprobs(adapted.model)
    halved(adapted.model, adapted.model, {})
    assert not halves_in(adapted.model)
    assert torch.equal(logprobs(adapted.model), before)


def test_checkpoints_share_the_halves_of_their_base(adapted: Base, tmp_path: Path) -> None:
    halves: Halves = {}
    bare = halved(adapted.model, adapted.model, halves)
    trained = halved(adapted.policy(checkpoint(adapted, tmp_path / "one")), adapted.model, halves)
    assert {id(layer.weight) for layer in halves_in(trained)} == {
        id(layer.weight) for layer in halves_in(bare)
    }


def test_only_a_model_that_is_trained_through_an_adapter_generates_so(adapted: Base, base: Base) -> None:
    assert halves_in(adapted.for_generating(adapted.model, "bfloat16"))
    assert adapted.for_generating(adapted.model, "float32") is adapted.model
    assert base.for_generating(base.model, "bfloat16") is base.model
