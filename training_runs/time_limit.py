"""The cap on training time: how many steps fit into it, and what is said when it ends a run early.

A run is defined by its steps, time is only a cap. Training time is that of the steps and their validations,
over all processes of a run. The tests before and after do not count. How long a step takes is known from the
rows of metrics.jsonl, so that a resumed run knows it at once.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

from project_types import TrainingConfig

LATEST = 10
"""Steps over which the pace is a mean."""


class TimeLimit:
    """`max_minutes` of training, of which an earlier process of this run may have used some."""

    def __init__(self, max_minutes: float | None, spent_s: float) -> None:
        self._cap_s = float("inf") if max_minutes is None else 60 * max_minutes
        self._began = time.monotonic() - spent_s

    @property
    def elapsed_s(self) -> float:
        """Seconds of training so far, over all processes."""
        return time.monotonic() - self._began

    @property
    def left_s(self) -> float:
        """Seconds until the cap, infinite when there is none, negative behind it."""
        return self._cap_s - self.elapsed_s


def step_seconds(rows: Sequence[Mapping[str, Any]], validate_every: int) -> float:
    """Return the seconds of a step and its share of a validation, from rows of metrics.jsonl.

    0 when no step has been timed yet.
    """
    # the row of a step that was recovered after a kill holds no time
    steps = [row["seconds"] for row in rows if row["split"] == "train" and row["seconds"] > 0]
    if not steps:
        return 0.0
    validations = {row["split"]: row["seconds"] for row in rows if row["split"] in ("val", "val_sampled")}
    return float(mean(steps[-LATEST:]) + sum(validations.values()) / validate_every)


def forecast(config: TrainingConfig, position: int, step_s: float, left_s: float) -> str:
    """Say how many of the steps that are left fit into the time that is left."""
    to_do = config.steps - position
    pace = f"at {step_s:.1f} s a step"
    takes = f"the {to_do} steps left take" if to_do > 1 else "the step left takes"
    all_of_them = f"{pace}, {takes} about {minutes(to_do * step_s)} minutes"
    if left_s == float("inf"):
        return all_of_them
    fitting = int(max(left_s, 0) / step_s)
    if fitting >= to_do:
        return f"{all_of_them} of {minutes(left_s)} allowed"
    ends = f"{pace}, only {fitting} of the {to_do} steps left fit into the time (--max-minutes)"
    return f"{ends}: this run will end after about step {position + fitting} of {config.steps}"


def is_early(steps: int, asked: int) -> bool:
    """Return whether fewer than half of the steps were made. Such a run is not finished."""
    return 2 * steps < asked


def out_of_time(steps: int, asked: int, max_minutes: float | None) -> str:
    """Say in plain words that the time limit ended a run, and what that means for its numbers."""
    cap = "the time" if max_minutes is None else f"--max-minutes {max_minutes:g}"
    what = f"Time ran out: {cap} was enough for {steps} of {asked} training steps."
    if not is_early(steps, asked):
        return what
    return f"{what} That is less than half, so these numbers do not show what the model can learn."


def minutes(seconds: float) -> str:
    """Return seconds as minutes, to the tenth where they are few."""
    return f"{seconds / 60:.1f}" if seconds < 600 else f"{seconds / 60:.0f}"
