"""The scenarios in `log_scenarios/` are what the documented command writes, and are sound."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaos.__main__ import main
from chaos.rules import RULES
from chaos.shipped import SHIPPED, SHIPPED_SEED
from chaos.splits import scenarios, write_split
from project_types import read_scenarios

SHIPPED_FOLDER = Path(__file__).parents[2] / "log_scenarios"


@pytest.mark.slow
def test_the_shipped_splits_are_sound(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(SHIPPED_FOLDER)]) == 0, capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize(("split", "count"), SHIPPED.items())
def test_a_shipped_split_is_what_the_generator_writes(split: str, count: int, tmp_path: Path) -> None:
    write_split(scenarios(split, count, SHIPPED_SEED), tmp_path / split)
    fresh = {path.name: path.read_bytes() for path in (tmp_path / split).iterdir()}
    assert {path.name: path.read_bytes() for path in (SHIPPED_FOLDER / split).iterdir()} == fresh


@pytest.mark.slow
@pytest.mark.parametrize("split", ["val", "test"])
def test_no_rule_of_thumb_names_the_culprit_often(split: str) -> None:
    found = read_scenarios(SHIPPED_FOLDER / split)
    right = {
        name: sum(rule(s) == s.ground_truth.service for s in found) / len(found)
        for name, rule in RULES.items()
    }
    assert max(right.values()) <= 0.35


def test_the_shipped_test_split_keeps_24_unseen_scenarios_apart() -> None:
    lines = (SHIPPED_FOLDER / "test" / "scenarios.jsonl").read_text().splitlines()
    assert len(lines) == SHIPPED["test"]
    assert sum('"unseen":true' in line for line in lines) == 24


def test_the_shipped_splits_take_at_most_30_megabytes_together() -> None:
    assert (
        sum(path.stat().st_size for split in SHIPPED for path in (SHIPPED_FOLDER / split).iterdir())
        <= 30_000_000
    )
