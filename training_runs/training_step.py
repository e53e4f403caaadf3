"""One training step: rollouts, one training job on the groups that differ, one row of metrics.jsonl."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from typing import Any

from project_types import TrainingConfig
from training_runs.backend import Backend
from training_runs.flat_groups import is_flat, lessons
from training_runs.learning_rate import learning_rate
from training_runs.metrics_row import words
from training_runs.monitors import flat_causes, monitored
from training_runs.progress import Progress
from training_runs.rollout_batch import Played
from training_runs.rollouts import Rollouts
from training_runs.rollouts_ahead import RolloutsAhead


class TrainingStep:
    """Makes the steps of one run."""

    def __init__(
        self,
        config: TrainingConfig,
        backend: Backend,
        rollouts: Rollouts,
        ahead: RolloutsAhead,
        progress: Progress,
    ) -> None:
        self._config, self._backend, self._rollouts = config, backend, rollouts
        self.ahead, self._progress = ahead, progress

    async def make(self, elapsed_s: float) -> dict[str, Any]:
        """Make the next step, and return its row. `elapsed_s` is how long the run had trained before."""
        began, progress = time.monotonic(), self._progress
        step = progress.position + 1
        scenarios, played, staleness = await self.ahead.take(step, progress.checkpoint)
        # what was begun ahead was played during the steps before
        waited = min(played.seconds, time.monotonic() - began)
        self.ahead.begin(step, progress.checkpoint)
        flips = await self._rollouts.flips(scenarios, played)
        watched = {**monitored(played.episodes), "verdict_flips": flips}
        submitted = time.monotonic()
        rate = learning_rate(self._config, step)
        train = partial(self._backend.train, lessons(played.groups), rate, progress.checkpoint)
        progress.checkpoint, job = await self._backend.surviving(train)
        trained = time.monotonic()
        logged = {**job, **{name: value for name, value in watched.items() if value is not None}}
        await self._backend.model.log(played.groups, split="train", metrics=logged, step=progress.checkpoint)
        progress.position = step
        seconds = time.monotonic() - began
        timings = {
            "seconds": seconds,
            "job_seconds": trained - submitted,
            "overhead_seconds": seconds - waited - _gradient_seconds(job),
            "elapsed_seconds": elapsed_s + seconds,
        }
        signs = {"staleness": staleness, "verdict_flips": flips, "flat_causes": flat_causes(played.episodes)}
        return progress.row("train", step, played, **_counts(played), **signs, **_rounded(timings), job=job)


def line(row: Mapping[str, Any], steps: int) -> str:
    """Return a step's row as one line for whoever watches."""
    flat, failed = f"{row['flat_groups']} of {row['groups']} groups flat", f"{row['failed']} failed"
    return f"step {row['step']}/{steps}: {words(row)}, {flat}, {failed}, {row['seconds']:.1f} s"


def _counts(played: Played) -> dict[str, int]:
    return {"groups": len(played.groups), "flat_groups": sum(map(is_flat, played.groups))}


def _gradient_seconds(job: Mapping[str, float]) -> float:
    """Return the seconds of a job that were gradient steps, where the backend says so."""
    return job.get("gradient_seconds", 0.0) * job.get("data/step_num_gradient_steps", 0.0)


def _rounded(seconds: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 3) for name, value in seconds.items()}
