"""`rescore` asks another judge about stored reports, keeps its verdicts and counts agreement."""

from __future__ import annotations

import json
from math import isnan
from pathlib import Path

import pytest

from core.episode_store.loading import load
from core.episode_store.run_folder import EPISODES
from evaluation.agreement import agreement
from evaluation.rescoring import verdicts_file
from project_types import Report, Verdict
from tests.builders.commands import evaluation as run
from tests.builders.episodes import episode, write_episodes
from tests.builders.scenarios import write_scenarios


def verdict(correct: bool) -> Verdict:
    return Verdict(
        correct=correct, service_correct=correct, cause_correct=correct, reason="second look", judge="second"
    )


def test_agreement_and_kappa_follow_from_the_four_cells() -> None:
    cells = {(True, True): 20, (True, False): 5, (False, True): 10, (False, False): 15}
    pairs = [
        (episode(f"{first}{second}{n}", correct=first), verdict(second))
        for (first, second), count in cells.items()
        for n in range(count)
    ]
    found = agreement(pairs)
    assert found.table == cells
    assert found.agreed == 35
    assert found.kappa == pytest.approx(0.4)
    assert len(found.disagreements) == 15
    assert found.stored.value == pytest.approx(0.5)
    assert found.rescored.value == pytest.approx(0.6)


def test_kappa_of_judges_who_always_say_the_same_is_undefined() -> None:
    assert isnan(agreement([(episode("a"), verdict(False))]).kappa)


@pytest.fixture
def played(tmp_path: Path) -> Path:
    split = write_scenarios(tmp_path / "split", "aa01", "aa02", "aa03")
    run("run", "--policy", "script:rarest-warning", "--split", split, "--k", 2, "--out", tmp_path / "run")
    return tmp_path / "run"


def test_the_same_judge_agrees_with_itself(played: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (played / EPISODES).read_bytes()
    assert run("rescore", "--judge", "offline", played) == 0
    assert "6 reports, agreement 100.0%" in capsys.readouterr().out
    assert (played / EPISODES).read_bytes() == before
    assert len((played / "verdicts-offline.jsonl").read_text().splitlines()) == 6


def test_verdicts_are_kept_and_a_second_call_asks_only_for_what_is_missing(played: Path) -> None:
    run("rescore", "--judge", "offline", played)
    kept = played / "verdicts-offline.jsonl"
    lines = kept.read_text().splitlines(keepends=True)
    kept.write_text("".join(lines[:4]) + lines[4][:30])
    assert run("rescore", "--judge", "offline", played) == 0
    assert kept.read_text().splitlines(keepends=True)[:4] == lines[:4]
    assert len(kept.read_text().splitlines()) == 6


def test_a_judge_that_disagrees_is_counted_and_quoted(
    played: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = played / EPISODES
    stored = load(played).episodes
    flipped = [one.model_copy(update={"verdict": verdict(False)}) for one in stored[:3]]
    write_episodes(path, *flipped, *stored[3:])
    assert run("rescore", "--judge", "offline", played, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["both_right"], found["only_rescored_right"]) == (3, 3)
    assert found["disagreements"][0]["stored"] == "not right: second look"


def test_a_report_that_was_replaced_is_judged_again(played: Path) -> None:
    run("rescore", "--judge", "offline", played)
    first, *rest = load(played).episodes
    other = Report(root_cause="something else", suspected_service="orders")
    write_episodes(played / EPISODES, first.model_copy(update={"report": other}), *rest)
    assert run("rescore", "--judge", "offline", played) == 0
    assert len((played / "verdicts-offline.jsonl").read_text().splitlines()) == 7


def test_a_scenario_that_changed_is_not_judged_and_said(
    played: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = played.parent / "split" / "scenario-aa02.json"
    file.write_text(file.read_text().replace("Orders fail for some users.", "Orders fail."))
    assert run("rescore", "--judge", "offline", played) == 1
    said = capsys.readouterr()
    assert "4 reports" in said.out
    assert "aa02#0: its scenario file has changed" in said.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--judge", "nobody/knows"), "nobody/knows"),
        (("--judge", "offline", "--split", "no-such"), "no such folder"),
    ],
)
def test_what_is_missing_is_named(
    played: Path, arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("rescore", *arguments, played) == 2
    assert message in capsys.readouterr().err


def test_a_judges_name_becomes_a_file_name_of_its_own(tmp_path: Path) -> None:
    names = [
        verdicts_file(tmp_path, judge).name
        for judge in ("offline", "openai/gpt", "openai-gpt", "../../etc", "<x>")
    ]
    assert names[0] == "verdicts-offline.jsonl"
    assert len(set(names)) == len(names)
    assert all("/" not in name and "<" not in name for name in names)


def test_episodes_without_a_report_cannot_be_judged_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_episodes(tmp_path / "a.jsonl", episode("a", verdict=None, report=None))
    assert run("rescore", "--judge", "offline", path) == 2
    assert "no episode has a report and a verdict" in capsys.readouterr().err
