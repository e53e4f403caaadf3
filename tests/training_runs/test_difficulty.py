"""Which train scenarios a run keeps when it is given a profile."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from project_types import ConfigurationError
from tests.builders.scenarios import incident
from training_runs.difficulty import sometimes_solved

SCENARIOS = [incident(name) for name in ("aa01", "aa02", "aa03", "aa04")]


def written(folder: Path, **solved: float) -> Path:
    path = folder / "profile.json"
    path.write_text(json.dumps([{"scenario_id": name, "solved": share} for name, share in solved.items()]))
    return path


def test_what_is_always_or_never_solved_is_left_out_and_what_nobody_tried_is_kept(tmp_path: Path) -> None:
    profile = written(tmp_path, aa01=0.0, aa02=0.25, aa03=1.0, strange=0.5)
    assert [one.id for one in sometimes_solved(SCENARIOS, profile)] == ["aa02", "aa04"]


def test_a_profile_that_leaves_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="every train scenario is always or never solved"):
        sometimes_solved(SCENARIOS, written(tmp_path, aa01=0, aa02=0, aa03=1, aa04=1))


@pytest.mark.parametrize("text", ["", "{}", '[{"scenario_id": 3}]', '[{"scenario_id": "a", "solved": 2}]'])
def test_what_is_no_profile_is_refused_with_the_command_that_writes_one(tmp_path: Path, text: str) -> None:
    path = tmp_path / "profile.json"
    path.write_text(text)
    for given in (path, tmp_path / "missing.json"):
        with pytest.raises(ConfigurationError, match="evaluation profile RUN --json"):
            sometimes_solved(SCENARIOS, given)
