"""The forward pass of training: plain transformers is the reference for log-probabilities and gradients."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from transformers import LlamaForCausalLM

from training_service.base_models import Base
from training_service.scoring import micro_batches, score
from training_service.sequences import TokenSequence

pytestmark = pytest.mark.slow  # a model computes gradients in each of them


def sequence(tokens: list[int], sampled: list[bool]) -> TokenSequence:
    return TokenSequence(tokens, sampled, [-1.0] * len(tokens), advantage=1.0, weight=1.0)


def rollouts(count: int = 6) -> list[TokenSequence]:
    """Sequences of several questions, some of which share more than the question."""
    dice = random.Random(0)
    made = []
    for number in range(count):
        prompt = [5, 6, number % 2, *range(10, 30)]
        reply = [[40, 41], [40, 42, 43], [44]][number % 3]
        rest = [dice.randrange(300) for _ in range(number)]
        tokens = [*prompt, *reply, 50, 51, *rest, 52]
        flags = [False] * len(prompt) + [True] * len(reply) + [False, False] + [True] * (len(rest) + 1)
        made.append(sequence(tokens, flags))
    return made


def plainly(model: LlamaForCausalLM, sequences: list[TokenSequence]) -> Iterator[Tensor]:
    """The log-probabilities of the sampled tokens of each sequence, run on its own."""
    for entry in sequences:
        tokens = torch.tensor(entry.tokens)
        logprobs = model(input_ids=tokens[None]).logits[0].log_softmax(-1)
        for place in entry.scored_places():
            yield logprobs[place - 1, tokens[place]]


def test_logprobs_and_gradients_are_those_of_plain_transformers(base: Base) -> None:
    plain, sequences = LlamaForCausalLM.from_pretrained(base.folder), rollouts()
    expected = torch.stack(list(plainly(plain, sequences)))
    weights = torch.randn(len(expected), generator=torch.Generator().manual_seed(0))
    torch.autograd.backward((expected * weights).sum())
    ours = base.model.requires_grad_(True)
    try:
        scored = score(ours, sequences, base.device, "float32")
        torch.autograd.backward((scored.logprobs * weights).sum())
        assert torch.allclose(scored.logprobs, expected, atol=1e-5)
        for (name, one), other in zip(ours.named_parameters(), plain.parameters(), strict=True):
            assert torch.allclose(one.grad, other.grad, atol=1e-4), name
    finally:
        ours.requires_grad_(False)
        ours.zero_grad()


def test_the_first_token_of_a_sequence_is_never_scored(base: Base) -> None:
    scored = score(base.model, [sequence([3, 4, 5], [True, False, True])], base.device, "float32")
    assert scored.logprobs.shape == (1,)


@pytest.mark.parametrize("limit", [1, 40, 10_000])
def test_micro_batches_hold_every_sequence_once(limit: int) -> None:
    sequences = rollouts(12)
    batches = list(micro_batches(sequences, limit, 300))
    assert sorted(id(entry) for batch in batches for entry in batch) == sorted(map(id, sequences))
    assert len(batches) == {1: 12, 10_000: 1}.get(limit, len(batches))


def test_a_beginning_that_is_shared_costs_nothing() -> None:
    alike = [sequence([*range(100), number], [False] * 100 + [True]) for number in range(8)]
    different = [sequence([number] * 101, [False] * 100 + [True]) for number in range(8)]
    assert len(list(micro_batches(alike, 300, 300))) == 1
    assert len(list(micro_batches(different, 300, 300))) == 4
