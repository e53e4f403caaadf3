"""A program for tests: logs what a training run logs, with an ART model and W&B offline. A process of its
own: it imports art.

`python -m tests.fakes.wandb_training FOLDER FIRST LAST`: steps FIRST to LAST of the run that lies in FOLDER,
val and test after each, then the end of the process's part of the run.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from core.art_versions import model_names
from evaluation.wandb_session import begin
from make_judge_model import prepare_wandb
from project_types import Episode
from rollout import reward, scenario_facts, trajectory
from tests.builders.episodes import episode
from tests.builders.scenarios import INCIDENT
from training_runs.monitors import monitored
from training_runs.wandb_log import TrainingLog

BACKEND = {"loss/train": 0.1, "loss/entropy": 0.5, "data/step_num_gradient_steps": 1.0}
"""Metrics of a training job."""
WATCHED = dict.fromkeys(monitored([]), 0.5) | {"verdict_flips": 0.0}
"""What a step watches."""
SPOKEN = {
    "finish_reason": "stop",
    "index": 0,
    "message": {"role": "assistant", "content": "looking"},
    "logprobs": {"content": [{"token": "looking", "logprob": -0.1, "top_logprobs": []}]},
}
"""A message of the policy, as its server gave it."""
HOSTILE = 12 * ({"role": "user", "content": "Orders \ud800 fail <script>alert(1)</script> " + 50_000 * "x"},)
"""Text that is no Unicode, and more of it than a table shows."""


def episodes(split: str, step: int) -> list[Episode]:
    """Four episodes; a later checkpoint is right more often."""
    facts = scenario_facts(INCIDENT)
    found = [episode(f"s{n % 2}", n // 2, correct=n < step, split=split, metadata=facts) for n in range(4)]
    scores = [reward(one.outcome) for one in found]
    return [
        one.model_copy(update={"reward": score.total, "reward_components": score.components})
        for one, score in zip(found, scores, strict=True)
    ]


async def log(folder: Path, first: int, last: int) -> None:
    """The part of a run from step `first` to step `last`."""
    import art
    from openai.types.chat.chat_completion import Choice

    spoken = Choice.model_validate(SPOKEN)
    model = art.TrainableModel(
        **model_names(folder.name), project="tests", base_model="tiny", base_path=str(folder / "art")
    )
    told, rows = TrainingLog(), list[dict[str, Any]]()
    told.attach(model, json.loads((folder / "config.json").read_text()) | {"command": ["train", str(last)]})
    for step in range(first, last + 1):
        for split in ("train", "val_sampled", "val", "test", "test_sampled"):
            found = episodes(split, step)
            replies = [[spoken for said in one.messages if said["role"] == "assistant"] for one in found]
            rollouts = [
                asyncio.to_thread(trajectory, one, choices, None)
                for one, choices in zip(found, replies, strict=True)
            ]
            (group,) = await art.gather_trajectory_groups([art.TrajectoryGroup(rollouts, metadata={})])
            if split == "train":
                await model.log([group], split=split, metrics=BACKEND | WATCHED, step=step)
            else:
                numbers = dict.fromkeys(
                    ("reward", "accuracy", "accuracy_low", "accuracy_high", "grounded", "selection"), step / 4
                )
                await model.log([group], split=split, metrics=numbers, step=step)
                told.examined(split, step, [*found[:3], found[3].model_copy(update={"messages": HOSTILE})])
            rows.append({"split": split, "step": step, "checkpoint": step, "reward": step / 4})
    summary = {"base_model": "tiny", "best_checkpoint": last, "finished": True}
    told.conclude(folder, summary, rows, 0)


def main() -> None:
    """Read the arguments and log."""
    folder, first, last = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    sys.modules.setdefault("transformers", None)  # type: ignore[arg-type] # as the trainer does
    prepare_wandb()
    assert begin("tests"), "no key"
    asyncio.run(log(folder, first, last))
    assert "weave" not in sys.modules, "Weave has no offline mode"


if __name__ == "__main__":
    main()
