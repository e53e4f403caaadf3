"""How good a checkpoint is: val and test, at temperature 0 and, where asked for, sampled at temperature 1.

What is stored already is not played again, so that a run that was killed goes on in the middle.
Not here: which checkpoint is the best (`best_checkpoint`), what a number means (`summary`).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from core.episode_store.run_folder import GREEDY, SAMPLED
from core.episode_store.run_writer import RunWriter
from project_types import Scenario, TrainingConfig
from training_runs.backend import Backend
from training_runs.best_checkpoint import best_checkpoint, selection, val_rewards
from training_runs.episodes import missing
from training_runs.failed_rollouts import TooManyFailures
from training_runs.metrics_row import words
from training_runs.progress import Progress
from training_runs.rollout_batch import Played
from training_runs.rollouts import Rollouts
from training_runs.terminal import say
from training_runs.wandb_log import TrainingLog

if TYPE_CHECKING:
    import art

TRIES = 3
"""How often a rollout of an evaluation is asked for: leaving failed ones out would bias the mean."""
LOGGED = ("reward", "accuracy", "accuracy_low", "accuracy_high", "grounded")


class Evaluations:
    """Validates and tests the checkpoints of one run."""

    def __init__(
        self,
        folder: RunWriter,
        config: TrainingConfig,
        scenarios: Mapping[str, Sequence[Scenario]],
        backend: Backend,
        rollouts: Rollouts,
        progress: Progress,
        wandb: TrainingLog,
    ) -> None:
        self._folder, self._config, self._scenarios = folder, config, scenarios
        self._backend, self._rollouts = backend, rollouts
        self._progress, self._wandb = progress, wandb

    async def test(self, checkpoint: int) -> None:
        """Test a checkpoint at temperature 0, and k times at temperature 1."""
        await self._examine("test", checkpoint, GREEDY)
        await self._examine("test", checkpoint, SAMPLED)

    async def validate(self) -> None:
        """Validate the latest checkpoint, remember the best, drop the checkpoints that are neither."""
        latest = self._progress.checkpoint
        await self._examine("val", latest, SAMPLED)
        await self._examine("val", latest, GREEDY)
        rewards = val_rewards(self._folder.rows)
        self._progress.remember(best_checkpoint=best_checkpoint(rewards, otherwise=latest))
        if rewards:
            await self._backend.surviving(partial(self._backend.model.delete_checkpoints, "val/selection"))

    def _samples(self, split: str, kind: str) -> int:
        if kind == GREEDY:
            return 1
        return self._config.val_samples if split == "val" else self._config.test_samples

    async def _examine(self, split: str, checkpoint: int, kind: str) -> None:
        """Run a split with one checkpoint, and log it, unless that was done before."""
        name = split if kind == GREEDY else f"{split}_sampled"
        done = any(row["step"] == checkpoint for row in self._folder.of(name))
        if done or not self._scenarios[split] or not self._samples(split, kind):
            return
        played = await self._played(name, split, checkpoint, kind)
        row = self._progress.row(name, checkpoint, played)
        numbers = {key: float(row[key]) for key in LOGGED}
        if name == "val":
            numbers["selection"] = selection(val_rewards(self._folder.rows), checkpoint)
        await self._backend.model.log(played.groups, split=name, metrics=numbers, step=checkpoint)
        self._wandb.examined(name, checkpoint, played.episodes)
        interval = f"[{row['accuracy_low']:.0%}, {row['accuracy_high']:.0%}]"
        say(f"{name} at step {checkpoint}: {words(row)} {interval}")

    async def _played(self, name: str, split: str, checkpoint: int, kind: str) -> Played:
        """Play what is missing. Raises TooManyFailures when every rollout failed."""
        path, title = self._folder.episodes_path(split, checkpoint, kind), f"{name} at step {checkpoint}"
        began, groups, failures = time.monotonic(), list["art.TrajectoryGroup"](), Counter[str]()
        fixed: dict[str, Any] = {"path": path, "split": split, "at": checkpoint}
        for _ in range(TRIES):
            stored = self._folder.episodes(split, checkpoint, kind)
            wanted = missing(stored, self._scenarios[split], self._samples(split, kind))
            if not wanted:
                break
            temperature = 0.0 if kind == GREEDY else 1.0
            play = partial(self._rollouts.play, title, wanted, temperature=temperature, **fixed)
            played = await self._backend.surviving(play)
            groups += played.groups
            failures += played.failures
        episodes = self._folder.episodes(split, checkpoint, kind)
        if not episodes:
            raise TooManyFailures(f"{title}: every rollout failed: {'; '.join(failures)}")
        return Played(groups, episodes, failures, time.monotonic() - began)
