"""A profile says which scenarios would teach a policy something, from samples it has played already."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import pytest

from evaluation.profiling import differs, profiles
from project_types import ConfigurationError, Ending, Episode, Outcome
from tests.builders.commands import evaluation as run


def episodes(name: str, rewards: Sequence[float]) -> list[Episode]:
    return [
        Episode(
            scenario_id=name,
            sample=number,
            messages=(),
            outcome=Outcome(ending=Ending.ANSWERED, correct=reward > 0),
            reward=reward,
        )
        for number, reward in enumerate(rewards)
    ]


PLAYED = [
    *episodes("always", [1.5, 1.5, 1.5, 1.5]),
    *episodes("never", [-1.0, -0.9, -1.0, -1.0]),
    *episodes("now and then", [1.5, -1.0, 1.5, -1.0]),
]


def test_scenarios_are_kept_hardened_or_dropped() -> None:
    assert {one.scenario_id: one.advice for one in profiles(PLAYED, 2)} == {
        "now and then": "keep",
        "never": "drop",
        "always": "harden",
    }


def test_a_group_is_useful_when_its_rewards_differ_and_better_when_one_is_right() -> None:
    found = {one.scenario_id: one for one in profiles(PLAYED, 2)}
    assert (found["always"].useful, found["always"].spread) == (0.0, 0.0)
    assert found["never"].useful == pytest.approx(1 / 2)
    assert found["never"].mixed == 0.0
    assert found["now and then"].mixed == pytest.approx(2 / 3)


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_the_chance_of_a_difference_is_that_of_all_groups_that_could_be_drawn(n: int) -> None:
    seen = "aaabc"
    groups = [places for places in product(range(5), repeat=n) if len(set(places)) == n]
    different = [len({seen[place] for place in places}) > 1 for places in groups]
    assert differs([3, 1, 1], n) == pytest.approx(sum(different) / len(different))


def test_a_group_larger_than_what_was_seen_is_drawn_with_putting_back() -> None:
    assert differs([1, 1], 3) == pytest.approx(1 - 2 * 0.5**3)


def test_one_sample_each_says_nothing() -> None:
    with pytest.raises(ConfigurationError, match="--k 8"):
        profiles(episodes("once", [1.0]), 8)


def test_the_command_prints_a_table_and_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "episodes.jsonl"
    file.write_text("".join(one.model_dump_json() + "\n" for one in PLAYED))
    assert run("profile", file, "--n", 2) == 0
    said = capsys.readouterr().out
    assert "groups of 2 that would differ in reward       1.2 of 3" in said
    assert run("profile", file, "--n", 2, "--json") == 0
    assert [one["advice"] for one in json.loads(capsys.readouterr().out)] == ["keep", "drop", "harden"]
