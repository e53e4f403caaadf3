"""Demonstrations and pairs are learnt, in steps that can be resumed; each loss is what its paper says."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import logsigmoid
from transformers import LlamaForCausalLM

from tests.training_service.random_model import TOOLS
from training_service.base_models import Base
from training_service.engine import TrainingError
from training_service.examples import TokenPair, answer, demonstration, pair
from training_service.fitting import Fitting, Recipe
from training_service.heads import Rank, ScalarModel
from training_service.objectives import Imitate, Prefer, Referred, referred
from training_service.sequences import TokenSequence

pytestmark = pytest.mark.slow  # a model learns in each of them

Json = dict[str, Any]
CPU = torch.device("cpu")
ASK: Json = {"role": "user", "content": "checkout is failing since about 14:05"}
CALL: Json = {
    "role": "assistant",
    "content": "",
    "tool_calls": [
        {
            "id": "a",
            "type": "function",
            "function": {"name": "search_logs", "arguments": '{"keywords": "timeout"}'},
        }
    ],
}
SHOWN: Json = {"role": "tool", "tool_call_id": "a", "content": "14:05:33 ERROR orders log 3fa2"}
SAID: Json = {"role": "assistant", "content": "orders failed"}
PAIRS = [
    {
        "messages": [ASK],
        "chosen": "orders failed: deadline 3000 ms exceeded",
        "rejected": "the quick brown fox",
    },
    {
        "messages": [ASK],
        "chosen": "call to ledger failed",
        "rejected": "the lazy dog jumps over the quick fox",
    },
]


@pytest.fixture(scope="module")
def pairs(base: Base) -> list[TokenPair]:
    return [pair(base.chat, row) for row in PAIRS]


@pytest.fixture(scope="module")
def adapted(base: Base) -> Base:
    return Base("random", base.folder, CPU, adapt="lora")


def test_only_what_the_assistant_writes_is_learnt(base: Base) -> None:
    sequence = demonstration(base.chat, {"messages": [ASK, CALL, SHOWN, SAID], "tools": TOOLS})
    learnt = [token for token, sampled in zip(sequence.tokens, sequence.sampled, strict=True) if sampled]
    assert base.chat.tokenizer.decode(learnt) == (
        '<|call|>search_logs {"keywords": "timeout"}<|end|>orders failed<|end|>'
    )


def test_a_demonstration_has_the_tokens_that_serving_has(base: Base) -> None:
    sequence = demonstration(base.chat, {"messages": [ASK, CALL, SHOWN, SAID]})
    prompt = base.chat.prompt([ASK], [])
    assert sequence.tokens[: len(prompt.tokens)] == list(prompt.tokens)
    assert not any(sequence.sampled[: len(prompt.tokens)])


def test_a_conversation_without_a_reply_teaches_nothing(base: Base) -> None:
    with pytest.raises(TrainingError, match="no message of the assistant"):
        demonstration(base.chat, {"messages": [ASK]})


def test_the_loss_of_imitation_is_that_of_transformers(base: Base) -> None:
    sequence = answer(base.chat, [ASK], "orders failed")
    with torch.no_grad():
        loss, _ = Imitate(CPU).loss(base.model, [sequence])
    plain = LlamaForCausalLM.from_pretrained(base.folder)
    ids = torch.tensor([sequence.tokens])
    labels = ids.where(torch.tensor([sequence.sampled]), -100)
    with torch.no_grad():
        expected = plain(input_ids=ids, labels=labels).loss * sequence.sampled_count
    assert float(loss) == pytest.approx(float(expected), rel=1e-4)


def plain_logprob(model: nn.Module, sequence: TokenSequence) -> torch.Tensor:
    """Log-probabilities of an answer's tokens, by the textbook and without our packing."""
    ids = torch.tensor([sequence.tokens])
    every = model(input_ids=ids).logits[0].log_softmax(-1)
    return torch.stack([every[p - 1, sequence.tokens[p]] for p in sequence.scored_places()])


def test_the_loss_of_preferences_is_that_of_the_paper(base: Base, pairs: list[TokenPair]) -> None:
    policy = LlamaForCausalLM.from_pretrained(base.folder)
    reference = LlamaForCausalLM.from_pretrained(base.folder)
    with torch.no_grad():
        for parameter in reference.parameters():
            parameter.mul_(0.9)
        known = [Referred(p, *(tuple(plain_logprob(reference, s).tolist()) for s in p)) for p in pairs]
        expected = 0.0
        for item in known:
            better = plain_logprob(policy, item.pair.chosen).sum() - sum(item.chosen)
            worse = plain_logprob(policy, item.pair.rejected).sum() - sum(item.rejected)
            expected -= float(logsigmoid(0.3 * (better - worse)))
    loss, seen = Prefer(CPU, beta=0.3).loss(base.model, known)
    assert float(loss) == pytest.approx(expected, rel=1e-4)
    assert 0 <= seen["right"] <= len(pairs)


