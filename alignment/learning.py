"""One training of the room: a base model, an adapter to start from, items to learn, and a
registered adapter at the end.

The work folder holds the last saved step, so that the same command goes on after a kill. What an adapter was
made from goes onto its card. The reference of DPO is the start adapter: it is noted once, before the first
step, and kept in the work folder. Not here: the loop and the losses (`training_service.fitting`,
`objectives`, `heads`).
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from alignment.adapters import Card, Registry
from project_types import ConfigurationError
from training_service.base_models import Base, LoraShape, locate, pick_device
from training_service.checkpoints import read_state
from training_service.engine import RequestError, TrainingError
from training_service.fitting import Fitting, Objective, Recipe, progress_in
from training_service.heads import HEAD, ScalarModel
from training_service.precision import Precision, choose
from training_service.sequences import TokenSequence

WORK = Path("runs/alignment/work")
NOTED = ".noted"
"""Below the adapters: what an adapter that DPO started from says of each pair."""


class Learning:
    """A base model with an adapter in training."""

    def __init__(self, arguments: argparse.Namespace, kind: str) -> None:
        """Load the base model and the start adapter. Raises ConfigurationError that names the fix."""
        self.arguments, self.kind = arguments, kind
        self.work: Path = arguments.work or WORK / arguments.name
        self.registry = Registry(arguments.adapters)
        self.base = opened(arguments.base_model, arguments.rank)
        self.precision: Precision = choose(arguments.precision, self.base.device).precision
        self.start: Card | None = None
        torch.manual_seed(arguments.seed)
        self.model: nn.Module = self.base.fresh_trainee()
        if name := getattr(arguments, "start", None):
            self.start = self.registry.card(name)
            self.base.load(self.model, self.registry.checked(self.start.full_name, self.base.sha256))
        self.scalar = ScalarModel(self.model, self.base.device) if kind in ("reward", "ppo") else None

    @property
    def recipe(self) -> Recipe:
        """Return how the items are gone through."""
        asked = self.arguments
        return Recipe(
            learning_rate=asked.learning_rate,
            epochs=asked.epochs,
            items_per_step=asked.items_per_step,
            seed=asked.seed,
        )

    def save(self, folder: Path) -> None:
        """Write what was trained (`fitting.Keeper`)."""
        self.base.save(self.model, folder, 0)
        if self.scalar is not None:
            self.scalar.save_head(folder)

    def load(self, folder: Path) -> None:
        """Read it back (`fitting.Keeper`)."""
        self.base.load(self.model, folder)
        if self.scalar is not None:
            self.scalar.load_head(folder)

    def origin(self, data: str) -> str:
        """Return what makes a work folder another one: the data's digest, the start adapter, and the base."""
        return f"{data} from {self.start.full_name if self.start else 'the base'} {self.base.sha256}"

    def reference(self, answers: Sequence[TokenSequence]) -> Path:
        """Return where it is noted what the start adapter says of these answers, for every run that begins so.

        The name follows from all that counts: tokens rather than texts, since a chat template may change.
        """
        files = dict(self.start.files) if self.start else {}
        read = [(one.tokens, one.sampled) for one in answers]
        key = digest([read, self.base.sha256, files, self.precision])
        return self.registry.folder / NOTED / f"{key[:32]}.json"

    def check(self, data: str) -> None:
        """Raise ConfigurationError when the work folder is of another training,
        before anything is computed.
        """
        begun = progress_in(self.work / "last")
        if begun is not None and begun["data"] != self.origin(data):
            raise ConfigurationError(
                f"{self.work} is of other pairs or another start; give another --name or --work"
            )

    def run(self, objective: Objective[Any], items: Sequence[Any], data: str) -> list[dict[str, float]]:
        """Train with a progress bar; returns the metrics of every step. `data` is the digest of the rows.

        Raises ConfigurationError when the work folder is of another training, or when training diverges.
        """
        self.work.mkdir(parents=True, exist_ok=True)
        trained = self.model if self.scalar is None else self.scalar
        origin = self.origin(data)
        fitting = Fitting(
            trained, objective, self.recipe, self.work / "last", self, self.arguments.save_every, origin
        )
        steps = self.recipe.steps(len(items))
        with tqdm(total=steps, unit="step", desc=self.kind, mininterval=5) as bar:

            def report(metrics: Mapping[str, float]) -> None:
                bar.update(1)
                bar.set_postfix(
                    loss=f"{metrics['loss']:.3f}", tok_s=f"{metrics['tokens'] / metrics['seconds']:.0f}"
                )

            bar.update(_steps_done(self.work / "last"))
            try:
                return fitting.run(items, report)
            except (TrainingError, RequestError) as trouble:
                raise ConfigurationError(f"{self.arguments.name}: {trouble}") from trouble

    def register(self, metrics: Mapping[str, float], data_sha256: str) -> Card:
        """Register the last saved step as the next version of its name."""
        last = self.work / "last"
        finished = self.work / "finished"
        finished.mkdir(exist_ok=True)
        for path in last.iterdir():
            if path.name in KEPT:
                (finished / path.name).write_bytes(path.read_bytes())
        state = read_state(last)
        asked = self.arguments
        settings = {name: getattr(asked, name) for name in SETTINGS if getattr(asked, name, None) is not None}
        facts = {"base_model": state.base_model, "base_sha256": state.base_sha256, "kind": self.kind}
        more = {"start": self.start.full_name if self.start else "", "data_sha256": data_sha256}
        return self.registry.add(
            finished, asked.name, facts | more | {"settings": settings, "metrics": dict(metrics)}
        )


KEPT = ("adapter_config.json", "adapter_model.safetensors", "state.json", HEAD)
SETTINGS = (
    "learning_rate",
    "epochs",
    "items_per_step",
    "seed",
    "rank",
    "beta",
    "ld_alpha",
    "per_token",
    "imitation",
    "limit",
)


def opened(name: str, rank: int = 16) -> Base:
    """Load a base model for adapters. Raises ConfigurationError that names the fix."""
    ((short, folder),) = locate([name]).items()
    return Base(short, folder, pick_device("auto"), adapt="lora", lora=LoraShape(rank, 2 * rank))


def digest(rows: Sequence[Any]) -> str:
    """Return the SHA-256 of what is learnt from."""
    text = "\n".join(json.dumps(row, sort_keys=True, default=str) for row in rows)
    return hashlib.sha256(text.encode()).hexdigest()


def last_part(history: Sequence[Mapping[str, float]], share: float = 0.2) -> dict[str, float]:
    """Return the means of the metrics over the last steps."""
    rows = history[-max(1, round(share * len(history))) :]
    names = set(rows[-1]).intersection(*rows)
    return {name: _mean(rows, name) for name in rows[-1] if name in names}


def _mean(rows: Sequence[Mapping[str, float]], name: str) -> float:
    return fmean(row[name] for row in rows)


def _steps_done(folder: Path) -> int:
    begun = progress_in(folder)
    return 0 if begun is None else len(begun["history"])
