"""Learning from rewards in a loop: sample answers, reward them, update, again; resumed by typing it again.

An iteration saves the policy, lets the engine answer some training cases with it at temperature 1, asks the
reward model (or the truth-based scorer) what each answer is worth, and takes gradient steps on exactly the
sampled tokens. Weights, optimizer and place are saved after each iteration. Not here: which cases are drawn
and what an update is (`ppo_command`, `grpo_command`).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch import nn
from torch.optim import AdamW
from tqdm import tqdm

from alignment.answering import Answerer
from alignment.cases import ExplainCase, read_cases
from alignment.learning import Learning, digest, last_part
from alignment.reward_scores import RewardModel
from alignment.scorer import facts
from alignment.stored_answers import BASE
from project_types import ConfigurationError
from training_service.checkpoints import load_optimizer, save_optimizer
from training_service.fitting import PROGRESS, recovered, replace_folder
from training_service.side_by_side import in_lanes
from training_service.wire import ChatRequest

TRUTH = "truth"
Worth = Callable[[ExplainCase, str], float]


class Rewarded(ABC):
    """One run: the policy in training, its reference, and where it is saved."""

    def __init__(self, learning: Learning, cases: Sequence[ExplainCase], worth: Worth) -> None:
        self.learning, self.cases, self._worth = learning, cases, worth
        self.model: nn.Module = learning.scalar or learning.model
        trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.optimizer = AdamW(
            trained, lr=learning.arguments.learning_rate, betas=(0.9, 0.99), weight_decay=0.0
        )
        self.reference: nn.Module = learning.base.model
        if learning.start is not None:
            self.reference = learning.base.policy(
                learning.registry.checked(learning.start.full_name, learning.base.sha256)
            )
        self.folder = learning.work / "last"
        self.steps = 0
        """Gradient steps so far."""
        self.kept: dict[str, float] = {}
        """What else goes on after a restart."""

    @abstractmethod
    def draw(self, rng: random.Random) -> list[ExplainCase]:
        """Return the cases of an iteration, one for each answer."""

    @abstractmethod
    def learn(
        self, cases: Sequence[ExplainCase], choices: Sequence[dict[str, Any]], worths: Sequence[float]
    ) -> dict[str, float]:
        """Update the policy on what was sampled, count `steps`, and return metrics."""

    def all(self) -> list[dict[str, float]]:
        """Run the iterations that are left and return the metrics of all."""
        history = self._resumed()
        wanted: int = self.learning.arguments.iterations
        with tqdm(total=wanted, initial=len(history), unit="iteration", desc=self.learning.kind) as bar:
            while len(history) < wanted:
                history.append(self._iteration(len(history)))
                self._save(history)
                bar.update(1)
                bar.set_postfix(reward=f"{history[-1]['reward']:.3f}")
        return history

    def _iteration(self, number: int) -> dict[str, float]:
        rng = random.Random(f"{self.learning.arguments.seed}-{number}")
        cases = self.draw(rng)
        choices = asyncio.run(self._sampled(cases, number))

        def worth(answered: tuple[ExplainCase, dict[str, Any]]) -> float:
            case, choice = answered
            return self._worth(case, str(choice["message"]["content"] or ""))

        answers = list(zip(cases, choices, strict=True))
        worths = list(in_lanes(self.model.parameters(), answers, worth))
        metrics = self.learn(cases, choices, worths)
        tokens = sum(len(choice["token_ids"]) for choice in choices) / len(choices)
        return metrics | {"reward": sum(worths) / len(worths), "tokens": tokens}

    async def _sampled(self, cases: Sequence[ExplainCase], number: int) -> list[dict[str, Any]]:
        """Let the policy as it is now answer, in a folder that the engine has not seen."""
        place = self.learning.work / f"policy-{number}"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        self.learning.base.save(self.learning.model, place, number)
        answerer = Answerer(self.learning.base, {"policy": place}, self.learning.precision)
        try:
            return list(
                await asyncio.gather(*(self._answer(answerer, case, n) for n, case in enumerate(cases)))
            )
        finally:
            answerer.close()
            shutil.rmtree(place, ignore_errors=True)

    async def _answer(self, answerer: Answerer, case: ExplainCase, number: int) -> dict[str, Any]:
        asked = {"model": BASE, "messages": case.messages(), "temperature": 1.0, "seed": number}
        more = {"max_completion_tokens": self.learning.arguments.words, "logprobs": True}
        reply = await answerer.complete("policy", ChatRequest.model_validate(asked | more))
        return dict(reply["choices"][0])

    def _save(self, history: Sequence[dict[str, float]]) -> None:
        def write(fresh: Path) -> None:
            self.learning.save(fresh)
            save_optimizer(self.model, self.optimizer, fresh)
            progress = {
                "origin": self._origin(),
                "steps": self.steps,
                "kept": self.kept,
                "history": list(history),
            }
            (fresh / PROGRESS).write_text(json.dumps(progress), encoding="utf-8")

        replace_folder(self.folder, write)

    def _resumed(self) -> list[dict[str, float]]:
        """Read what an earlier process saved. Raises ConfigurationError when it was another training."""
        path = recovered(self.folder) / PROGRESS
        if not path.exists():
            return []
        progress = json.loads(path.read_text(encoding="utf-8"))
        if progress["origin"] != self._origin():
            raise ConfigurationError(
                f"{self.folder} was begun with other settings or data; give another --name or --work"
            )
        self.learning.load(self.folder)
        self.steps = progress["steps"]
        load_optimizer(self.model, self.optimizer, self.folder, self.steps)
        self.kept = progress["kept"]
        return list(progress["history"])

    def _origin(self) -> str:
        asked = self.learning.arguments
        names = ("learning_rate", "items_per_step", "seed", "reward", "distance", "group", "penalty", "words")
        settings = {name: getattr(asked, name) for name in names if hasattr(asked, name)}
        return self.learning.origin(digest([[case.id for case in self.cases], settings]))


def run(arguments: argparse.Namespace, kind: str, loop: type[Rewarded]) -> int:
    """Train, register the adapter, and say what its answers were worth before and after."""
    cases = list(read_cases(arguments.cases / "train.jsonl"))[: arguments.limit]
    if arguments.dry_run:
        raise ConfigurationError(
            f"{kind} samples its own data: run it with --iterations 1, its bar says the time"
        )
    learning = Learning(arguments, kind)
    history = loop(learning, cases, _worth(learning, arguments.reward)).all()
    card = learning.register(last_part(history), digest([case.id for case in cases]))
    print(
        f"{card.full_name}: reward {history[0]['reward']:.3f} -> {card.metrics['reward']:.3f}, in {learning.registry.folder}"
    )
    return 0


def _worth(learning: Learning, reward: str) -> Worth:
    """Return what says how much an answer is worth."""
    if reward == TRUTH:
        return lambda case, text: facts(case, text).score
    model = RewardModel(learning.base, learning.registry, reward, learning.precision)
    return lambda case, text: model.scores(case.messages(), [text])[0]
