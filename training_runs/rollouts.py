"""Rollouts of one training run: which model plays, who judges, by which rules, and where the episodes go.

Not here: what an episode is (`rollout`), where it is played (`evaluation.rollout_executor`), how many run at
once and what may fail (`rollout_batch`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from core.episode_store.run_folder import ROLLOUTS
from core.episode_store.run_writer import RunWriter
from core.episode_store.tokens import write_tokens
from core.log_stores.pinned import PinnedDatabase
from core.policies.contract import Access
from core.policies.openai import openai_chat
from core.trajectory import trajectory
from evaluation.ray_executor import on_ray, site_of
from evaluation.rollout_executor import InProcess, RolloutExecutor, Unit
from project_types import Chat, Episode, Judge, Scenario, TrainingConfig
from rewards import training_reward
from training_runs.episodes import forget, writing
from training_runs.interruption import Interruption
from training_runs.rollout_batch import Played, Rollout, RolloutBatch, Wanted
from training_runs.verdict_flips import verdict_flips

if TYPE_CHECKING:
    import art


@asynccontextmanager
async def executor(
    config: TrainingConfig, model: art.TrainableModel, judge: Judge
) -> AsyncIterator[RolloutExecutor]:
    """Give what plays the rollouts of a run, for as long as the block lasts.

    Raises:
        ConfigurationError: there is no such cluster; says what to type.
    """
    if config.executor == "ray":
        address, key = model.inference_base_url, model.inference_api_key
        site = site_of(
            database=config.database.resolve(),
            judge=config.judge,
            seed=config.seed,
            access=Access(address, key or "", Path(), config.project, config.base_model),
            kind="openai",
            choices=True,
        )
        async with on_ray(site, config.workers, config.address) as cluster:
            yield cluster
        return

    def chat(unit: Unit) -> Chat:
        return openai_chat(model.openai_client(), unit.policy, unit.config)

    yield InProcess(chat, judge, PinnedDatabase(config.database))


class Rollouts:
    """Plays the model of a run."""

    def __init__(
        self,
        folder: RunWriter,
        config: TrainingConfig,
        model: art.TrainableModel,
        judge: Judge,
        executor: RolloutExecutor,
        interruption: Interruption,
    ) -> None:
        self._folder, self._config, self._model, self._judge = folder, config, model, judge
        self._executor, self._interruption = executor, interruption

    async def flips(self, scenarios: Sequence[Scenario], played: Played) -> float | None:
        """Judge a few answers again. See `verdict_flips`."""
        return await verdict_flips(self._judge, scenarios, played.episodes)

    async def play(
        self, title: str, wanted: Sequence[Wanted], path: Path, split: str, at: int, temperature: float
    ) -> Played:
        """Roll out with checkpoint `at` pinned, episodes going to `path`. See `RolloutBatch.play`.

        Raises:
            DatabaseError: the database is no longer the one that the run began with.
        """
        config = self._config
        with writing(path) as store:
            batch = RolloutBatch(
                title,
                wanted,
                self._one(split, at, temperature, path),
                store,
                failed_share=config.max_failed_share,
                at_once=config.max_concurrent,
                failed=self._folder.fail,
            )
            with self._interruption.stopping(batch.interrupt):
                return await batch.play()

    async def of_step(self, scenarios: Sequence[Scenario], step: int, checkpoint: int) -> Played:
        """Roll out what a step trains on, with the weights of a checkpoint. An
        earlier attempt is thrown away.
        """
        self.forget_step(step)
        wanted = [Wanted(scenario, range(self._config.rollouts_per_group)) for scenario in scenarios]
        path, temperature = self._path(step), self._config.episode.temperature
        return await self.play(f"step {step}", wanted, path, "train", checkpoint, temperature)

    def abandon(self) -> None:
        """Stop every batch under way."""
        self._interruption.stop()

    def forget_step(self, step: int) -> None:
        """Throw away what was stored of a batch that became no step."""
        forget(self._path(step))

    def _path(self, step: int) -> Path:
        return self._folder.episodes_path("train", step, ROLLOUTS)

    def _one(self, split: str, at: int, temperature: float, path: Path) -> Rollout:
        """Return what plays one unit, stores its tokens beside the episodes of `path`,
        and makes it a trajectory.

        A trajectory of an evaluation holds messages in place of Choices: nothing is trained on it, and a
        Choice takes about a kilobyte for each token it wrote.
        """
        policy = self._model.get_inference_name(at)
        rules = self._config.episode.model_copy(update={"temperature": temperature})

        async def played(scenario: Scenario, *, sample: int) -> tuple[art.Trajectory, Episode]:
            unit = Unit(scenario=scenario, sample=sample, policy=policy, config=rules, split=split)
            rolled = await self._executor.play(unit)
            write_tokens(path, rolled.episode, [choice for choice in rolled.choices if choice is not None])
            if split != "train":
                return trajectory(
                    rolled.episode, [None] * len(rolled.choices), rolled.offered
                ), rolled.episode
            made = trajectory(rolled.episode, rolled.choices, rolled.offered)
            made.reward = training_reward(rolled.episode, evidence=self._config.evidence_reward)
            return made, rolled.episode

        return played
