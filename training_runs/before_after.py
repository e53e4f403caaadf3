"""The episodes of a training run before and after training: checkpoint 0 against the best one.

What they say in numbers is `training_runs.summary`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from core.episode_store.run_folder import GREEDY, SAMPLED, RunFolder
from project_types import Episode


@dataclass(frozen=True)
class Comparison:
    """The episodes of one split before and after training, by way of sampling; a side not run is empty."""

    split: str
    samples: int
    before: Mapping[str, list[Episode]]
    after: Mapping[str, list[Episode]]


def before_and_after(run: RunFolder, split: str) -> Comparison:
    """Read checkpoint 0 and the best one; what was interrupted before its row was written does not count."""

    def side(step: int | None) -> dict[str, list[Episode]]:
        measured = {row.get("split") for row in run.rows if row.get("step") == step}
        names = {GREEDY: split, SAMPLED: f"{split}_sampled"}
        return {
            sampling: run.episodes(split, int(step or 0), sampling) if name in measured else []
            for sampling, name in names.items()
        }

    # 0 is best also before anything was trained: it counts as "after" only when the run came to its end
    ended = run.progress.get("ended_by") or run.progress.get("finished")
    best = run.best_checkpoint or (0 if ended else None)
    samples = run.config.get(f"{split}_samples") or run.config["test_samples"]
    return Comparison(split, int(samples), side(0), side(best))
