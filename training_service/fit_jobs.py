"""Jobs on data that comes whole: `sft`, `dpo` and `reward`, one trainer each.

A job is a pass (or several) over its rows from a checkpoint, like a GRPO job, and becomes one step of its
model. The reference of `dpo` is the checkpoint it starts from, adapters included, not the bare base model.
A `reward` checkpoint has a head beside its adapter. Not here: the losses (`objectives`, `heads`), GRPO
(`training`), and long fits that are resumed in the middle (`alignment`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from training_service.base_models import Base
from training_service.engine import Cancelled, Report, TrainingError
from training_service.examples import demonstration, pair
from training_service.fitting import Fitting, Recipe
from training_service.heads import HEAD, Rank, ScalarModel
from training_service.objectives import Imitate, Prefer, referred
from training_service.precision import Precision

Rows = Sequence[Mapping[str, Any]]
Fit = tuple[Any, list[Any]]
RECIPE = ("learning_rate", "epochs", "items_per_step", "seed")
"""Keys of a job's configuration that say how rows are gone through; the others belong to the loss."""


class FitJob:
    """One job: what is trained, on what, and how it is saved."""

    def __init__(self, base: Base, source: Path, kind: str, precision: Precision) -> None:
        self._base, self._kind, self._precision = base, kind, precision
        self.model: nn.Module = base.trainee(source)
        self.scalar = ScalarModel(self.model, base.device) if kind == "reward" else None
        if self.scalar is not None and (source / HEAD).exists():
            self.scalar.load_head(source)

    def run(
        self, rows: Rows, config: Mapping[str, Any], report: Report, cancelled: Cancelled
    ) -> list[dict[str, float]]:
        """Train and return the metrics of each step. Raises TrainingError that the client can act on."""
        recipe = Recipe(**{name: config[name] for name in RECIPE if name in config})
        own = {name: value for name, value in config.items() if name not in RECIPE}
        objective, items = KINDS[self._kind](self, rows, own)
        for number, size in enumerate(map(objective.size, items)):
            if size > 2 * self._base.context:
                raise TrainingError(
                    f"row {number} has {size} tokens, the context is {self._base.context}; shorten it"
                )
        report({"num_sequences": recipe.steps(len(items))})
        trained = self.model if self.scalar is None else self.scalar
        return Fitting(trained, objective, recipe).run(items, report, cancelled)

    def save(self, target: Path, steps: int) -> None:
        """Write the weights that were trained."""
        self._base.save(self.model, target, steps)
        if self.scalar is not None:
            self.scalar.save_head(target)

    def sft(self, rows: Rows, own: dict[str, Any]) -> Fit:
        """Rows are `{messages, tools?}`."""
        if own:
            raise TrainingError(f"{next(iter(own))}: not an option of sft; leave it out")
        sequences = [demonstration(self._base.chat, row) for row in rows]
        return Imitate(self._base.device, self._precision), sequences

    def dpo(self, rows: Rows, own: dict[str, Any]) -> Fit:
        """Rows are `{messages, chosen, rejected, tools?}`."""
        pairs = [pair(self._base.chat, row) for row in rows]
        known = referred(self.model, pairs, self._base.device, self._precision)
        return Prefer(self._base.device, self._precision, **own), known

    def reward(self, rows: Rows, own: dict[str, Any]) -> Fit:
        """Rows are those of dpo."""
        if own:
            raise TrainingError(f"{next(iter(own))}: not an option of reward; leave it out")
        return Rank(self._precision), [pair(self._base.chat, row) for row in rows]


KINDS: dict[str, Callable[[FitJob, Rows, dict[str, Any]], Fit]] = {
    "sft": FitJob.sft,
    "dpo": FitJob.dpo,
    "reward": FitJob.reward,
}
