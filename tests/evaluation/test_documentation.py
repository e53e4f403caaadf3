"""The documented schema is the real one, and the documented commands can be typed."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from core.episode_store.failures import Failure
from core.episode_store.run_folder import RUN, SUMMARY
from core.policies.scripted import SCRIPTED
from evaluation.exporting import schema
from evaluation.rescoring import Rescored
from evaluation.summary import DERIVED, MEASURES
from project_types import Episode, Outcome, Report, Verdict
from tests.builders.commands import evaluation as run
from tests.builders.scenarios import write_scenarios

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "episodes.md").read_text(encoding="utf-8")
README = (ROOT / "evaluation" / "README.md").read_text(encoding="utf-8")


def documented(section: str) -> set[str]:
    """The names in the first column of a section's table."""
    text = PAGE.split(f"\n## {section}\n", 1)[1].split("\n## ", 1)[0]
    return set(re.findall(r"^\| `([a-z_]+)` \|", text, re.MULTILINE))


@pytest.mark.parametrize(
    "model", [Episode, Outcome, Verdict, Report, Failure, Rescored], ids=lambda model: model.__name__
)
def test_every_field_is_documented_and_no_other(model: type[Episode]) -> None:
    assert documented(model.__name__) == set(model.model_fields)


def test_every_measure_is_documented_and_no_other() -> None:
    assert documented("Measures") == {*MEASURES, *DERIVED}


def test_what_a_run_writes_is_documented_and_no_other(tmp_path: Path) -> None:
    split = write_scenarios(tmp_path / "split", "aa01")
    run("run", "--policy", "script:first-error", "--split", split, "--out", tmp_path / "run")
    assert documented("Run") == set(json.loads((tmp_path / "run" / RUN).read_text()))
    assert documented("Summary") == set(json.loads((tmp_path / "run" / SUMMARY).read_text()))
    line = json.loads((tmp_path / "run" / "episodes.jsonl").read_text())
    assert documented("Metadata") == set(line["metadata"])


def test_every_parquet_column_is_documented() -> None:
    elsewhere = set().union(
        *(documented(section) for section in ("Episode", "Outcome", "Verdict", "Report", "Metadata"))
    )
    assert set(schema().names) <= documented("Parquet") | elsewhere
    assert documented("Parquet") <= set(schema().names)


def test_the_example_is_an_episode() -> None:
    example = re.search(r"```json\n(.*?)\n```", PAGE, re.DOTALL)
    assert example is not None
    episode = Episode.model_validate_json(example[1])
    assert episode.outcome.grounded
    assert sum(episode.reward_components.values()) == pytest.approx(episode.reward)


def test_every_script_is_in_the_readme() -> None:
    assert set(re.findall(r"`script:([a-z-]+)`", README)) == set(SCRIPTED)
