"""Commands that read episodes read a training run too, change nothing in it, and run writes into no other's
folder.
"""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from tests.builders.commands import evaluation
from tests.builders.episodes import episode
from tests.builders.runs import SCENARIOS, evaluation_run, training_run
from tests.builders.scenarios import write_scenarios


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A training run with a summary and a report of its own."""
    made = training_run(tmp_path / "runs")
    (made / "summary.json").write_text('{"name": "seed1"}')
    (made / "report.html").write_text("its own report")
    return made


def test_show_reads_the_best_checkpoint_or_the_one_named(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluation("show", run, SCENARIOS[1]) == 0
    assert f"== {SCENARIOS[1]}#0  seed1@3  answered, right" in capsys.readouterr().out
    assert evaluation("show", f"{run}@0", SCENARIOS[1]) == 0
    assert f"== {SCENARIOS[1]}#0  seed1@0  answered, not right" in capsys.readouterr().out


def test_compare_pairs_two_checkpoints_and_its_hint_can_be_followed(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluation("compare", f"{run}@0", run) == 0
    said = capsys.readouterr().out
    assert "4 scenarios in both" in said
    assert "more often right in B: 2" in said
    hint = said.partition("read one: ")[2].splitlines()[0].split("    ")[0]
    python, flag, room, *arguments = shlex.split(hint)
    assert (python, flag, room) == ("python", "-m", "evaluation")
    assert evaluation(*arguments) == 0


def test_compare_says_when_both_sides_are_the_same_episodes(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluation("compare", f"{run}@3", run) == 0, "3 is the best checkpoint"
    assert "note: A and B are the same episodes" in capsys.readouterr().err
    assert evaluation("compare", f"{run}@0", run) == 0
    assert capsys.readouterr().err == ""


def test_report_lies_beside_the_episodes_and_not_over_the_runs_own(run: Path) -> None:
    before = contents(run)
    assert evaluation("report", run) == 0
    after = contents(run)
    assert set(after) - set(before) == {"episodes/test-0003-t0.html"}
    assert {name: after[name] for name in before} == before


def test_reading_changes_nothing(run: Path, tmp_path: Path) -> None:
    before = contents(run)
    assert evaluation("show", run, SCENARIOS[0]) == 0
    assert evaluation("compare", run, f"{run}@0", "--json") == 0
    assert evaluation("export", run, "--out", tmp_path / "table.parquet") == 0
    assert contents(run) == before


def test_another_judge_reads_the_reports_of_a_training_run(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(run)
    assert evaluation("rescore", "--judge", "offline", run) == 0
    assert "4 reports, agreement 100.0%" in capsys.readouterr().out
    made = set(contents(run)) - set(before)
    assert made == {"episodes/test-0003-t0.verdicts-offline.jsonl"}
    assert {name: contents(run)[name] for name in before} == before


def test_what_the_run_does_not_hold_is_told_with_what_it_holds(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluation("show", run, SCENARIOS[0], "--split", "val") == 2
    error = capsys.readouterr().err
    assert "no episodes of val (t0); it holds test (t0) at 0, 3" in error
    assert "evaluation run" not in error  # the hint that once led to writing into a training run


@pytest.mark.parametrize("dry", [(), ("--dry-run",)], ids=["run", "dry run"])
def test_an_evaluation_is_not_written_into_a_training_run(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], dry: tuple[str, ...]
) -> None:
    split = write_scenarios(tmp_path / "split", "aa01")
    before = contents(run)
    assert evaluation("run", "--policy", "script:first-error", "--split", split, "--out", run, *dry) == 2
    assert "holds a training run; choose another --out" in capsys.readouterr().err
    assert contents(run) == before


def test_an_evaluation_is_not_written_into_a_folder_of_something_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    split = write_scenarios(tmp_path / "split", "aa01")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    where = ("--policy", "script:first-error", "--split", split, "--out")
    assert evaluation("run", *where, tmp_path / "mine") == 2
    assert "holds 'thesis.tex' and no evaluation" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert evaluation("run", *where, tmp_path / "empty", "--no-explain") == 0
    assert evaluation("run", *where, tmp_path / "empty", "--no-explain") == 0


def test_a_run_may_be_named_without_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluation_run(tmp_path / "runs" / "eval", [episode("abc1", correct=True)])
    monkeypatch.chdir(tmp_path)
    assert evaluation("show", "eval", "abc1") == 0
    assert json.loads(capsys.readouterr().out.partition("reward components ")[2].splitlines()[0])
