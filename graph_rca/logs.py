"""Step 2: what each service writes that it did not write before: new, gone, rising,
how severe, and about whom.

Lines are put into templates by masking what varies (`core.log_stores.masks`) and by replacing the names of
all services with one word, so nothing depends on what a service is called. A line that names another service
is an edge of its own kind: who writes about whom, how severely, before and now. `encoders` turns the new
templates into vectors when they are asked for. drain3 cannot be installed beside weave (docs/adr/0170).
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.log_stores.masks import masked
from graph_rca.windows import Windows
from project_types import Event, Incident, Level, LogRecord

Floats = NDArray[np.float64]
SERVICE_WORD = "Service"
MOST_TEMPLATES, BEGINNING = 3, 160
"""Templates of a service that an encoder reads, and letters of each: reading takes
longer than all other steps.
"""
BUCKETS_S = (-180.0, -45.0, 45.0, 240.0)
"""Edges of the stretches around the alert that new lines are counted in."""
_STRETCHES = ("long_before", "before", "at", "after", "long_after")
_ABOUT = tuple(f"{loud}.{when}" for loud in ("quiet", "loud") for when in _STRETCHES)
FEATURES = (
    *(f"new.{one}" for one in _ABOUT), *(f"fresh.{one}" for one in _ABOUT), "rising", "gone", "errors", "errors_before",
    "repeated", "names_others", "named_by_others", "named_by_services", "named_before", "silent",
    "events.warning", "events.normal", "events.at_alert", "in_bad_traces",
)  # fmt: skip
EDGE_FEATURES = ("named_now", "named_loudly", "named_before", "named_at_alert")


class Line(NamedTuple):
    """A row as this module sees it."""

    id: str
    at: float
    service: int
    loud: bool
    error: bool
    template: str
    names: frozenset[int]
    trace_id: str | None


class LogView(NamedTuple):
    """What the rows of an incident say about its services."""

    features: Floats
    """(services, FEATURES)"""
    edges: Mapping[tuple[int, int], Floats]
    """(writer, named) → EDGE_FEATURES"""
    has: NDArray[np.bool_]
    """(services): whether it wrote anything."""
    new: Sequence[Line]
    """Lines of templates that the healthy stretch does not have, loudest and nearest to the alert first."""


class Names:
    """Finds the names of services in texts."""

    def __init__(self, services: Sequence[str]) -> None:
        self._of: dict[str, int] = {}
        for number, name in enumerate(services):
            squashed = re.sub(r"[^a-z0-9]", "", name.lower())
            self._of[name.lower()] = number
            if len(squashed) >= 4:
                self._of.setdefault(squashed, number)
        ordered = sorted(self._of, key=len, reverse=True)
        pattern = "|".join(map(re.escape, ordered)) or r"(?!)"
        self._pattern = re.compile(rf"(?<![A-Za-z0-9])(?:{pattern})", re.IGNORECASE)
        self._whole = re.compile(rf"(?<![A-Za-z0-9])(?:{pattern})(?![A-Za-z0-9])", re.IGNORECASE)

    def blanked(self, text: str) -> str:
        """Return the text with every name replaced by one word."""
        return self._pattern.sub(SERVICE_WORD, text)

    def named(self, text: str) -> frozenset[int]:
        """Return the services that the text names in full."""
        return frozenset(self._of[name.lower()] for name in self._whole.findall(text))


@lru_cache(maxsize=16)
def names_of(services: tuple[str, ...]) -> Names:
    """Return what finds these services; a pattern of hundreds of names takes long to make."""
    return Names(services)


@lru_cache(maxsize=65_536)
def _template(blanked: str) -> str:
    return masked(blanked)


def read_lines(logs: Sequence[LogRecord], services: Sequence[str]) -> list[Line]:
    """Return the rows that have a clock and a known service."""
    place = {name: number for number, name in enumerate(services)}
    names = names_of(tuple(services))
    found = []
    for row in logs:
        number = place.get(row.service)
        if number is None or row.timestamp is None:
            continue
        level = Level[row.level]
        found.append(
            Line(
                row.id, row.timestamp.timestamp(), number, level >= Level.WARN, level >= Level.ERROR,
                _template(names.blanked(row.message[:2000])), names.named(row.message[:2000]) - {number}, row.trace_id,
            )
        )  # fmt: skip
    return found


def view(incident: Incident, windows: Windows, alert: float, bad_traces: frozenset[str]) -> LogView:
    """Return what the rows and events of an incident say."""
    services = incident.services
    lines = read_lines(incident.logs, services)
    before = [line for line in lines if line.at < windows.split]
    now = [line for line in lines if line.at >= windows.split]
    counts = _Counts(len(services), windows, alert)
    counts.add_lines(before, now, bad_traces)
    counts.add_events(incident.events, services)
    has = np.zeros(len(services), bool)
    has[[line.service for line in lines]] = True
    new = [line for line in now if (line.service, line.template) not in counts.known]
    new.sort(key=lambda line: (not line.error, not line.loud, abs(line.at - alert)))
    return LogView(counts.features(), _edges(before, now, alert), has, new)


class _Counts:
    """Counts by service."""

    def __init__(self, services: int, windows: Windows, alert: float) -> None:
        self.services, self.windows, self.alert = services, windows, alert
        self.known: set[tuple[int, str]] = set()
        self.values: dict[str, Floats] = defaultdict(lambda: np.zeros(services))

    def add_lines(self, before: Sequence[Line], now: Sequence[Line], bad_traces: frozenset[str]) -> None:
        """Count what is new, gone, rising, and about whom."""
        self.known = {(line.service, line.template) for line in before}
        anywhere = {line.template for line in before}
        writers: dict[int, set[int]] = defaultdict(set)
        for line in before:
            self.values["errors_before"][line.service] += line.error
            for named in line.names:
                self.values["named_before"][named] += 1
        for line in now:
            stretch = _STRETCHES[int(np.searchsorted(BUCKETS_S, line.at - self.alert))]
            about = f"{'loud' if line.loud else 'quiet'}.{stretch}"
            # a line about another service is a symptom; it counts for edges
            if not line.names and (line.service, line.template) not in self.known:
                self.values[f"new.{about}"][line.service] += 1
                if line.template not in anywhere:
                    self.values[f"fresh.{about}"][line.service] += 1
            self.values["errors"][line.service] += line.error
            self.values["names_others"][line.service] += bool(line.names) and line.loud
            self.values["in_bad_traces"][line.service] += line.trace_id in bad_traces
            for named in line.names if line.loud else ():
                self.values["named_by_others"][named] += 1
                writers[named].add(line.service)
        for named, who in writers.items():
            self.values["named_by_services"][named] = len(who)
        self._compare(before, now, anywhere)

    def _compare(self, before: Sequence[Line], now: Sequence[Line], anywhere: set[str]) -> None:
        was = Counter((line.service, line.template) for line in before)
        are = Counter((line.service, line.template) for line in now)
        factor = self.windows.before_s / self.windows.now_s
        for key, count in are.items():
            if count * factor > 2 * was[key] + 2:
                self.values["rising"][key[0]] += 1
            if key[1] not in anywhere:
                self.values["repeated"][key[0]] = max(self.values["repeated"][key[0]], count)
        for key, count in was.items():
            if key not in are and count / factor > 2:
                self.values["gone"][key[0]] += 1
        wrote = np.bincount([line.service for line in before], minlength=self.services)
        writes = np.bincount([line.service for line in now], minlength=self.services)
        self.values["silent"] = ((wrote / factor > 3) & (writes == 0)).astype(float)

    def add_events(self, events: Sequence[Event], services: Sequence[str]) -> None:
        """Count events of the suspicious stretch."""
        place = {name: number for number, name in enumerate(services)}
        for event in events:
            number = place.get(event.service)
            at = event.timestamp.timestamp() if event.timestamp else 0.0
            if number is not None and at >= self.windows.split:
                self.values[f"events.{event.type.lower()}"][number] += 1
                self.values["events.at_alert"][number] += abs(at - self.alert) < BUCKETS_S[-1]

    def features(self) -> Floats:
        """Return (services, FEATURES), logarithms of counts."""
        return np.log1p(np.stack([self.values[name] for name in FEATURES], axis=1))


def _edges(before: Sequence[Line], now: Sequence[Line], alert: float) -> dict[tuple[int, int], Floats]:
    found: dict[tuple[int, int], Floats] = defaultdict(lambda: np.zeros(len(EDGE_FEATURES)))
    for line in before:
        for named in line.names if line.loud else ():
            found[line.service, named][2] += 1
    for line in now:
        near = BUCKETS_S[1] <= line.at - alert <= BUCKETS_S[-1]
        for named in line.names:
            found[line.service, named] += (1, line.loud, 0, near and line.loud)
    return {edge: np.log1p(counts) for edge, counts in found.items()}


def new_templates(new: Sequence[Line]) -> dict[int, list[str]]:
    """Return the beginnings of the first different templates of each service's
    new lines, where it has any.
    """
    mine: dict[int, list[str]] = defaultdict(list)
    for line in new:
        begin, known = line.template[:BEGINNING], mine[line.service]
        if len(known) < MOST_TEMPLATES and begin not in known:
            known.append(begin)
    return dict(mine)
