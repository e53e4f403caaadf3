"""`python -m alignment ppo`: sample answers, reward them, update, again; resumed by typing it again.

An iteration saves the policy, lets the engine answer some training cases with it at temperature 1, asks the reward
model (or the truth-based scorer) what each answer is worth, and takes PPO's gradient steps on exactly the sampled
tokens. The distance is that from the start adapter. Weights, optimizer, controller and place are saved after each
iteration. Not here: the update itself (`training_service.ppo`).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import AdamW
from tqdm import tqdm

from alignment.answering import BASE, Answerer
from alignment.cases import ExplainCase, read_cases
from alignment.learning import Learning, digest, last_part
from alignment.reward_scores import RewardModel
from alignment.scorer import facts
from project_types import ConfigurationError
from training_service.checkpoints import load_optimizer, save_optimizer
from training_service.fitting import PROGRESS, recovered, replace_folder
from training_service.heads import ScalarModel
from training_service.ppo import Controller, PpoOptions, Rollout, advantages, estimates, token_rewards, update
from training_service.scoring import score
from training_service.sequences import TokenSequence
from training_service.wire import ChatRequest

TRUTH = "truth"
Worth = Callable[[ExplainCase, str], float]


def command(arguments: argparse.Namespace) -> int:
    """Train and register the adapter."""
    cases = list(read_cases(arguments.cases / "train.jsonl"))[: arguments.limit]
    learning = Learning(arguments, "ppo")
    if arguments.dry_run:
        raise ConfigurationError(
            "ppo samples its own data: run it with --iterations 1, its bar says the time"
        )
    run = Ppo(learning, cases, _worth(learning, arguments.reward))
    history = run.all()
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


class Ppo:
    """One run: policy with value head, reference, and where it is saved."""

    def __init__(self, learning: Learning, cases: Sequence[ExplainCase], worth: Worth) -> None:
        assert learning.scalar is not None
        self.learning, self.cases, self._worth = learning, cases, worth
        self.model: ScalarModel = learning.scalar
        trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self._optimizer = AdamW(
            trained, lr=learning.arguments.learning_rate, betas=(0.9, 0.99), weight_decay=0.0
        )
        self._controller = Controller(target=learning.arguments.distance)
        self._reference: nn.Module = learning.base.model
        if learning.start is not None:
            self._reference = learning.base.policy(
                learning.registry.checked(learning.start.full_name, learning.base.sha256)
            )
        self.folder = learning.work / "last"

    def all(self) -> list[dict[str, float]]:
        """Run the iterations that are left and return the metrics of all."""
        history = self._resumed()
        wanted: int = self.learning.arguments.iterations
        with tqdm(total=wanted, initial=len(history), unit="iteration", desc="ppo") as bar:
            while len(history) < wanted:
                history.append(self.iteration(len(history)))
                self._save(history)
                bar.update(1)
                bar.set_postfix(
                    reward=f"{history[-1]['reward']:.3f}", distance=f"{history[-1]['distance']:.2f}"
                )
        return history

    def iteration(self, number: int) -> dict[str, float]:
        """Sample, reward, update; returns metrics."""
        asked = self.learning.arguments
        rng = random.Random(f"{asked.seed}-{number}")
        cases = rng.choices(self.cases, k=asked.items_per_step)
        choices = asyncio.run(self._sampled(cases, number))
        worths = [
            self._worth(case, str(choice["message"]["content"] or ""))
            for case, choice in zip(cases, choices, strict=True)
        ]
        rollouts, distance = self._rollouts(choices, worths)
        metrics = update(self.model, self._optimizer, rollouts, PpoOptions(), self.learning.precision)
        coefficient = self._controller.update(distance, len(cases))
        more = {"reward": sum(worths) / len(worths), "distance": distance, "coefficient": coefficient}
        tokens = sum(len(choice["token_ids"]) for choice in choices) / len(choices)
        return metrics | more | {"tokens": tokens}

    async def _sampled(self, cases: Sequence[ExplainCase], number: int) -> list[dict[str, Any]]:
        """Let the policy as it is now answer, in a folder that the engine has not seen."""
        place = self.learning.work / f"policy-{number}"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        self.learning.base.save(self.learning.model, place, number)
        answerer = Answerer(self.learning.base, {"policy": place})
        try:
            return list(
                await asyncio.gather(*(self._answer(answerer, case, n) for n, case in enumerate(cases)))
            )
        finally:
            answerer.close()
            shutil.rmtree(place, ignore_errors=True)

    async def _answer(self, answerer: Answerer, case: ExplainCase, number: int) -> dict[str, Any]:
        asked = {"model": BASE, "messages": case.messages(), "temperature": 1.0, "seed": number}
        more = {"max_completion_tokens": self.learning.arguments.words}
        reply = await answerer.complete("policy", ChatRequest.model_validate(asked | more))
        return dict(reply["choices"][0])

    def _rollouts(
        self, choices: Sequence[dict[str, Any]], worths: Sequence[float]
    ) -> tuple[list[Rollout], float]:
        """Return what is learnt from, and the mean distance of an answer from the reference."""
        base, precision, options = self.learning.base, self.learning.precision, PpoOptions()
        rollouts, distances = [], []
        for choice, worth in zip(choices, worths, strict=True):
            sequence = TokenSequence()
            sequence.append(choice["prompt_token_ids"], None)
            sequence.append(choice["token_ids"], [0.0] * len(choice["token_ids"]))
            with torch.no_grad():
                known = estimates(self.model, [sequence], precision)
                reference = score(self._reference, [sequence], base.device, precision).logprobs.tolist()
            old, values = known.logprobs.tolist(), known.values.tolist()
            rewards = token_rewards(worth, old, reference, self._controller.coefficient)
            earned, returns = advantages(rewards, values, options.discount, options.decay)
            rollouts.append(Rollout(sequence, old, values, earned, returns))
            distances.append(sum(old) - sum(reference))
        return rollouts, sum(distances) / len(distances)

    def _save(self, history: Sequence[dict[str, float]]) -> None:
        def write(fresh: Path) -> None:
            self.learning.save(fresh)
            save_optimizer(self.model, self._optimizer, fresh)
            progress = {
                "origin": self._origin(),
                "coefficient": self._controller.coefficient,
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
        load_optimizer(
            self.model, self._optimizer, self.folder, PpoOptions().epochs * len(progress["history"])
        )
        self._controller.coefficient = progress["coefficient"]
        return list(progress["history"])

    def _origin(self) -> str:
        asked, start = self.learning.arguments, self.learning.start
        from_what = start.full_name if start else BASE
        settings = (
            asked.learning_rate,
            asked.items_per_step,
            asked.seed,
            asked.reward,
            asked.distance,
            asked.words,
        )
        return (
            f"{digest([case.id for case in self.cases])} {from_what} {self.learning.base.sha256} {settings}"
        )
