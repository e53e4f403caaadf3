"""Real logs as test data of `evaluate`: builds with lines that people marked, green
builds, and labelled messages.

Nothing is trained on them. A log reaches a row as `triage` would hand it over: masked, and cut to the stretch
that matters. Where triage finds no failure, every row has that answer. What counts here is less than on
generated cases: whether a line that people marked is named or quoted, and whether quotations exist.

The `rules` row is what needs no language model: the rules of the failure analysis,
which also pick the stretch.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple

from alignment.cases import prompt
from alignment.report import share_shown
from alignment.scorer import QUOTED, repetition, says_green, sections
from alignment.triage import MOST_LINES, by_rules, stretch
from core.intervals import share_of
from core.redaction import redact
from failure_analysis.logs.scoring import is_marked, read_labelled
from failure_analysis.logs.suspects import suspect
from project_types import ConfigurationError

LABELS = "labels.json"
Kind = Literal["build", "green", "message"]
TITLES: dict[Kind, str] = {
    "build": "Real builds that failed",
    "green": "Real builds that passed",
    "message": "Labelled failures",
}


@dataclass(frozen=True)
class RealLog:
    """One real log and what people said of it."""

    id: str
    kind: Kind
    log: str
    marked: tuple[tuple[int, int], ...] = ()
    """First and last line, from 1, of each stretch that says why."""

    @cached_property
    def masked(self) -> str:
        """The last lines, as triage keeps them, without secrets."""
        return redact("\n".join(self.log.split("\n")[-MOST_LINES:]))

    @cached_property
    def asked(self) -> str | None:
        """The stretch that a model reads; None where no failure is found, so that none is asked."""
        telling = suspect(self.masked)
        return None if telling is None else stretch(self.masked, telling.place)

    def messages(self) -> list[dict[str, str]]:
        """Return the prompt. Only where a failure is found."""
        return prompt(self.asked or "")

    def by_rules(self) -> str:
        """Return what the rules say, in the form of an answer."""
        return by_rules(self.masked)


def builds(folder: Path) -> Iterator[RealLog]:
    """Yield the builds of a folder: labels.json, and a folder each with fail.log and perhaps pass.log.

    Raises ConfigurationError that names the file and what it should hold.
    """
    path = next((place for place in (folder / LABELS, folder / "ci" / LABELS) if place.exists()), None)
    if path is None:
        raise ConfigurationError(
            f"{folder}: no {LABELS} in it; give a folder of builds, see tests/failure_analysis/ci_logs"
        )
    for label in json.loads(path.read_text(encoding="utf-8")):
        place = path.parent / label["id"]
        marked = tuple((first, last) for first, last in label["marked_lines"])
        yield RealLog(f"build-{label['id']}", "build", _read(place / "fail.log"), marked)
        if (place / "pass.log").exists():
            yield RealLog(f"green-{label['id']}", "green", _read(place / "pass.log"))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as trouble:
        raise ConfigurationError(
            f"{path}: {trouble.strerror}; add the log, or take it out of {LABELS}"
        ) from trouble


def labelled(most: int) -> list[RealLog]:
    """Return the first of the failures' labelled set: the error message is what should be named."""
    found = []
    for row in read_labelled("score")[:most]:
        lines = len(row.error_message.split("\n"))
        found.append(RealLog(row.id, "message", f"{row.error_message}\n{row.logs}", ((1, lines),)))
    return found


class RealFacts(NamedTuple):
    """What is true of one answer to a real log."""

    right: bool
    """A marked line is named or quoted; of a green log, that nothing failed."""
    hallucinated: bool
    refused: bool
    words: int
    repetition: float


def facts(real: RealLog, answer: str) -> RealFacts:
    """Read one answer."""
    cause, quotes = sections(answer)["root cause"], QUOTED.findall(answer)
    refused = says_green(answer) or not answer.strip()
    lines, marked = real.log.split("\n"), [list(one) for one in real.marked]
    named = any(is_marked(text, lines, marked) for text in (cause.strip(), *quotes))
    known = " ".join(real.masked.split())
    return RealFacts(
        right=refused if real.kind == "green" else named and not refused,
        hallucinated=any(" ".join(quote.split()) not in known for quote in quotes),
        refused=refused,
        words=len(answer.split()),
        repetition=repetition(answer),
    )


def table(logs: Sequence[RealLog], texts: Mapping[str, Mapping[str, str]]) -> str:
    """Return a table per kind of log. `texts` holds the answers of each row by log."""
    parts = []
    for kind, title in TITLES.items():
        of_kind = [real for real in logs if real.kind == kind]
        if of_kind:
            head = (
                "| row | logs | right | hallucinated | nothing failed | words | repetition |\n"
                + "|---" * 7
                + "|"
            )
            rows = [_row(name, of_kind, said) for name, said in texts.items()]
            parts.append("\n".join([f"### {title}", "", head, *rows]))
    return "\n\n".join(parts)


def _row(name: str, logs: Sequence[RealLog], said: Mapping[str, str]) -> str:
    found = [facts(real, said[real.id]) for real in logs if real.id in said]
    right, hallucinated = sum(one.right for one in found), sum(one.hallucinated for one in found)
    counts = (right, hallucinated, sum(one.refused for one in found))
    shares = [share_shown(share_of(count, len(found))) for count in counts]
    return "| " + " | ".join([name, str(len(found)), *shares, *_means(found)]) + " |"


def _means(found: Sequence[RealFacts]) -> Iterator[str]:
    most = max(1, len(found))
    yield f"{sum(one.words for one in found) / most:.0f}"
    yield f"{sum(one.repetition for one in found) / most:.2f}"
