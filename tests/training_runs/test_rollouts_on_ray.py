"""A training run whose rollouts are played on a Ray cluster, while its gradient step
stays where the backend is.
"""

from __future__ import annotations

import json
import secrets
from collections import Counter
from pathlib import Path

import pytest

from core.episode_store.tokens import read_tokens
from project_types import Episode
from tests.builders.commands import eventually
from tests.builders.ray_cluster import MARK, command, marked
from tests.builders.training_place import Place

pytestmark = pytest.mark.slow
ONE_STEP = ("--steps", "1", "--val-samples", "0", "--val-limit", "1", "--test-limit", "0")


def workers(mark: str) -> list[int]:
    """The workers of the cluster that a command with this mark has started."""
    return [process for process in marked(mark) if command(process).startswith("ray::RolloutWorker")]


def test_a_step_is_trained_here_on_rollouts_of_a_cluster(tmp_path: Path) -> None:
    place, mark = Place(tmp_path), secrets.token_hex(8)
    on_ray = ("--name", "cluster", *ONE_STEP, "--executor", "ray", "--workers", "2")
    process = place.start(
        *on_ray, **{MARK: mark, "PYTHONPATH": ""}
    )  # Ray asks which address this machine has
    try:
        eventually(lambda: len(workers(mark)) == 2 or process.poll() is not None)
        said, _ = process.communicate(timeout=900)
    finally:
        process.kill()
    assert process.returncode == 0, said
    [row] = place.rows("cluster", "train")
    taught = row["flat_groups"] < row["groups"]  # a random model's groups may all be flat
    assert row["job"].get("data/step_num_gradient_steps", 0.0) == float(taught)
    path = tmp_path / "runs/cluster/episodes/train-0001-rollouts.jsonl"
    played = [Episode.model_validate_json(line) for line in path.read_bytes().splitlines()]
    units = Counter((one.scenario_id, one.sample) for one in played)
    assert len(units) == row["rollouts"] == 12
    assert set(units.values()) == {1}
    assert read_tokens(path).keys() == units.keys(), "the trainer got the ids that the workers were given"
    assert json.loads((tmp_path / "runs/cluster/config.json").read_text())["config"]["executor"] == "ray"
    eventually(lambda: not workers(mark))
