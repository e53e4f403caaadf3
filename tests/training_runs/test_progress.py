"""How far a run is, after processes that were killed at bad moments."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from core.art_versions import model_names
from core.episode_store.run_folder import ROLLOUTS
from core.episode_store.run_writer import RunWriter
from project_types import ConfigurationError, Ending, Episode, Outcome
from tests.fakes.art_alone import art
from training_runs.episodes import writing
from training_runs.metrics_row import measured
from training_runs.progress import Progress

EPISODE = Episode(scenario_id="aa01", messages=(), outcome=Outcome(ending=Ending.UNKNOWN), reward=0.5)


class Place:
    """A run's folder and the ART model that belongs to it."""

    def __init__(self, path: Path) -> None:
        path.mkdir()
        (path / "episodes").mkdir()
        self.folder = RunWriter(path)
        self.model = art.TrainableModel(
            **model_names(path.name), project="tests", base_model="tiny", base_path=str(path / "art")
        )
        self.state = path / "art" / "tests" / "models" / path.name / "state.json"

    def trained(self, step: int, **more: Any) -> None:
        row = {"split": "train", "step": step, "checkpoint": step, **measured([EPISODE], 1, {}, 2.0)}
        self.folder.add(row | {"elapsed_seconds": 10.0 * step, **more})

    def rollouts(self, step: int) -> None:
        with writing(self.folder.episodes_path("train", step, ROLLOUTS)) as store:
            store(EPISODE)

    def taken_up(self, checkpoint: int) -> Progress:
        progress = Progress(self.folder, self.model, seed=1)
        progress.take_up(checkpoint)
        return progress


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "seed1")


def test_a_new_run_is_at_its_start(place: Place) -> None:
    progress = place.taken_up(0)
    assert (progress.position, progress.checkpoint, progress.training_seconds) == (0, 0, 0.0)


def test_what_is_remembered_is_known_to_the_next_process(place: Place) -> None:
    place.trained(1)
    first = place.taken_up(1)
    first.remember(best_checkpoint=1, training_seconds=12.5)
    first.count_restart()
    again = place.taken_up(1)
    assert (again.position, again.facts["best_checkpoint"], again.training_seconds) == (1, 1, 12.5)
    assert again.facts["service_restarts"] == 1
    assert again.facts["seconds"] >= 0


def test_a_half_written_state_file_costs_no_training_time(place: Place) -> None:
    place.trained(1)
    place.trained(2)
    place.trained(3, recovered=True, elapsed_seconds=0.0)
    place.state.parent.mkdir(parents=True)
    place.state.write_text('{"run": {"bes')
    assert place.taken_up(3).training_seconds == 20.0


def test_a_job_whose_row_is_missing_gets_its_row(place: Place) -> None:
    place.trained(1)
    place.rollouts(2)
    progress = place.taken_up(2)
    assert (progress.position, progress.checkpoint) == (2, 2)
    row = json.loads((place.folder.path / "metrics.jsonl").read_text().splitlines()[-1])
    assert (row["step"], row["checkpoint"], row["rollouts"], row["recovered"]) == (2, 2, 1, True)


@pytest.mark.parametrize(
    ("checkpoint", "episodes"),
    [
        pytest.param(0, True, id="the backend has less than the folder"),
        pytest.param(2, False, id="the backend has a step nobody played here"),
    ],
)
def test_a_folder_and_a_backend_of_different_runs_are_refused(
    place: Place, checkpoint: int, episodes: bool
) -> None:
    place.trained(1)
    if episodes:
        place.rollouts(2)
    with pytest.raises(ConfigurationError, match=f"at step {checkpoint} on the backend but at 1 in .*--name"):
        place.taken_up(checkpoint)