@pytest.mark.parametrize(
    "options", [{}, {"ld_alpha": 0.3}, {"per_token": True}], ids=["sum", "ld", "per token"]
)
def test_margins_are_zero_before_the_first_step(adapted: Base, pairs: list[TokenPair], options: Json) -> None:
    model = adapted.fresh_trainee()
    _, seen = Prefer(CPU, **options).loss(model, referred(model, pairs, CPU, "float32"))
    assert seen["margin"] == pytest.approx(0.0, abs=1e-4)


def test_what_an_answer_has_beyond_the_other_counts_by_alpha(base: Base, pairs: list[TokenPair]) -> None:
    known = referred(base.model, pairs, CPU, "float32")
    moved = [item._replace(rejected=tuple(one - 1.0 for one in item.rejected)) for item in known]
    shorter = [min(item.pair.chosen.sampled_count, item.pair.rejected.sampled_count) for item in known]
    _, seen = Prefer(CPU, beta=1.0, ld_alpha=0.0).loss(base.model, moved)
    assert seen["margin"] == pytest.approx(-float(sum(shorter)), rel=1e-3)


LEARN: dict[str, Callable[[Base, list[TokenPair], nn.Module], tuple[Any, list[Any]]]] = {
    "imitate": lambda base, pairs, _: (Imitate(CPU), [one.chosen for one in pairs]),
    "prefer": lambda base, pairs, model: (Prefer(CPU), referred(model, pairs, CPU, "float32")),
    "rank": lambda base, pairs, _: (Rank(), pairs),
}
RECIPE = Recipe(learning_rate=2e-3, epochs=12, items_per_step=2)


@pytest.mark.parametrize("kind", LEARN)
def test_an_adapter_learns(adapted: Base, pairs: list[TokenPair], kind: str) -> None:
    model = adapted.fresh_trainee()
    objective, items = LEARN[kind](adapted, pairs, model)
    trained = ScalarModel(model, CPU) if kind == "rank" else model
    history = Fitting(trained, objective, RECIPE).run(items)
    assert len(history) == 12
    assert history[-1]["loss"] < 0.8 * history[0]["loss"]


@dataclasses.dataclass
class Kept:
    """Saves the adapter of one model."""

    base: Base
    model: nn.Module

    def save(self, folder: Path) -> None:
        self.base.save(self.model, folder, 0)

    def load(self, folder: Path) -> None:
        self.base.load(self.model, folder)


def fit(
    base: Base, pairs: list[TokenPair], folder: Path, stop_after: int, recipe: Recipe = RECIPE
) -> list[Json]:
    torch.manual_seed(0)
    model = base.fresh_trainee()
    steps: list[Any] = []
    fitting = Fitting(model, Imitate(CPU), recipe, folder, Kept(base, model), save_every=2)
    return fitting.run([one.chosen for one in pairs], steps.append, lambda: len(steps) >= stop_after)


def test_a_fit_that_was_stopped_goes_on_to_the_same_end(
    adapted: Base, pairs: list[TokenPair], tmp_path: Path
) -> None:
    whole = fit(adapted, pairs, tmp_path / "whole", 99)
    with pytest.raises(TrainingError, match="start it again to go on"):
        fit(adapted, pairs, tmp_path / "cut", 5)
    again = fit(adapted, pairs, tmp_path / "cut", 99)
    assert [row["loss"] for row in again] == pytest.approx([row["loss"] for row in whole], rel=1e-4)


def test_a_fit_is_not_resumed_with_other_settings(
    adapted: Base, pairs: list[TokenPair], tmp_path: Path
) -> None:
    fit(adapted, pairs, tmp_path / "one", 99)
    with pytest.raises(TrainingError, match="begun with other settings"):
        fit(adapted, pairs, tmp_path / "one", 99, dataclasses.replace(RECIPE, learning_rate=1e-3))


def test_a_diverged_fit_says_so(adapted: Base, pairs: list[TokenPair]) -> None:
    model = adapted.fresh_trainee()
    broken = [one.chosen for one in pairs]
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.fill_(float("nan"))
    with pytest.raises(TrainingError, match="not finite"):
        Fitting(model, Imitate(CPU), RECIPE).run(broken)


def test_only_the_adapter_and_its_optimizer_are_written(
    adapted: Base, pairs: list[TokenPair], tmp_path: Path
) -> None:
    fit(adapted, pairs, tmp_path / "one", 99)
    names = {path.name for path in (tmp_path / "one").iterdir()}
    assert "adapter_model.safetensors" in names
    assert "optimizer.safetensors" in names
    assert "model.safetensors" not in names
