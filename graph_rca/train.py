"""Step 8: supervised training: early stopping on validation, seeds, resume, progress; weights with a hash.

The loss is the cross-entropy of the true service under a softmax over the services of its incident. Training
loses modalities at random, so that the network also ranks what it gets when a source is down. The best epoch
on val is kept. A killed run goes on from its last whole epoch; the same seed gives the same weights on one
machine.
"""

from __future__ import annotations

import copy
import io
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from core.files import replace_file
from graph_rca.batches import Projection, batch_of, lossy, shuffled, vectors_of
from graph_rca.dataset import Labelled
from graph_rca.model import Batch, Ranker, Settings, log_softmax
from project_types import ConfigurationError


class Plan(NamedTuple):
    """How to train."""

    epochs: int = 60
    patience: int = 12
    batch: int = 32
    learning_rate: float = 2e-3
    weight_decay: float = 2e-2
    seed: int = 0
    threads: int = 1


USUAL = Plan()


class Epoch(NamedTuple):
    """What an epoch gave."""

    number: int
    train_loss: float
    val_loss: float
    val_first: float
    """Share of val whose true service is ranked first."""
    seconds: float


class Trained(NamedTuple):
    """A network with the story of its training."""

    model: Ranker
    epochs: Sequence[Epoch]
    projection: Projection | None


def train(
    items: Sequence[Labelled],
    val: Sequence[Labelled],
    settings: Settings,
    plan: Plan = USUAL,
    *,
    resume: Path | None = None,
    tell: Callable[[Epoch], None] = lambda _: None,
) -> Trained:
    """Train one network. `resume` names a file that holds the state after each epoch.

    Raises:
        ConfigurationError: that file is of a training with other incidents or flags.
    """
    torch.set_num_threads(plan.threads)
    torch.manual_seed(plan.seed)
    projection = projection_of(items, settings) if settings.vectors else None
    model = Ranker(settings)
    _put_on_one_scale(model, items, projection)
    state = _State(model, plan, items)
    if resume and resume.exists():
        state.load(resume)
    checked = batch_of([one.graph for one in val], [one.truth for one in val], projection)
    while not state.finished():
        state.epoch(items, checked, projection)
        tell(state.epochs[-1])
        if resume:
            state.save(resume)
    model.load_state_dict(state.best)
    model.eval()
    return Trained(model, state.epochs, projection)


class _State:
    """Everything that a killed run needs to go on."""

    def __init__(self, model: Ranker, plan: Plan, items: Sequence[Labelled]) -> None:
        self.model, self.plan = model, plan
        self.asked = [len(items), *plan, *model.settings]
        self.optimizer = torch.optim.AdamW(
            model.parameters(), plan.learning_rate, weight_decay=plan.weight_decay
        )
        steps = plan.epochs * -(-len(items) // plan.batch)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, plan.learning_rate, total_steps=steps + 1
        )
        self.epochs: list[Epoch] = []
        self.best: dict[str, Any] = copy.deepcopy(model.state_dict())
        self.best_loss, self.best_epoch = float("inf"), 0

    def finished(self) -> bool:
        """Say whether all epochs are done, or val has not improved for too long."""
        done = len(self.epochs)
        return done >= self.plan.epochs or done - self.best_epoch >= self.plan.patience > 0

    def epoch(self, items: Sequence[Labelled], val: Batch, projection: Projection | None) -> None:
        """Go over all incidents once."""
        started, number = time.monotonic(), len(self.epochs)
        rng = np.random.default_rng([self.plan.seed, number])
        torch.manual_seed(self.plan.seed * 10_007 + number)
        self.model.train()
        batches = shuffled(items, self.plan.batch, rng, projection)
        losses = [self._step(lossy(batch, rng)) for batch in batches]
        loss, first = measured(self.model, val)
        self.epochs.append(Epoch(number + 1, float(np.mean(losses)), loss, first, time.monotonic() - started))
        if loss < self.best_loss:
            self.best, self.best_loss = copy.deepcopy(self.model.state_dict()), loss
            self.best_epoch = number + 1

    def _step(self, batch: Batch) -> float:
        loss = loss_of(self.model, batch)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.schedule.step()
        return loss.item()

    def save(self, path: Path) -> None:
        """Keep the state. Raises OSError."""
        content = io.BytesIO()
        torch.save(
            {"asked": self.asked, "model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(),
             "schedule": self.schedule.state_dict(), "best": self.best, "best_loss": self.best_loss,
             "best_epoch": self.best_epoch, "epochs": [tuple(one) for one in self.epochs]}, content,
        )  # fmt: skip
        replace_file(path, content.getvalue())

    def load(self, path: Path) -> None:
        """Go on from a kept state. Raises ConfigurationError for that of a training with other flags."""
        kept = torch.load(path, weights_only=True)
        if kept["asked"] != self.asked:
            raise ConfigurationError(
                f"{path}: is the state of a training with other incidents or flags; delete it, or give another --out"
            )
        self.model.load_state_dict(kept["model"])
        self.optimizer.load_state_dict(kept["optimizer"])
        self.schedule.load_state_dict(kept["schedule"])
        self.best, self.best_loss, self.best_epoch = kept["best"], kept["best_loss"], kept["best_epoch"]
        self.epochs = [Epoch(*one) for one in kept["epochs"]]


def loss_of(model: Ranker, batch: Batch) -> Tensor:
    """Return the mean cross-entropy of the true services."""
    scores = log_softmax(model(batch), batch.graph_of, len(batch.truths))
    return -scores[batch.truths].mean()


@torch.no_grad()
def measured(model: Ranker, batch: Batch) -> tuple[float, float]:
    """Return (loss, share ranked first) without learning."""
    model.eval()
    scores = log_softmax(model(batch), batch.graph_of, len(batch.truths))
    most = scores.new_full((len(batch.truths),), -torch.inf).scatter_reduce(0, batch.graph_of, scores, "amax")
    return -scores[batch.truths].mean().item(), (scores[batch.truths] >= most).double().mean().item()


def projection_of(items: Sequence[Labelled], settings: Settings) -> Projection:
    """Return the directions in which sentence vectors differ most: their first principal components."""
    vectors = np.concatenate([vectors_of(one.graph, settings.encoder) for one in items])
    written = vectors[np.abs(vectors).sum(1) > 0]
    basis = torch.zeros(vectors.shape[1], settings.vectors)
    if len(written) >= settings.vectors:
        _, _, directions = np.linalg.svd(written - written.mean(0), full_matrices=False)
        basis = torch.from_numpy(np.ascontiguousarray(directions[: settings.vectors].T)).float()
    return Projection(settings.encoder, basis)


def _put_on_one_scale(model: Ranker, items: Sequence[Labelled], projection: Projection | None) -> None:
    whole = batch_of([one.graph for one in items], projection=projection)
    model.mean.copy_(whole.nodes.mean(0))
    model.scale.copy_(whole.nodes.std(0).clamp(min=0.05))
    model.edge_mean.copy_(whole.edge_features.mean(0))
    model.edge_scale.copy_(whole.edge_features.std(0).clamp(min=0.05))
