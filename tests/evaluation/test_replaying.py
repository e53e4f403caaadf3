"""A stored training step, trained again, gives the loss it logged; a reward that was
changed since is noticed.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from core.episode_store.episodes import write_episode
from core.episode_store.tokens import write_tokens
from project_types import Ending, Episode, Outcome
from tests.builders.commands import evaluation as run

pytestmark = pytest.mark.slow
CONFIG = {
    "base_model": "tiny-investigator",
    "scale_rewards": False,
    "advantage_balance": 0.0,
    "ppo": False,
    "importance_sampling_level": "token",
}
ROLLOUTS = "train-0001-rollouts.jsonl"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one step on four stored rollouts, trained by the service's engine."""
    import torch

    from benchmarks.gradient_step import MODEL, stored_groups
    from training_service.base_models import Base
    from training_service.local_engine import EngineOptions, LocalEngine

    folder = tmp_path_factory.mktemp("replay") / "one"
    (group,) = stored_groups(1)
    rollouts = group["trajectories"][:4]
    for number, rollout in enumerate(rollouts):
        rollout["reward"] = float(number)
    (folder / "episodes").mkdir(parents=True)
    store(folder / "episodes" / ROLLOUTS, rollouts)
    models = folder / "service" / "models" / "model-1"
    models.mkdir(parents=True)
    engine = LocalEngine([Base("tiny-investigator", MODEL, torch.device("cpu"))], EngineOptions())
    for step in ("step-000000", "step-000001"):
        (models / step).mkdir()
    engine.create("tiny-investigator", models / "step-000000")
    asked = {name: value for name, value in CONFIG.items() if name != "base_model"} | {"learning_rate": 1e-4}
    groups = [{"trajectories": rollouts}]
    source, target = models / "step-000000", models / "step-000001"
    result = engine.train(source, target, groups, asked, lambda _: None, lambda: False)
    engine.close()
    logged = {
        "loss/train": result.metrics["loss"],
        "loss/grad_norm": result.metrics["grad_norm"],
        "loss/learning_rate": 1e-4,
        "data/step_trainer_tokens": result.metrics["num_trainable_tokens"],
    }
    row = {"split": "train", "step": 1, "checkpoint": 1, "job": logged}
    (folder / "metrics.jsonl").write_text(json.dumps(row) + "\n")
    settings = {"config": CONFIG, "training_service": {"precision": "float32"}}
    (folder / "config.json").write_text(json.dumps(settings))
    return folder


def store(path: Path, rollouts: list[dict[str, Any]]) -> None:
    with path.open("w") as file:
        for number, rollout in enumerate(rollouts):
            outcome = Outcome(ending=Ending.ANSWERED)
            one = Episode(
                scenario_id="a", sample=number, messages=(), outcome=outcome, reward=rollout["reward"]
            )
            write_episode(file, one)
            turns = [each for each in rollout["messages_and_choices"] if "token_ids" in each]
            write_tokens(path, one, [SimpleNamespace(**turn) for turn in turns])


def test_the_loss_and_the_gradient_are_those_that_were_logged(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("replay", trained, "--step", 1, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["holds"] for one in found] == [True] * 3
    assert found[0]["logged"] != 0.0


def test_a_reward_that_was_changed_since_is_noticed(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(trained, tmp_path / "one")
    path = tmp_path / "one" / "episodes" / ROLLOUTS
    path.write_text(path.read_text().replace('"reward":3.0', '"reward":-3.0'))
    assert run("replay", tmp_path / "one", "--step", 1) == 1
    assert "DIFFERS" in capsys.readouterr().out


def test_a_run_without_the_evidence_term_is_replayed_without_it(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(trained, tmp_path / "one")
    path = tmp_path / "one" / "config.json"
    settings = json.loads(path.read_text())
    settings["config"]["evidence_reward"] = False
    path.write_text(json.dumps(settings))
    assert run("replay", tmp_path / "one", "--step", 1) == 2
    assert "every group of this step was flat" in capsys.readouterr().err, "four equally wrong answers"


@pytest.mark.parametrize(
    ("step", "gone", "said"),
    [
        (2, "", "has no training step 2; it has 1"),
        (1, "service", "checkpoint 0 is gone"),
        (1, "episodes/train-0001-rollouts.tokens", "has no token ids"),
    ],
    ids=["no step", "no checkpoint", "no ids"],
)
def test_what_is_missing_is_named(
    trained: Path, tmp_path: Path, step: int, gone: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "one"
    shutil.copytree(trained, place)
    if gone:
        (place / gone).unlink() if (place / gone).is_file() else shutil.rmtree(place / gone)
    assert run("replay", place, "--step", step) == 2
    assert said in capsys.readouterr().err
