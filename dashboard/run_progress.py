"""What a training run does now, and how long it still takes, by its rows and settings.

The order of a run: test the start, validate it, make steps with validations in between, test the best
checkpoint. Time left is that of the steps that are left, at the pace of the latest ones, within the cap.
"""

from __future__ import annotations

from core.episode_store.run_folder import RunFolder, State, number, whole
from failure_analysis.prediction.gaming import alarms
from project_types import Frozen
from training_runs.time_limit import step_seconds


class Progress(Frozen):
    """Where a run stands, for a person."""

    phase: str
    left_s: float | None = None
    """Seconds until the last step; None when nobody can say."""
    latest: tuple[tuple[str, float], ...] = ()
    """Numbers of the latest step, by name."""
    alarms: tuple[str, ...] = ()
    """Signs that reward is earned without investigating, a sentence each."""


LATEST = (
    ("loss", ("loss/train", "loss")),
    ("KL", ("loss/kl_div", "kl_div")),
    ("entropy", ("loss/entropy", "entropy")),
    ("gradient norm", ("loss/grad_norm", "grad_norm")),
    ("reward spread", ("reward_spread",)),
    ("clipped", ("clipped_fraction",)),
)


def progress_of(run: RunFolder) -> Progress:
    """The phase of a run, the time left, and what its latest step measured."""
    alarming = tuple(alarms(run.rows).values()) if run.kind == "training" else ()
    return Progress(phase=_phase(run), left_s=_left_s(run), latest=tuple(_latest(run)), alarms=alarming)


def _phase(run: RunFolder) -> str:
    if run.kind != "training":
        return "playing episodes" if run.state is State.RUNNING else ""
    if run.state is not State.RUNNING:
        return ""
    if not run.of("test") and not run.of("train"):
        return "testing the start"
    if not run.of("val") and not run.of("train"):
        return "validating the start"
    every = whole(run.config.get("validate_every"))
    validated = {whole(row.get("step")) for row in run.of("val")}
    if every and run.steps and run.steps % every == 0 and run.steps not in validated:
        return f"validating step {run.steps}"
    if run.most_steps and run.steps >= run.most_steps:
        return "testing the best checkpoint"
    return f"training step {run.steps + 1}"


def _left_s(run: RunFolder) -> float | None:
    if run.state is not State.RUNNING or not run.most_steps or run.steps >= run.most_steps:
        return None
    timed = [
        row
        for row in run.rows
        if number(row.get("seconds")) is not None and isinstance(row.get("split"), str)
    ]
    pace = step_seconds(timed, max(1, whole(run.config.get("validate_every"))))
    if not pace:
        return None
    left = pace * (run.most_steps - run.steps)
    cap, spent = number(run.config.get("max_minutes")), run.latest("train", "elapsed_seconds")
    return left if cap is None else max(0.0, min(left, 60 * cap - (spent or 0.0)))


def _latest(run: RunFolder) -> list[tuple[str, float]]:
    row = run.of("train")[-1] if run.of("train") else {}
    job = row.get("job")
    places = [row, job if isinstance(job, dict) else {}]
    found: list[tuple[str, float]] = []
    for name, keys in LATEST:
        values = [number(place.get(key)) for key in keys for place in places]
        value = next((value for value in values if value is not None), None)
        if value is not None:
            found.append((name, value))
    return found
