"""`python -m failure_analysis score`: how often category and severity are right, on failures the rules were
not written from.

The set and the rules of labelling are described in docs/failures.md. Deterministic for rules; a model may be
measured instead.
"""

from __future__ import annotations

import argparse
import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from tqdm import tqdm

from core.episode_store.lines import read_lines
from core.escapes import plain
from failure_analysis.capture_command import analyzer
from failure_analysis.logs.analyzer import LogAnalyzer
from failure_analysis.records import FailureAnalysis, FailureCategory, Severity
from project_types import Frozen

LABELLED = Path(__file__).parent / "labelled_failures.jsonl"


class Labelled(Frozen):
    """A failure and what should be said of it."""

    id: str
    part: Literal["rules", "score"]
    experiment_type: str
    error_message: str
    logs: str
    code_snippet: str | None = None
    failure_category: FailureCategory
    severity: Severity


class Answered(NamedTuple):
    """A labelled failure and what was said of it."""

    labelled: Labelled
    said: FailureAnalysis

    @property
    def category_right(self) -> bool:
        """Whether the category is the labelled one."""
        return self.said.failure_category is self.labelled.failure_category

    @property
    def severity_right(self) -> bool:
        """Whether the severity is the labelled one."""
        return self.said.severity is self.labelled.severity


def read_labelled(part: str, path: Path = LABELLED) -> list[Labelled]:
    """The labelled failures of a part, in order."""
    rows = (Labelled.model_validate_json(line.content or b"") for line in read_lines(path))
    return [row for row in rows if row.part == part]


def answer(rows: list[Labelled], by: LogAnalyzer) -> list[Answered]:
    """What the analyzer says of each."""
    return [
        Answered(
            row,
            by.analyze_failure(row.id, row.experiment_type, row.error_message, row.logs, row.code_snippet),
        )
        for row in tqdm(rows, desc="score", unit="failure", leave=False, disable=None)
    ]


def command(arguments: argparse.Namespace) -> int:
    """Print accuracies and confusions. Returns 1 when one lies below the bar."""
    answered = answer(read_labelled(arguments.part), analyzer(arguments))
    category = sum(one.category_right for one in answered) / len(answered)
    severity = sum(one.severity_right for one in answered) / len(answered)
    by = Counter[str](one.said.method for one in answered)
    if arguments.json:
        print(
            json.dumps(
                {
                    "part": arguments.part,
                    "failures": len(answered),
                    "category": category,
                    "severity": severity,
                    **by,
                }
            )
        )
        return int(min(category, severity) < arguments.bar)
    print(f"{len(answered)} labelled failures of the part {arguments.part!r}, answered by {_said(by)}")
    print(f"category accuracy {category:.3f}\nseverity accuracy {severity:.3f}\nbar {arguments.bar:g}")
    _confusion("category", [c.value for c in FailureCategory],
               Counter((o.labelled.failure_category.value, o.said.failure_category.value) for o in answered))  # fmt: skip
    _confusion("severity", [s.value for s in Severity],
               Counter((o.labelled.severity.value, o.said.severity.value) for o in answered))  # fmt: skip
    for one in answered if arguments.wrong else ():
        if not (one.category_right and one.severity_right):
            want, said = one.labelled, one.said
            print(f"{want.id}: {want.failure_category} {want.severity}, said {said.failure_category} {said.severity}: "
                  f"{want.error_message.splitlines()[0][:100]}")  # fmt: skip
    return int(min(category, severity) < arguments.bar)


def is_marked(cause: str, lines: Sequence[str], marked: Iterable[Sequence[int]]) -> bool:
    """Whether the first line of the cause is, or is part of, a line in one of the stretches."""
    said = _words(cause.split("\n")[0])
    if len(said) < 5:
        return False
    texts = [_words(line) for first, last in marked for line in lines[first - 1 : last]]
    return any(said in text or (len(text) >= 20 and text in said) for text in texts)


def _words(line: str) -> str:
    return re.sub(r"\s+", " ", plain(line)).strip()


def _said(by: Counter[str]) -> str:
    return ", ".join(f"{method} ({count})" for method, count in by.most_common())


def _confusion(what: str, names: list[str], found: Counter[tuple[str, str]]) -> None:
    """Labelled down, said across."""
    width = max(map(len, names))
    print(f"\n{what}: labelled down, said across")
    print(" " * width, *(name[:10].rjust(10) for name in names))
    for want in names:
        print(want.ljust(width), *(str(found[want, said] or ".").rjust(10) for said in names))
