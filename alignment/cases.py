"""An Explain case: a failure's log, and what an engineer knows about it.

The model sees the log and nothing else. The truth says which line is the cause, which lines only follow from
it, which ones look bad and did no harm, and what to do and not to do. Not here: how cases are made
(`generator`), and what an answer is worth (`scorer`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from alignment.records import records
from project_types import Frozen

Split = Literal["train", "val", "seen", "unseen"]
"""train and val share their failure types with `seen`. Those of `unseen` occur nowhere else."""
SYSTEM = "You explain failures from logs, briefly and only from what the log says."
ASK = (
    "Name the root cause, quote the line that shows it, say what is only a symptom, and give one safe next action. "
    "Use at most 120 words. If nothing failed, say so."
)
MOST_WORDS = 120


class Truth(Frozen):
    """What is true of a log. Lines are numbered from 0."""

    failed: bool
    """False: the log is green, and 'no failure found' is right."""
    cause_line: int | None = None
    terms: tuple[str, ...] = ()
    """Each must be named for the cause to count as named; `|` separates wordings."""
    symptom_lines: tuple[int, ...] = ()
    herring_lines: tuple[int, ...] = ()
    """They look as bad as a cause, and what they are about went on well. The next
    two are in the same order.
    """
    herring_terms: tuple[tuple[str, ...], ...] = ()
    herring_actions: tuple[str, ...] = ()
    """What would help against each."""
    safe_action: str = ""
    unsafe_actions: tuple[str, ...] = ()


class ExplainCase(Frozen):
    """One log with its truth."""

    id: str
    family: str
    failure_type: str
    split: Split
    log: tuple[str, ...]
    truth: Truth

    @property
    def text(self) -> str:
        """Return the log as the model sees it."""
        return "\n".join(self.log)

    def messages(self) -> list[dict[str, str]]:
        """Return the prompt."""
        return prompt(self.text)


class Asked(Protocol):
    """Anything that has a name and a prompt."""

    @property
    def id(self) -> str: ...

    def messages(self) -> list[dict[str, str]]: ...


@dataclass(frozen=True)
class Sample:
    """A case that is asked again; the first time it has the case's own name."""

    case: Asked
    number: int = 0

    @property
    def id(self) -> str:
        return f"{self.case.id}#{self.number}" if self.number else self.case.id

    def messages(self) -> list[dict[str, str]]:
        return self.case.messages()


def prompt(log: str) -> list[dict[str, str]]:
    """Return the messages that ask for an explanation of a log."""
    return [
        {"role": "system", "content": SYSTEM},
        {"role": "user", "content": f"{log}\n\n{ASK}"},
    ]


def read_cases(path: Path) -> Iterator[ExplainCase]:
    """Read cases, one a line. Raises ConfigurationError that names file, line and fix."""
    make = f"make cases with: python -m alignment cases --out {path.parent}"
    return records(path, ExplainCase, make, "fix or delete the line")


def write_cases(path: Path, cases: Iterable[ExplainCase]) -> int:
    """Write cases, one a line. Returns how many."""
    lines = [case.model_dump_json() for case in cases]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return len(lines)


def case_id(family: str, log: Iterable[str]) -> str:
    """Return a name that says nothing about the truth."""
    digest = hashlib.sha256("\n".join(log).encode()).hexdigest()
    return f"{family}-{digest[:10]}"
