"""A warm start on episodes: what a demonstration holds beside the conversation."""

from __future__ import annotations

from pathlib import Path

import pytest

from alignment.train_commands import demonstrations
from core.episode_store.lines import EpisodesError
from project_types import ConfigurationError
from tests.builders.episodes import episode
from tests.builders.runs import evaluation_run

TWO = {"search_logs", "read_trace", "return_final_answer"}
FULL = TWO | {"read_log", "compare", "span_stats", "find_traces", "read_metrics"}


def offered(file: Path) -> set[str]:
    """The tools of the only demonstration."""
    (row,) = demonstrations(file, least_reward=-9.0)
    return {tool["function"]["name"] for tool in row["tools"]}


@pytest.mark.parametrize(("rules", "tools"), [("two", TWO), ("full", FULL)])
def test_a_demonstration_offers_the_tools_that_its_episode_was_offered(
    tmp_path: Path, rules: str, tools: set[str]
) -> None:
    folder = evaluation_run(tmp_path / "run", [episode()], config={"tools": rules})
    assert offered(folder / "episodes.jsonl") == tools


def test_rules_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    folder = evaluation_run(tmp_path / "run", [episode()], config={"tools": "three"})
    with pytest.raises(EpisodesError, match="rules of its episodes cannot be read"):
        offered(folder / "episodes.jsonl")


def test_a_bar_that_no_episode_reaches_is_told(tmp_path: Path) -> None:
    folder = evaluation_run(tmp_path / "run", [episode()])
    with pytest.raises(ConfigurationError, match="lower --least-reward"):
        demonstrations(folder / "episodes.jsonl", least_reward=99.0)
