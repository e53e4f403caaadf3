"""An audit notices what does not hold in a stored run, and says nothing of what does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from core.episode_store.run_folder import EPISODES
from core.episode_store.tokens import write_tokens
from project_types import Ending, Episode
from rewards import reward
from tests.builders.commands import evaluation as run
from tests.builders.episodes import episode, write_episodes


class Choice:
    """What a provider gave for one reply."""

    def __init__(self, prompt: list[int], written: list[int]) -> None:
        self.prompt_token_ids, self.token_ids = prompt, written


WHOLE = [Choice([1, 2, 3], [4, 5]), Choice([1, 2, 3, 4, 5, 6], [7])]
REWRITTEN = [Choice([1, 2, 3], [4, 5]), Choice([1, 2, 9, 6], [7])]


def scored(scenario_id: str, **facts: Any) -> Episode:
    made = episode(scenario_id, **facts)
    worth = reward(made.outcome)
    return made.model_copy(update={"reward": worth.total, "reward_components": worth.components})


def stored(folder: Path, *episodes: Episode, choices: list[Choice] | None = None) -> Path:
    write_episodes(folder / EPISODES, *episodes)
    for each in episodes if choices else ():
        write_tokens(folder / EPISODES, each, choices or [])
    return folder


def audit(folder: Path, capsys: pytest.CaptureFixture[str], code: int) -> list[dict[str, Any]]:
    assert run("audit", folder, "--json") == code
    rows: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return rows


def test_a_sound_run_has_no_trouble(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = stored(tmp_path, scored("a"), scored("b", correct=False), choices=WHOLE)
    rows = audit(folder, capsys, 0)
    assert [row["troubles"] for row in rows] == [[], []]
    assert rows[0]["tokens"] == {**rows[1]["tokens"], "sequences": 1, "trained": 3, "masked": 4}


def test_a_reward_that_its_outcome_is_not_worth_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = stored(tmp_path, scored("a").model_copy(update={"reward": 9.0}))
    [row] = audit(folder, capsys, 1)
    assert "reward 9.0 is stored" in row["troubles"][0]


def test_a_prompt_that_rewrites_earlier_ids_makes_a_sequence_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    [row] = audit(stored(tmp_path, scored("a"), choices=REWRITTEN), capsys, 1)
    assert row["tokens"]["sequences"] == 2
    assert (row["tokens"]["trained"], row["tokens"]["masked"]) == (3, 7)


def test_the_digest_tells_the_ids_apart_and_where_a_turn_ends(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = [Choice([1, 2, 3, 4], [5]), WHOLE[1]]
    rows = [
        audit(stored(tmp_path / name, scored("a"), choices=choices), capsys, 0)[0]
        for name, choices in (("one", WHOLE), ("again", WHOLE), ("other", other))
    ]
    digests = [row["tokens"]["digest"] for row in rows]
    assert digests[0] == digests[1] != digests[2]


def test_the_table_says_what_was_cut_short_and_what_has_no_ids(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = stored(tmp_path, scored("a"), scored("b", correct=False, ending=Ending.OUT_OF_TURNS))
    assert run("audit", folder) == 0
    told = dict(line.rsplit("  ", 1) for line in capsys.readouterr().out.splitlines())
    assert {key.strip(): value.strip() for key, value in told.items()}.items() >= {
        ("cut short", "1 out_of_turns"),
        ("trajectories", "2"),
        ("with token ids", "0"),
    }
