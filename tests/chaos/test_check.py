"""`python -m chaos check` passes sound folders, and finds every kind of damage planted in one."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chaos.__main__ import main
from chaos.check import check
from chaos.splits import LEFT_OUT
from core.judges.offline import OfflineJudge
from project_types import ScenarioError
from tests.builders.scenarios import INCIDENT, write

Damage = Callable[[dict[str, Any]], None]


def damage(path: Path, change: Damage) -> None:
    """Change one scenario file, and its line in scenarios.jsonl with it."""
    scenario = json.loads(path.read_bytes())
    change(scenario)
    path.write_text(json.dumps(scenario))
    combined = path.parent / "scenarios.jsonl"
    short = {key: value for key, value in scenario.items() if key not in LEFT_OUT}
    lines = [json.loads(line) for line in combined.read_text().splitlines()]
    combined.write_text(
        "".join(json.dumps(short if row["id"] == short["id"] else row) + "\n" for row in lines)
    )


def first(folder: Path, split: str = "train") -> Path:
    """The first scenario file of a split."""
    return min((folder / split).glob("scenario-*.json"))


def evidence(scenario: dict[str, Any]) -> list[dict[str, Any]]:
    """The decisive rows."""
    return [row for row in scenario["logs"] if row["id"] in scenario["ground_truth"]["evidence_log_ids"]]


def name_the_culprit(scenario: dict[str, Any]) -> None:
    scenario["description"] += f" It looks like {scenario['ground_truth']['service']}."


def name_the_fault(scenario: dict[str, Any]) -> None:
    scenario["description"] += f" Perhaps {scenario['ground_truth']['fault_type'].replace('_', ' ')}."


def say_it_in_the_hint(scenario: dict[str, Any]) -> None:
    scenario["time_hint"] += " " + max(
        evidence(scenario)[0]["message"].split(), key=lambda word: len(word) * word.isalpha()
    )


def label_a_row(scenario: dict[str, Any]) -> None:
    scenario["logs"][0]["message"] = "the root cause begins here"


def label_an_operation(scenario: dict[str, Any]) -> None:
    scenario["spans"][0]["operation"] = scenario["ground_truth"]["fault_type"]


def lose_the_evidence(scenario: dict[str, Any]) -> None:
    scenario["logs"] = [row for row in scenario["logs"] if row not in evidence(scenario)]


def blame_another(scenario: dict[str, Any]) -> None:
    truth = scenario["ground_truth"]
    truth["service"] = next(name for name in scenario["services"] if name != truth["service"])


def praise_a_distractor(scenario: dict[str, Any]) -> None:
    scenario["distractors"][0]["report"] = scenario["gold_report"]


def spoil_the_gold_report(scenario: dict[str, Any]) -> None:
    scenario["gold_report"]["root_cause"] = "something is odd"


def shorten(scenario: dict[str, Any]) -> None:
    keep = {row["id"] for row in evidence(scenario)}
    keep |= {row["id"] for row in scenario["logs"][:50]}
    scenario["logs"] = [row for row in scenario["logs"] if row["id"] in keep]


def orphan_a_span(scenario: dict[str, Any]) -> None:
    scenario["spans"][-1]["parent_span_id"] = "ffffffff"


def mark_unseen(scenario: dict[str, Any]) -> None:
    scenario["provenance"]["unseen"] = True


def hide_every_clue(scenario: dict[str, Any]) -> None:
    """Nothing names the culprit any more, its own lines say nothing loud, and no trace leads to it."""
    culprit = scenario["ground_truth"]["service"]
    other = next(name for name in scenario["services"] if name != culprit)
    for span in scenario["spans"]:
        span["service"] = other if span["service"] == culprit else span["service"]
    for row in scenario["logs"]:
        if row["service"] == culprit:
            row["level"] = "INFO"
        elif culprit in row["message"]:
            row["message"] = "something is wrong somewhere"
        row.pop("trace_id", None)
        row.pop("span_id", None)


PLANTED: list[tuple[Damage, str]] = [
    (name_the_culprit, "names the culprit"),
    (name_the_fault, "description"),
    (say_it_in_the_hint, "time_hint holds the gold word"),
    (label_a_row, "says 'root cause'"),
    (label_an_operation, "says"),
    (lose_the_evidence, "log row has id"),
    (blame_another, "not by the culprit"),
    (praise_a_distractor, "accepts the distractor"),
    (spoil_the_gold_report, "rejects the gold report"),
    (shorten, "log rows; wanted 100"),
    (orphan_a_span, "has a parent that does not exist"),
    (mark_unseen, "marked unseen"),
    (hide_every_clue, "no clue leads to an evidence row"),
]


@pytest.mark.parametrize(
    ("size", "count"),
    [("few", 4), pytest.param("generated", 10, marks=pytest.mark.slow)],
    ids=["few", "more"],
)
def test_generated_splits_pass(
    size: str, count: int, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", str(request.getfixturevalue(size))]) == 0
    printed = capsys.readouterr().out
    assert "all checks passed" in printed
    assert f"{count} scenarios" in printed


def test_one_split_can_be_checked_alone(few: Path) -> None:
    assert check(few / "train", OfflineJudge()).problems == []


@pytest.mark.parametrize(("change", "complaint"), PLANTED, ids=lambda item: getattr(item, "__name__", None))
def test_planted_damage_is_found_and_named(
    change: Damage, complaint: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damage(first(folder), change)
    assert main(["check", str(folder)]) == 1
    printed = capsys.readouterr().out
    assert complaint in printed
    assert first(folder).name in printed or "marked unseen" in printed


def test_a_file_that_is_no_json_is_found(folder: Path) -> None:
    first(folder).write_text("{")
    assert any(first(folder).name in problem for problem in check(folder, OfflineJudge()).problems)


def test_a_file_under_another_name_is_found(folder: Path) -> None:
    first(folder).rename(folder / "train" / "scenario-disk.json")
    assert any("not named after its id" in problem for problem in check(folder, OfflineJudge()).problems)


def test_a_missing_line_in_the_combined_file_is_found(folder: Path) -> None:
    combined = folder / "train" / "scenarios.jsonl"
    combined.write_text("".join(combined.read_text().splitlines(keepends=True)[1:]))
    assert any("no line for" in problem for problem in check(folder, OfflineJudge()).problems)


def test_a_line_without_a_file_is_found(folder: Path) -> None:
    first(folder).unlink()
    assert any("has no file" in problem for problem in check(folder, OfflineJudge()).problems)


def test_a_scenario_that_stands_in_two_splits_is_found(both: Path) -> None:
    (both / "train" / first(both, "test").name).write_bytes(first(both, "test").read_bytes())
    assert any("share the id" in problem for problem in check(both, OfflineJudge()).problems)


def test_a_folder_without_scenarios_is_bad_use(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(tmp_path)]) == 2
    assert "generate" in capsys.readouterr().err
    with pytest.raises(ScenarioError):
        check(tmp_path, OfflineJudge())


def test_a_generated_split_without_its_combined_file_fails(folder: Path) -> None:
    (folder / "train" / "scenarios.jsonl").unlink()
    assert any("scenarios.jsonl is missing" in problem for problem in check(folder, OfflineJudge()).problems)


def test_the_scenario_written_by_hand_in_the_docs_passes(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "scenarios.md").read_text(encoding="utf-8")
    example = page.split("```json\n")[1].split("```")[0]
    (tmp_path / f"scenario-{json.loads(example)['id']}.json").write_text(example)
    assert check(tmp_path, OfflineJudge()).problems == []


def test_imported_data_is_warned_of_where_generated_data_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    imported = json.loads(INCIDENT.model_dump_json())
    imported["logs"][1]["message"] += "; nested exception with root cause"
    imported["ground_truth"] = {
        "service": "ledger", "fault_type": "disk", "accepted_causes": ["no space left on device"]
    }  # fmt: skip
    imported["gold_report"]["key_log_ids"] = []
    imported["provenance"] = {"source": "somebody's data set"}
    write(tmp_path, imported)
    assert main(["check", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert re.search(r"^warning .* says 'root cause'$", said, re.MULTILINE)
    assert "calls until a tool shows the culprit of real incidents: 1: 1" in said
