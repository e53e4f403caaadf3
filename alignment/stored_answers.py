"""Answers that were given, one JSON object a line in a file for each row, so that they are given once.

Not here: how a row answers (`answering`), what answers are worth (`scorer`), and the table (`report`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from alignment.records import kept
from core.episode_store.lines import append
from project_types import Frozen

BASE, EXTRACTIVE = "base", "extractive"


class Answer(Frozen):
    """One stored answer."""

    case: str
    row: str
    """base, extractive, or NAME@vN."""
    text: str
    tokens: int = 0


def stored(folder: Path, row: str) -> dict[str, Answer]:
    """Return the answers of a row by case; none when there is no file. A line that was cut is left out."""
    return {answer.case: answer for answer in kept(answers_file(folder, row), Answer)}


def rows_in(folder: Path) -> list[str]:
    """Return the rows that have stored answers: the base, the rule, then adapters by name."""
    names = {Answer.model_validate_json(line).row for line in _first_lines(folder)}
    return sorted(names, key=lambda name: ("@" in name, name))


def _first_lines(folder: Path) -> Iterator[str]:
    for path in folder.glob("*.jsonl"):
        with path.open(encoding="utf-8") as file:
            if (line := file.readline()).endswith("\n"):  # one without its end is still being written
                yield line


def answers_file(folder: Path, row: str) -> Path:
    """Return where the answers of a row are."""
    return folder / f"{row.replace('@', '-')}.jsonl"


def keep(folder: Path, answers: Iterable[Answer]) -> None:
    """Add answers to the files of their rows."""
    folder.mkdir(parents=True, exist_ok=True)
    for answer in answers:
        with append(answers_file(folder, answer.row)) as add:
            add(answer.model_dump_json())
