"""Preferences go to Label Studio and Argilla and come back as they were; what is broken is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from alignment.__main__ import main
from alignment.exchange import FORMS, Form, exported, imported
from alignment.generator import generate
from alignment.pairs import from_cases
from alignment.preferences import Preference, read, write
from project_types import ConfigurationError

PAIRS = list(from_cases(generate("train", 4)))
JUDGED = [
    pair.model_copy(update={"kind": "person", "by": by, "better": better, "why": pair.why})
    for pair in PAIRS[:3]
    for by, better in (("meg", "a"), ("owen", "tie"), ("kim", "both bad"))
]


def by_judge(preferences: list[Preference]) -> list[Preference]:
    return sorted(preferences, key=lambda one: (one.id, one.by))


@pytest.mark.parametrize("form", FORMS)
def test_what_people_said_survives_the_way_there_and_back(form: Form, tmp_path: Path) -> None:
    tasks = exported([*PAIRS, *JUDGED], form)
    assert len(tasks) == len(PAIRS), "one task for each pair"
    path = tmp_path / "tasks.json"
    path.write_text(json.dumps(tasks))
    assert by_judge(list(imported(path, form))) == by_judge(JUDGED), "the generator's own word is nobody's"


def test_label_studios_own_shapes_are_read(tmp_path: Path) -> None:
    (task,) = exported(JUDGED[:1], "label-studio")
    task["annotations"][0] |= {
        "completed_by": {"id": 1, "email": "meg@example.com"},
        "created_at": "2026-01-31T12:00:00Z",
    }
    task["annotations"].append({"was_cancelled": True, "completed_by": 2, "result": []})
    path = tmp_path / "tasks.json"
    path.write_text(json.dumps([task]))
    (one,) = imported(path, "label-studio")
    assert one.by == "meg@example.com"


BROKEN: list[tuple[Form, Any]] = [
    ("label-studio", {"annotations": [{"result": [{"from_name": "better"}]}]}),
    ("label-studio", 3),
    ("argilla", 3),
    ("argilla", {"metadata": {}}),
]


@pytest.mark.parametrize(("form", "task"), BROKEN)
def test_a_foreign_task_is_named(form: Form, task: Any, tmp_path: Path) -> None:
    path = tmp_path / "tasks.json"
    path.write_text(json.dumps([task]))
    with pytest.raises(ConfigurationError, match=f"task 1 is no {form} task"):
        list(imported(path, form))


def test_the_commands_export_and_import(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pairs, tasks, back = tmp_path / "pairs.jsonl", tmp_path / "tasks.json", tmp_path / "back.jsonl"
    write(pairs, JUDGED)
    assert main(["export", str(pairs), "--form", "argilla", "--out", str(tasks)]) == 0
    assert main(["import", str(tasks), "--form", "argilla", "--out", str(back)]) == 0
    assert by_judge(list(read(back))) == by_judge(JUDGED)
    assert "9 judgements" in capsys.readouterr().out
    tasks.write_text("{")
    assert main(["import", str(tasks), "--form", "argilla", "--out", str(back)]) == 2
