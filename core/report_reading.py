"""What a report admits and what it cites, before anybody judges it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from project_types import Incident, Report, Tool

Kind = Literal["log", "trace"]

_FILLER = re.compile(
    r"(?<![\w/])(the|a|an|root|cause|service|is|was|it|of|this|incident|remains|still|i|to|be)\b|[^\w\s/?'-]"
)
_NOT_KNOWN = re.compile(
    r"unknown|undetermined|unclear|unidentified|unsure|uncertain|n/?a|none|null|nil|tbd|idk|[?-]*|don'?t know|do not know"
    r"|(not|can ?not|can't|could not|couldn't) ?(yet )?(known|sure|clear|found|find|determined?|identif(y|ied))"
)


def is_unknown(report: Report, scenario: Incident) -> bool:
    """Whether a report admits that it does not know the service or the cause."""

    def says_nothing(text: str) -> bool:
        return _NOT_KNOWN.fullmatch(" ".join(_FILLER.sub(" ", text.casefold()).split())) is not None

    named = report.suspected_service.strip().casefold() in {
        service.casefold() for service in scenario.services
    }
    return says_nothing(report.root_cause) or (not named and says_nothing(report.suspected_service))


@dataclass
class Cited:
    """Full ids that a report cites; those that exist nowhere as they were written."""

    logs: dict[str, None] = field(default_factory=dict)
    traces: dict[str, None] = field(default_factory=dict)
    fabricated: set[str] = field(default_factory=set)
    """Cited ids that no tool can resolve in this scenario."""


def cited(report: Report, tools: Iterable[Tool]) -> Cited:
    """Resolve what a report cites with the tools of its episode, which know every id of the scenario."""
    found, known = Cited(), list(tools)
    lists: tuple[tuple[Kind, Kind, tuple[str, ...]], ...] = (
        ("log", "trace", report.key_log_ids),
        ("trace", "log", report.primary_trace_ids),
    )
    for kind, other, ids in lists:
        for shown in filter(None, map(str.strip, ids)):
            place, full = _resolved(shown, (kind, other), known)
            {"log": found.logs, "trace": found.traces}[place][full or shown] = None
            if full is None:
                found.fabricated.add(shown)
    return found


def _resolved(shown: str, kinds: tuple[Kind, Kind], tools: list[Tool]) -> tuple[Kind, str | None]:
    """An id's kind and its full form. One in the wrong list is untidy, not invented."""
    for kind in kinds:
        for tool in tools:
            if full := tool.resolve(kind, shown):
                return kind, full
    return kinds[0], None
