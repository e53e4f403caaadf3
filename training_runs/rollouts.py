"""Rollouts of one training run: which model plays, who judges, by which rules, and where the episodes go.

Not here: what an episode is (`rollout`), how many run at once and what may fail (`rollout_batch`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from core.episode_store.run_writer import RunWriter
from core.log_stores.pinned import PinnedDatabase
from project_types import Episode, Judge, Scenario, TrainingConfig
from rollout import rollout_with_episode
from training_runs.episodes import with_tokens, writing
from training_runs.interruption import Interruption
from training_runs.rollout_batch import Played, Rollout, RolloutBatch, Wanted
from training_runs.verdict_flips import verdict_flips

if TYPE_CHECKING:
    import art


class Rollouts:
    """Plays the model of a run."""

    def __init__(
        self,
        folder: RunWriter,
        config: TrainingConfig,
        model: art.TrainableModel,
        judge: Judge,
        interruption: Interruption,
    ) -> None:
        self._folder, self._config, self._model, self._judge = folder, config, model, judge
        self._interruption = interruption
        self._pinned = PinnedDatabase(config.database)

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
        one = partial(
            rollout_with_episode,
            self._model,
            database=config.database,
            judge=self._judge,
            config=config.episode.model_copy(update={"temperature": temperature}),
            step=at,
            split=split,
        )
        with writing(path) as store:
            batch = RolloutBatch(
                title,
                wanted,
                self._on_the_same_rows(with_tokens(one, path)),
                store,
                failed_share=config.max_failed_share,
                at_once=config.max_concurrent,
                failed=self._folder.fail,
            )
            self._interruption.stops(batch.interrupt)
            return await batch.play()

    def _on_the_same_rows(self, rollout: Rollout) -> Rollout:
        """Return a rollout that first makes sure that the database is the run's own."""

        async def played(scenario: Scenario, *, sample: int) -> tuple[art.Trajectory, Episode]:
            self._pinned.check()
            return await rollout(scenario, sample=sample)

        return played
