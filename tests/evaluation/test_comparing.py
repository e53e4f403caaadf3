"""`compare` pairs by scenario, counts flips and cites their episodes; `show` prints them."""

from __future__ import annotations

import json
from math import isfinite
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.comparing import compare
from project_types import Episode
from tests.builders.commands import evaluation as run
from tests.builders.episodes import episode, write_episodes
from tests.builders.examples import examples

ROOT = Path(__file__).parent.parent.parent
BEFORE = [episode("a", 0, correct=True), episode("a", 1), episode("b", 0), episode("b", 1), episode("only-a")]
AFTER = [
    episode("a", 0),
    episode("a", 1),
    episode("b", 0, correct=True),
    episode("b", 1, correct=True),
    episode("only-b"),
]


def test_the_difference_is_paired_by_scenario() -> None:
    found = compare(BEFORE, AFTER)
    change = found.measures["accuracy"]
    assert (change.before, change.after, change.difference.value) == (0.25, 0.5, 0.25)
    assert (found.scenarios, found.only_before, found.only_after) == (2, 1, 1)


def test_flips_name_the_samples_that_were_right() -> None:
    lost, won = compare(BEFORE, AFTER).flips
    assert (lost.scenario_id, lost.before, lost.after) == ("a", (0,), ())
    assert (won.scenario_id, won.before, won.after) == ("b", (), (0, 1))


def test_a_scenario_whose_file_changed_is_left_out_and_named() -> None:
    moved = [
        one.model_copy(update={"metadata": {**one.metadata, "scenario_digest": "d2"}}) for one in AFTER[:2]
    ]
    found = compare(BEFORE, [*moved, *AFTER[2:]])
    assert found.changed_files == ("a",)
    assert found.scenarios == 1


def test_a_run_compared_with_itself_has_no_difference() -> None:
    found = compare(BEFORE, BEFORE)
    assert found.flips == ()
    assert {change.difference.value for change in found.measures.values()} == {0.0}


def test_a_slice_of_one_scenario_is_no_proof_of_a_change() -> None:
    change = compare([episode("a", 0)], [episode("a", 0, correct=True)]).measures["accuracy"].difference
    assert (change.value, change.n) == (1.0, 1)
    assert change.low < 0


def test_an_episode_without_a_reward_leaves_its_scenario_out_of_the_rewards_only() -> None:
    unjudged = AFTER[2].model_copy(update={"reward": None})
    found = compare(BEFORE, [*AFTER[:2], unjudged, *AFTER[3:]]).measures
    assert (found["reward"].difference.n, found["accuracy"].difference.n) == (1, 2)
    assert isfinite(found["reward"].before)


sides = st.lists(st.tuples(st.sampled_from("abcd"), st.booleans()), min_size=1, max_size=12)


@given(sides, sides)
@examples(50)
def test_swapping_the_sides_turns_every_difference_around(
    left: list[tuple[str, bool]], right: list[tuple[str, bool]]
) -> None:
    def made(side: list[tuple[str, bool]]) -> list[Episode]:
        return [episode(name, number, correct=correct) for number, (name, correct) in enumerate(side)]

    forward, backward = compare(made(left), made(right)), compare(made(right), made(left))
    for name, change in forward.measures.items():
        assert change.difference.value == pytest.approx(
            -backward.measures[name].difference.value, nan_ok=True
        )
    assert {flip.scenario_id for flip in forward.flips} == {flip.scenario_id for flip in backward.flips}


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    return write_episodes(tmp_path / "a.jsonl", *BEFORE), write_episodes(tmp_path / "b.jsonl", *AFTER)


def test_the_command_prints_differences_and_how_to_read_a_flip(
    files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("compare", *files) == 0
    said = capsys.readouterr().out
    assert "2 scenarios in both (left out: 1 only in A, 1 only in B, 0 whose file changed)" in said
    assert "root cause right (avg@k)" in said
    assert f"python -m evaluation show {files[1]} a" in said


def test_the_command_prints_json(files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert run("compare", *files, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["measures"]["accuracy"]["difference"]["value"] == 0.25
    assert found["flips"][0]["scenario_id"] == "a"


def test_runs_without_a_common_scenario_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    left, right = (
        write_episodes(tmp_path / "a.jsonl", episode("a")),
        write_episodes(tmp_path / "b.jsonl", episode("b")),
    )
    assert run("compare", left, right) == 2
    assert "share no scenario" in capsys.readouterr().err


def test_show_prints_an_episode_without_control_characters(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hostile = ({"role": "tool", "content": "\x1b]0;owned\x07\x1b[2J\u202eevil\nsecond line"},)
    path = write_episodes(tmp_path / "a.jsonl", episode("abc1", 2, messages=hostile), episode("abc1", 3))
    assert run("show", path, "abc#2") == 0
    said = capsys.readouterr().out
    assert "== abc1#2  script:made  answered, not right, reward -0.850" in said
    assert "\\x1b]0;owned\\x07\\x1b[2J\\u202eevil\nsecond line" in said
    assert "#3" not in said


def test_show_says_which_episodes_there_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("show", write_episodes(tmp_path / "a.jsonl", episode("abc1")), "zzz") == 2
    assert "no episode of 'zzz'; it has abc1" in capsys.readouterr().err
