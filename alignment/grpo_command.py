"""`python -m alignment grpo`: group-relative policy optimisation with a reward in the loop.

Each iteration answers a few cases `--group` times each. An answer is compared with the others to its case: no
value head is needed. The gradient step is that of the training service, and a penalty holds the policy near
the start adapter. At the same `--items-per-step` and `--iterations` it gets as many answers as `ppo`. Not
here: the loop (`rewarded`), groups and advantages (`training_service.sequences`), the step
(`training_service.training`).
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from typing import Any

from alignment.cases import ExplainCase
from alignment.rewarded import Rewarded, run
from project_types import ConfigurationError
from training_service.sequences import batch_of
from training_service.training import JobConfig, Trainer, TrainingOptions


def command(arguments: argparse.Namespace) -> int:
    """Train and register the adapter. Raises ConfigurationError for groups that do not fill a step."""
    if arguments.group < 2 or arguments.items_per_step % arguments.group:
        raise ConfigurationError(
            f"--items-per-step {arguments.items_per_step} is no multiple of --group {arguments.group} (2 at least)"
        )
    return run(arguments, "grpo", Grpo)


class Grpo(Rewarded):
    """GRPO: the answers to one case are a group."""

    def draw(self, rng: random.Random) -> list[ExplainCase]:
        asked = self.learning.arguments
        cases = rng.choices(self.cases, k=asked.items_per_step // asked.group)
        return [case for case in cases for _ in range(asked.group)]

    def learn(
        self, cases: Sequence[ExplainCase], choices: Sequence[dict[str, Any]], worths: Sequence[float]
    ) -> dict[str, float]:
        answers = [
            {"reward": worth, "messages_and_choices": [choice]}
            for choice, worth in zip(choices, worths, strict=True)
        ]
        size = self.learning.arguments.group
        batch = batch_of(
            [{"trajectories": answers[start : start + size]} for start in range(0, len(answers), size)]
        )
        flat = {"flat_groups": float(batch.flat_groups)}
        if not batch.sequences:  # all answers to each case were worth the same: nothing to learn
            return flat
        (metrics,) = self._trainer().train(batch.sequences, lambda _: None, lambda: False)
        self.steps += 1
        return metrics | flat

    def _trainer(self) -> Trainer:
        asked, learning = self.learning.arguments, self.learning
        options = TrainingOptions(learning_rate=asked.learning_rate, precision=learning.precision)
        job = JobConfig.of({"learning_rate": asked.learning_rate, "kl_penalty_coef": asked.penalty}, options)
        return Trainer(self.model, self.optimizer, job, options, learning.base.device, base=self.reference)
