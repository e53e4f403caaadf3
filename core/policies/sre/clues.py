"""What is known of each service and each new row, as numbers of about the size of 1.

Numbers about a service come from trails, operations and metrics, those about a row from its time, its count
and what it names. `likelihood` weighs them. The weights were fitted on generated scenarios of the wordings of
train (`benchmarks/sre_weights.py`); they know mechanisms, and no words.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from core.log_stores.masks import masked
from core.policies.screen import ShownRow
from core.policies.sre.reading import Moved, Usual, apart, seconds
from core.policies.sre.trails import Marks
from project_types import Level

WEIGHTS = Path(__file__).with_name("weights.json")
MOST_MOVE = 0.5
"""Share of its range by which a level moves at most, for what counts."""
Numbers = Mapping[str, float]
LEVELS = ("percent", "sockets", "connections", "queue")
"""Parts of the names of metrics that are levels between 0 and about 100."""


@cache
def weights() -> Numbers:
    """What each number counts for."""
    found: dict[str, float] = json.loads(WEIGHTS.read_text(encoding="utf-8"))
    return found


def likelihood(numbers: Numbers) -> float:
    """The weighted sum; the larger, the likelier."""
    known = weights()
    return sum(known.get(name, 0.0) * value for name, value in numbers.items())


def likeliest(services: Sequence[str], likelihoods: Sequence[float]) -> int:
    """Return which option to take: the likeliest one of the service whose options are likeliest together.

    A culprit has several decisive rows, and each makes it likelier. One strange row of
    another service does not.
    """
    together: defaultdict[str, float] = defaultdict(float)
    for service, value in zip(services, likelihoods, strict=True):
        together[service] += math.exp(value)
    best = max(together, key=lambda name: together[name])
    return max((at for at, service in enumerate(services) if service == best), key=lambda at: likelihoods[at])


def about_services(
    services: Sequence[str],
    marks: Marks,
    passed: Mapping[str, float],
    usual: Iterable[Usual],
    metrics: Iterable[Moved],
) -> dict[str, dict[str, float]]:
    """The numbers of each service."""
    found: dict[str, dict[str, float]] = {name: dict(marks.get(name, {})) for name in services}
    for name in services:
        found[name]["in bad traces"] = passed.get(name, 0.0)
    _add_operations(found, usual)
    _add_metrics(found, metrics)
    return found


def _add_operations(found: dict[str, dict[str, float]], usual: Iterable[Usual]) -> None:
    fine, all_spans = Counter[str](), Counter[str]()
    for one in usual:
        all_spans[one.service] += one.spans
        slower = one.before_p50_ms is not None and one.p50_ms > 2 * one.before_p50_ms + 20
        fine[one.service] += 0 if slower else round(one.spans * (1 - one.failed))
    for name, numbers in found.items():
        numbers["mostly fine"] = fine[name] / all_spans[name] if all_spans[name] >= 3 else 0.5
        numbers["no spans"] = float(all_spans[name] == 0)


def _add_metrics(found: dict[str, dict[str, float]], metrics: Iterable[Moved]) -> None:
    for numbers in found.values():
        numbers["on a trail"] = float(
            any(numbers.get(mark, 0) > 0 for mark in numbers if mark != "mostly fine")
        )
    for one in metrics:
        numbers = found.get(one.service, {})
        if any(part in one.name for part in LEVELS):
            change = (
                min(abs(one.now - one.before) / 100, MOST_MOVE) / MOST_MOVE if one.deviations >= 3 else 0.0
            )
            numbers["level moved"] = max(change, numbers.get("level moved", 0.0))
        elif "requests" in one.name:
            numbers["requests fell"] = float(one.now < 0.5 * one.before and one.deviations > 1)
            numbers["requests rose"] = float(one.now > 2.0 * one.before + 2)
        elif "errors" in one.name:
            numbers["errors rose"] = float(one.now > one.before + 0.8)
        elif "latency" in one.name:
            numbers["latency rose"] = float(one.now > 2 * one.before + 20)
    for numbers in found.values():
        for name in ("level moved", "requests fell", "requests rose"):
            numbers[f"{name}, on a trail"] = numbers.get(name, 0.0) * numbers["on a trail"]


class Setting(NamedTuple):
    """What a row is seen against."""

    onset_s: float
    ends: str
    """The service at which trails end."""
    failing: frozenset[str]
    """Traces that failed."""
    operations: Mapping[str, set[str]]
    """Words of each service's operations."""
    said: Mapping[str, int]
    """How many of the suspects write each text, numbers and names left out."""


def shape(row: ShownRow, named: set[str]) -> str:
    """A row's text without numbers, and without the names of services."""
    text = row.message
    for name in sorted(named | {row.service}, key=len, reverse=True):
        text = text.replace(name, "it")
    return masked(text)


def about_row(row: ShownRow, setting: Setting, named: set[str]) -> dict[str, float]:
    """The numbers of a new row; `named` are the other services that it names."""
    at = seconds(row.time)
    late = apart(at, setting.onset_s) if at is not None else 999.0
    traced = row.trace is not None
    words = set(re.findall(r"[a-z]{3,}", row.message.lower()))
    return {
        "long before": float(late < -35),
        "at the onset": float(-35 <= late <= 12),
        "soon after": float(12 < late <= 35),
        "later": float(35 < late <= 75),
        "much later": float(late > 75),
        "complaint in a trace": float(bool(named) and traced),
        "names another": float(bool(named) and not traced),
        "in a trace": float(not named and traced),
        "mild": float(row.level <= Level.INFO),
        "mild in a trace": float(row.level <= Level.INFO and traced),
        "severe": float(row.level >= Level.ERROR),
        "in a failing trace": float(row.trace in setting.failing),
        "names the end": float(setting.ends in named),
        "names its own operation": float(bool(words & setting.operations.get(row.service, set()))),
        "said by others": float(setting.said.get(shape(row, named), 1) > 1),
        "once": float(row.alike == 1),
        "often": float(row.alike > 4),
    }
