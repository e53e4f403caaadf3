"""A scenario is drawn with its truth, whoever wrote it; the data card says what is shipped."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from chaos.__main__ import main
from chaos.card import read_split, to_markdown
from chaos.showing import CAUSE, COLUMNS, axis_of, bars, dots, shown
from core.marked_text import read_between
from project_types import read_scenario
from tests.builders.scenarios import INCIDENT
from tests.chaos.conftest import write

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two twins."""
    return sorted(write(tmp_path_factory.mktemp("show") / "val", "val", 2, 11).glob("scenario-*.json"))


def test_the_culprit_its_rows_and_the_way_to_the_symptom_are_shown(pair: list[Path]) -> None:
    one = read_scenario(pair[0])
    text = shown(one)
    assert one.expected_root_cause in text
    assert f"{CAUSE} {one.ground_truth.service}" in text
    assert " → ".join(one.ground_truth.propagation_path) in text
    for service in one.services:
        assert service in text
    decisive = [row for row in one.logs if row.id in one.ground_truth.evidence_log_ids]
    for row in decisive:
        assert f"{row.timestamp:%H:%M:%S} {row.level} {row.service}" in text


def test_the_time_line_is_as_wide_as_it_says(pair: list[Path]) -> None:
    lines = shown(read_scenario(pair[0])).splitlines()
    assert any(len(line) - len(line.rstrip("·0123456789")) >= COLUMNS for line in lines if "events" in line)


def test_bars_and_dots_are_one_character_a_column() -> None:
    assert bars([0, 1, 8]) == "▁▂█"
    assert bars([0, 0]) == "▁▁"
    assert dots([0, 3, 12]) == "·39"


def test_a_scenario_by_hand_is_shown_as_far_as_it_goes() -> None:
    text = shown(INCIDENT)
    assert INCIDENT.ground_truth.service in text
    assert axis_of(INCIDENT) is not None


def test_what_rows_say_cannot_move_the_cursor() -> None:
    hostile = [row.model_copy(update={"message": "\x1b[2J\nfaked"}) for row in INCIDENT.logs]
    text = shown(INCIDENT.model_copy(update={"logs": tuple(hostile), "description": "\x1b[2J"}))
    assert "\x1b" not in text
    assert "\nfaked" not in text


def test_the_command_takes_a_file_and_draws_both_twins(
    pair: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "twins.svg"
    assert main(["show", str(pair[0]), "--picture", str(picture)]) == 0
    assert "drawn" in capsys.readouterr().out
    drawn = picture.read_text(encoding="utf-8")
    for path in pair:
        truth = read_scenario(path).ground_truth
        assert f"{truth.fault_type} at {truth.service}" in drawn


def test_a_picture_that_cannot_be_drawn_says_what_to_give(
    pair: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["show", str(pair[0]), "--picture", str(tmp_path / "twins.doc")]) == 2
    assert ".svg or .png" in capsys.readouterr().err


def test_the_beginning_of_an_id_is_enough(capsys: pytest.CaptureFixture[str]) -> None:
    path = min((ROOT / "log_scenarios" / "test").glob("scenario-*.json"))
    assert main(["show", path.stem.removeprefix("scenario-")[:9]]) == 0
    assert path.stem.removeprefix("scenario-") in capsys.readouterr().out


def test_an_id_that_many_have_and_one_that_none_has_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "0"]) == 2
    assert "give more digits" in capsys.readouterr().err
    assert main(["show", "*"]) == 2
    assert "no shipped scenario" in capsys.readouterr().err


@pytest.mark.slow
def test_the_data_card_says_what_is_shipped() -> None:
    """When this fails: python -m chaos card train val test controls --write-docs."""
    table = read_between(ROOT / "docs" / "scenarios.md", "card").splitlines()
    rows = [re.split(r"\s*\|\s*", line.strip("| ")) for line in table]
    told = {name: cells for name, *cells in rows}
    for column, split in ((1, "val"), (3, "controls")):
        again = to_markdown({split: read_split(ROOT / "log_scenarios" / split)}).splitlines()
        for line in again[2:]:
            name, cell = (part.strip() for part in line.strip("|").split("|"))
            assert told[name][column] == cell, name
