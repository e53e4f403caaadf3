"""Training on data that is there from the start: demonstrations and pairs, in epochs that can be resumed.

One loop for every objective. A step takes a number of items, split into micro-batches by tokens, and is one
AdamW step with a learning rate that rises, then falls in a straight line. Every few steps weights, optimizer
and place are saved, whole or not at all. So the process may be killed at any time and goes on from there. The
same seed gives the same order.

Not here: what is learnt (`objectives`), and GRPO, whose data is sampled anew for each step (`training`).
"""

from __future__ import annotations

import json
import math
import random
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from torch import Tensor, nn
from torch.optim import AdamW

from training_service.checkpoints import load_optimizer, save_optimizer
from training_service.engine import TrainingError
from training_service.side_by_side import add_gradients, lanes

T = TypeVar("T")
Read = TypeVar("Read", contravariant=True)
PROGRESS = "progress.json"


@dataclass(frozen=True)
class Recipe:
    """How items are gone through."""

    learning_rate: float = 2e-4
    epochs: float = 1.0
    items_per_step: int = 16
    warm_up: float = 0.1
    """Share of the steps in which the learning rate rises."""
    lowest: float = 0.1
    """Share of the learning rate at the end."""
    micro_batch_tokens: int = 1536
    max_grad_norm: float = 1.0
    seed: int = 0

    def steps(self, items: int) -> int:
        """Return how many steps so many items take."""
        return max(1, math.ceil(self.epochs * items / self.items_per_step)) if items else 0

    def rate(self, step: int, steps: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        rising = max(1, round(self.warm_up * steps))
        if step < rising:
            return self.learning_rate * (step + 1) / rising
        fallen = (step - rising) / max(1, steps - rising)
        return self.learning_rate * (1 - (1 - self.lowest) * fallen)


class Objective(Protocol[Read]):
    """What is learnt from items."""

    def size(self, item: Read) -> int:
        """Return the tokens that an item costs."""
        ...

    def weight(self, item: Read) -> float:
        """Return what an item counts for in the mean of a step: its learnt tokens, or 1."""
        ...

    def loss(self, model: nn.Module, items: Sequence[Read]) -> tuple[Tensor, dict[str, float]]:
        """Return the sum of the items' weighted losses, and sums of whatever is worth watching."""
        ...


class Keeper(Protocol):
    """Writes and reads the trained weights in a folder."""

    def save(self, folder: Path) -> None: ...

    def load(self, folder: Path) -> None: ...


@dataclass
class Fitting(Generic[T]):
    """One objective on one set of items, under way or to be resumed."""

    model: nn.Module
    objective: Objective[T]
    recipe: Recipe
    folder: Path | None = None
    """Where progress is saved; None saves nothing."""
    keeper: Keeper | None = None
    save_every: int = 10
    data: str = ""
    """What the items are, and what they start from. Progress on other data is not gone on with."""

    def run(
        self,
        items: Sequence[T],
        report: Callable[[Mapping[str, float]], None] = lambda _: None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> list[dict[str, float]]:
        """Take the steps that are left and return the metrics of all, those of earlier processes included.

        Raises TrainingError when cancelled, and for a loss or gradient that is not finite.
        """
        trainable = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        optimizer = AdamW(trainable, lr=self.recipe.learning_rate, betas=(0.9, 0.99), weight_decay=0.0)
        history = self._resumed(optimizer)
        steps = self.recipe.steps(len(items))
        for step, batch in enumerate(_batches(items, self.recipe, steps)):
            if step < len(history):
                continue
            if cancelled():
                raise TrainingError("the training was stopped; start it again to go on")
            history.append(self._step(batch, optimizer, step, steps))
            report(history[-1])
            if len(history) % self.save_every == 0 or len(history) == steps:
                self._save(optimizer, history)
        return history

    def _step(self, batch: Sequence[T], optimizer: AdamW, step: int, steps: int) -> dict[str, float]:
        began = time.perf_counter()
        weight, sums = sum(map(self.objective.weight, batch)), dict[str, float]()
        tokens = sum(map(self.objective.size, batch))
        optimizer.zero_grad(set_to_none=True)
        share = math.ceil(tokens / lanes(self.model.parameters()))  # so that no core is left without one
        limit = min(self.recipe.micro_batch_tokens, share)
        parts = list(_micro_batches(batch, self.objective.size, limit))
        for seen in add_gradients(self.model.parameters(), parts, lambda part: self._loss(part, weight)):
            for name, value in seen.items():
                sums[name] = sums.get(name, 0.0) + value
        norm = self._clipped(optimizer, sums["loss"])
        for group in optimizer.param_groups:
            group["lr"] = self.recipe.rate(step, steps)
        optimizer.step()
        seconds = time.perf_counter() - began
        means = {name: value / weight for name, value in sums.items()}
        more = {"grad_norm": norm, "learning_rate": self.recipe.rate(step, steps), "tokens": float(tokens)}
        return means | more | {"seconds": seconds}

    def _loss(self, part: Sequence[T], weight: float) -> tuple[Tensor, dict[str, float]]:
        """Return what a micro-batch adds to the mean of a step, and its sums."""
        loss, seen = self.objective.loss(self.model, part)
        return loss / weight, seen | {"loss": float(loss.detach())}

    def _clipped(self, optimizer: AdamW, loss: float) -> float:
        trainable = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        norm = float(nn.utils.clip_grad_norm_(trainable, self.recipe.max_grad_norm))
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise TrainingError("the loss or its gradient is not finite; lower the learning rate and go on")
        return norm

    def _save(self, optimizer: AdamW, history: Sequence[Mapping[str, float]]) -> None:
        keeper = self.keeper
        if self.folder is None or keeper is None:
            return

        def write(fresh: Path) -> None:
            keeper.save(fresh)
            save_optimizer(self.model, optimizer, fresh)
            progress = {"recipe": asdict(self.recipe), "data": self.data, "history": list(history)}
            (fresh / PROGRESS).write_text(json.dumps(progress), encoding="utf-8")

        replace_folder(self.folder, write)

    def _resumed(self, optimizer: AdamW) -> list[dict[str, float]]:
        """Read what an earlier process saved; nothing when there is nothing.

        Raises TrainingError when it was another recipe.
        """
        if self.folder is None or self.keeper is None:
            return []
        progress = progress_in(self.folder)
        if progress is None:
            return []
        if (progress["recipe"], progress["data"]) != (asdict(self.recipe), self.data):
            raise TrainingError(
                f"{self.folder} was begun with other settings or data; give the same ones to go on, or another folder"
            )
        self.keeper.load(self.folder)
        load_optimizer(self.model, optimizer, self.folder, len(progress["history"]))
        return list(progress["history"])


def progress_in(folder: Path) -> dict[str, Any] | None:
    """Return what was saved of a training: its recipe, its data and its history. None when nothing was."""
    path = recovered(folder) / PROGRESS
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def replace_folder(folder: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a folder aside, then swap: a killed process leaves the old folder or the new one."""
    fresh, old = folder.with_suffix(".fresh"), folder.with_suffix(".old")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    write(fresh)
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    fresh.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def recovered(folder: Path) -> Path:
    """Return the folder, put back when a process was killed between the two renames of a swap."""
    old = folder.with_suffix(".old")
    if not folder.exists() and old.exists():
        old.rename(folder)
    return folder


def _batches(items: Sequence[T], recipe: Recipe, steps: int) -> Iterator[list[T]]:
    """Yield the items of each step; every epoch has an order of its own."""
    order: list[int] = []
    for epoch in range(math.ceil(recipe.epochs)):
        fresh = list(range(len(items)))
        random.Random(f"{recipe.seed}-{epoch}").shuffle(fresh)
        order += fresh
    for step in range(steps):
        yield [items[number] for number in order[step * recipe.items_per_step :][: recipe.items_per_step]]


def _micro_batches(batch: Sequence[T], size: Callable[[T], int], limit: int) -> Iterator[list[T]]:
    """Yield items up to `limit` tokens, alike in length; one above the limit goes alone."""
    part: list[T] = []
    tokens = 0
    for item in sorted(batch, key=size):
        if part and tokens + size(item) > limit:
            yield part
            part, tokens = [], 0
        part.append(item)
        tokens += size(item)
    if part:
        yield part
