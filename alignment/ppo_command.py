"""`python -m alignment ppo`: proximal policy optimisation with a reward in the loop.

Each iteration takes PPO's gradient steps on the sampled answers. The distance is that from the start adapter,
and a controller keeps it near `--distance`. Not here: the loop (`rewarded`) and the update itself
(`training_service.ppo`).
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from typing import Any

import torch

from alignment.cases import ExplainCase
from alignment.learning import Learning
from alignment.rewarded import Rewarded, Worth, run
from training_service.heads import ScalarModel
from training_service.ppo import Controller, PpoOptions, Rollout, advantages, estimates, token_rewards, update
from training_service.scoring import score
from training_service.sequences import TokenSequence
from training_service.side_by_side import in_lanes


def command(arguments: argparse.Namespace) -> int:
    """Train and register the adapter."""
    return run(arguments, "ppo", Ppo)


class Ppo(Rewarded):
    """PPO: a value head, and a controller of the distance."""

    def __init__(self, learning: Learning, cases: Sequence[ExplainCase], worth: Worth) -> None:
        super().__init__(learning, cases, worth)
        self._controller = Controller(target=learning.arguments.distance)

    def draw(self, rng: random.Random) -> list[ExplainCase]:
        return rng.choices(self.cases, k=self.learning.arguments.items_per_step)

    def learn(
        self, cases: Sequence[ExplainCase], choices: Sequence[dict[str, Any]], worths: Sequence[float]
    ) -> dict[str, float]:
        assert isinstance(self.model, ScalarModel)
        self._controller.coefficient = self.kept.get("coefficient", self._controller.coefficient)
        rollouts, distance = self._rollouts(choices, worths)
        metrics = update(self.model, self.optimizer, rollouts, PpoOptions(), self.learning.precision)
        self.steps += PpoOptions().epochs
        coefficient = self._controller.update(distance, len(cases))
        self.kept = {"coefficient": coefficient}
        return metrics | {"distance": distance, "coefficient": coefficient}

    def _rollouts(
        self, choices: Sequence[dict[str, Any]], worths: Sequence[float]
    ) -> tuple[list[Rollout], float]:
        """Return what is learnt from, and the mean distance of an answer from the reference."""
        assert isinstance(self.model, ScalarModel)
        base, precision, options = self.learning.base, self.learning.precision, PpoOptions()
        model = self.model

        def rollout(sampled: tuple[dict[str, Any], float]) -> tuple[Rollout, float]:
            choice, worth = sampled
            sequence = TokenSequence()
            sequence.append(choice["prompt_token_ids"], None)
            sequence.append(choice["token_ids"], [0.0] * len(choice["token_ids"]))
            with torch.no_grad():
                known = estimates(model, [sequence], precision)
                reference = score(self.reference, [sequence], base.device, precision).logprobs.tolist()
            old, values = known.logprobs.tolist(), known.values.tolist()
            rewards = token_rewards(worth, old, reference, self._controller.coefficient)
            earned, returns = advantages(rewards, values, options.discount, options.decay)
            return Rollout(sequence, old, values, earned, returns), sum(old) - sum(reference)

        sampled = list(zip(choices, worths, strict=True))
        found = list(in_lanes(model.parameters(), sampled, rollout))
        return [one for one, _ in found], sum(distance for _, distance in found) / len(found)
