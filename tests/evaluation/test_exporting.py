"""The parquet table holds every episode, and nothing of it is lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from core.episode_store.run_folder import EPISODES
from project_types import Ending
from tests.builders.commands import evaluation as run
from tests.builders.episodes import episode, write_episodes

THREE = [
    episode("a", correct=True, shown_log_ids=("l1", "l2"), cost_usd=0.5),
    episode("b", ending=Ending.OUT_OF_TURNS, reward=None),
    episode("a", correct=False),
]


def exported(folder: Path) -> list[dict[str, Any]]:
    write_episodes(folder / EPISODES, *THREE)
    assert run("export", folder, "--out", folder / "out" / "table.parquet") == 0
    rows: list[dict[str, Any]] = pq.read_table(folder / "out" / "table.parquet").to_pylist()
    return rows


def test_each_episode_is_a_row_the_latest_of_a_sample(tmp_path: Path) -> None:
    rows = exported(tmp_path)
    assert [(row["scenario_id"], row["correct"]) for row in rows] == [("b", False), ("a", False)]


def test_facts_are_columns_and_texts_read_back(tmp_path: Path) -> None:
    row = exported(tmp_path)[1]
    assert (row["ending"], row["seen"], row["fault_family"], row["turns"]) == (
        "answered",
        "seen",
        "resource",
        2,
    )
    assert json.loads(row["messages"]) == list(THREE[2].messages)
    assert json.loads(row["report"])["suspected_service"] == "orders"
    assert row["verdict_correct"] is False


def test_what_an_episode_lacks_is_null(tmp_path: Path) -> None:
    row = exported(tmp_path)[0]
    assert row["report"] is None
    assert row["verdict_correct"] is None
    assert row["reward"] is None


def test_a_table_that_cannot_be_written_leaves_nothing_behind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_episodes(tmp_path / EPISODES, *THREE)
    (tmp_path / "file").write_text("")
    assert run("export", tmp_path, "--out", tmp_path / "file" / "table.parquet") == 2
    assert "cannot be written" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == [EPISODES, "file"]
