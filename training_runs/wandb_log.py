"""A training run in W&B: one W&B run, named and identified by the run's name.

A resumed run goes on in it. ART makes it and logs the metrics. This adds a table of rollouts per evaluation,
the configuration, and at the end the report and the checkpoints' names as an artifact. docs/wandb.md lists
every name. Not here: what a number means (`training_runs.summary`), how W&B is reached
(`evaluation.wandb_session`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from evaluation.run_record import write_json
from evaluation.wandb_rollouts import table, weave_evaluation
from evaluation.wandb_session import KEY, WandbError, attach_files, end, open_weave
from project_types import Episode

STEP = "training_step"
"""The x-axis of a training run: the checkpoint that was measured."""


class TrainingLog:
    """The W&B run of one training run. Until it is attached, and without a key, it does nothing."""

    def __init__(self) -> None:
        self._run: Any | None = None
        self._name_of: Callable[[int], str] = str

    def attach(self, model: Any, facts: Mapping[str, Any]) -> None:
        """Make or continue the W&B run of an ART model, with what `config.json` says as its configuration.

        Raises:
            WandbError: W&B refuses.
        """
        if not os.environ.get(KEY):
            return
        import wandb

        try:
            run = self._run = model._get_wandb_run()
        except wandb.errors.Error as trouble:
            raise WandbError(
                f"W&B does not take the run ({trouble}); check {KEY}, or set WANDB_MODE=offline"
            ) from trouble
        self._name_of = model.get_inference_name
        for split in ("val_sampled", "test_sampled"):
            run.define_metric(f"{split}/*", step_metric=STEP)
        # a resumed run may have other limits than it began with
        run.config.update(dict(facts), allow_val_change=True)
        if (weave := open_weave()) is not None:
            weave.get_client().set_wandb_run_context(run_id=run.id)

    def examined(self, split: str, checkpoint: int, episodes: Sequence[Episode]) -> None:
        """Log one evaluation of a checkpoint: a table of its rollouts, and an evaluation in Weave."""
        if self._run is None:
            return
        self._run.log({f"{split}/rollouts": table(episodes), STEP: checkpoint})
        weave_evaluation(
            f"{self._run.id} {split} step {checkpoint}",
            episodes,
            {"training_run": self._run.id, STEP: checkpoint},
        )

    def conclude(
        self, folder: Path, summary: Mapping[str, Any], rows: Iterable[Mapping[str, Any]], code: int
    ) -> None:
        """Log the report, the configuration and the checkpoints' names, then end the W&B run."""
        if self._run is None:
            return
        import wandb

        names = checkpoints(summary, rows, self._name_of)
        write_json(folder / "checkpoints.json", names)
        self._run.log(
            {"report": wandb.Html((folder / "report.html").read_text(encoding="utf-8"), inject=False)}
        )
        kept = {side: names[side]["name"] for side in ("best", "latest") if names[side]}
        files = ("report.html", "summary.json", "config.json", "metrics.jsonl", "checkpoints.json")
        attach_files(
            self._run,
            f"{self._run.id}-report",
            "report",
            folder,
            files,
            {"base_model": names["base_model"], **kept},
        )
        self._run.summary.update(
            {"best_checkpoint": summary["best_checkpoint"], "finished": summary["finished"]}
        )
        end(self._run, code)
        self._run = None


def checkpoints(
    summary: Mapping[str, Any], rows: Iterable[Mapping[str, Any]], name_of: Callable[[int], str]
) -> dict[str, Any]:
    """Return what checkpoints.json holds: the names of the best, the latest and
    every validated checkpoint.
    """
    validated, latest = [], None
    for row in rows:
        latest = row["checkpoint"] if row["split"] == "train" else latest
        if row["split"] == "val":
            validated.append({"step": row["step"], "name": name_of(row["step"]), "reward": row["reward"]})

    def named(step: int | None) -> dict[str, Any] | None:
        return None if step is None else {"step": step, "name": name_of(step)}

    best = named(summary["best_checkpoint"])
    return {
        "base_model": summary["base_model"],
        "best": best,
        "latest": named(latest),
        "validated": validated,
    }
