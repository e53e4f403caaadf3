"""What a row shows by itself, and what the other rows of its scenario say about its service.

Words are compared with service names, numbers and ids blanked. A complaint is a row of another service, WARN
or worse, that names the service. No feature looks at time, traces, topology or metrics: what a classifier
achieves with these features, it achieves without investigating.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.log_stores.masks import masked
from project_types import Level, LogRecord, Scenario

NAME = "svc"
"""Stands for a service's name in a text."""

Floats = NDArray[np.float64]


class Rows(NamedTuple):
    """The rows of one scenario as a classifier sees them."""

    records: Sequence[LogRecord]
    texts: list[str]
    """Masked messages."""
    shown: Floats
    """What each row shows apart from its words: level, alike rows, length, others named, part of a trace."""
    told: Floats
    """What other rows say about its service: complaints, those at ERROR, who complains, complaints it makes
    itself, the difference, and complaints about who complains.
    """
    decisive: NDArray[np.bool_]


SHOWN = ("level", "alike", "words", "names others", "in a trace")
TOLD = (
    "complaints",
    "complaints at ERROR",
    "complainers",
    "own complaints",
    "balance",
    "complaints about complainers",
)


def rows_of(scenario: Scenario) -> Rows:
    """Read one scenario."""
    pattern = _names(scenario.services)
    named = [set(pattern.findall(row.message)) - {row.service} for row in scenario.logs]
    texts = [masked(pattern.sub(NAME, row.message)) for row in scenario.logs]
    alike = Counter((row.service, text) for row, text in zip(scenario.logs, texts, strict=True))
    shown = [
        [Level[row.level], alike[row.service, text], len(text.split()), len(about), row.trace_id is not None]
        for row, text, about in zip(scenario.logs, texts, named, strict=True)
    ]
    evidence = set(scenario.ground_truth.evidence_log_ids)
    decisive = np.array([row.id in evidence for row in scenario.logs])
    return Rows(scenario.logs, texts, np.array(shown, float), _told(scenario.logs, named), decisive)


def _names(services: Sequence[str]) -> re.Pattern[str]:
    longest_first = sorted(services, key=len, reverse=True)
    return re.compile("|".join(rf"(?<![\w.-]){re.escape(name)}(?![\w-])" for name in longest_first))


def _told(records: Sequence[LogRecord], named: Sequence[set[str]]) -> Floats:
    complaints, severe, own = Counter[str](), Counter[str](), Counter[str]()
    by: dict[str, set[str]] = defaultdict(set)
    for row, about in zip(records, named, strict=True):
        if Level[row.level] < Level.WARN:
            continue
        own[row.service] += bool(about)
        for service in about:
            complaints[service] += 1
            severe[service] += row.level == "ERROR"
            by[service].add(row.service)
    told = {}
    for service in {row.service for row in records}:
        complainers = by[service]
        told[service] = (
            complaints[service],
            severe[service],
            len(complainers),
            own[service],
            complaints[service] - own[service],
            sum(complaints[one] for one in complainers),
        )
    return np.array([told[row.service] for row in records], float)
