"""Folders of runs, laid out as training and evaluation write them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from core.episode_store.scenarios import digest
from project_types import Episode
from tests.builders.episodes import add_episodes, episode, write_episodes
from tests.builders.scenarios import write_scenarios

SCENARIOS = ("0f3c", "1a2b", "2c4d", "3e5f")
"""What `training_run` plays."""


def write_run(
    folder: Path,
    config: Mapping[str, Any],
    *,
    rows: Sequence[Mapping[str, Any]] = (),
    state: Mapping[str, Any] | None = None,
    **facts: Any,
) -> Path:
    """A training run without episodes: config.json holds `facts` and `config`."""
    (folder / "episodes").mkdir(parents=True, exist_ok=True)
    settings = {"name": folder.name, **facts, "config": dict(config)}
    (folder / "config.json").write_text(json.dumps(settings), encoding="utf-8")
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    if state is not None:
        write_state(folder, state)
    return folder


def write_state(folder: Path, state: Mapping[str, Any]) -> None:
    """What a training run remembers of itself, in ART's state file."""
    path = folder / "art" / "project" / "models" / folder.name / "state.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"run": dict(state)}), encoding="utf-8")


def metrics_row(split: str, step: int, accuracy: float, **more: Any) -> dict[str, Any]:
    """A row of metrics.jsonl."""
    bounds = {
        "accuracy_low": round(max(0.0, accuracy - 0.1), 4),
        "accuracy_high": round(min(1.0, accuracy + 0.1), 4),
    }
    shares = {"grounded": accuracy, "opened": 0.5, "fabricated": 0.1, "reward": accuracy - 0.5}
    times = {
        "tokens_per_s": 800.0,
        "seconds": 12.0,
        "rollout_seconds": 8.0,
        "job_seconds": 3.0,
        "at": f"2026-03-01T14:{step:02}:00+00:00",
    }
    counts = {"rollouts": 64, "failed": 0, "failures": {}, "groups": 8, "flat_groups": 2}
    place = {"split": split, "step": step, "checkpoint": step, "accuracy": accuracy}
    return {**place, **bounds, **shares, **times, **counts, **more}


def training_run(root: Path, name: str = "seed1", *, finished: bool = True, steps: int = 3) -> Path:
    """A run of four test scenarios before and after: three are wrong at step 0, one of them is still wrong at
    the end.
    """
    scenarios = write_scenarios(root.parent / "scenarios" / "test", *SCENARIOS).parent
    rows = [metrics_row("val", 0, 0.25), metrics_row("test", 0, 0.25)]
    rows += [metrics_row("train", step, 0.2 * step) for step in range(1, steps + 1)]
    rows += [metrics_row("val", steps, 0.75), metrics_row("test", steps, 0.75)]
    run = write_run(
        root / name,
        {
            "scenarios": str(scenarios),
            "steps": steps,
            "base_model": "tiny-investigator",
            "seed": 1,
            "judge": "offline",
        },
        rows=rows,
        state={"finished": finished, "best_checkpoint": steps},
        at="2026-03-01T14:00:00+00:00",
    )
    for step, wrong in ((0, SCENARIOS[1:]), (steps, SCENARIOS[3:])):
        played = [
            episode(
                id,
                correct=id not in wrong,
                policy=f"{name}@{step}",
                metadata={"scenario_digest": digest(scenarios / "test" / f"scenario-{id}.json")},
            )
            for id in SCENARIOS
        ]
        write_episodes(run / "episodes" / f"test-{step:04}-t0.jsonl", *played)
    return run


def evaluation_run(folder: Path, episodes: Sequence[Episode], **asked: Any) -> Path:
    """The folder of an evaluation that holds these episodes; `asked` is what run.json says."""
    folder.mkdir(parents=True, exist_ok=True)
    facts = {"policy": "script:made", "split": "test", **asked}
    (folder / "run.json").write_text(json.dumps(facts), encoding="utf-8")
    add_episodes(folder / "episodes.jsonl", episodes)
    return folder
