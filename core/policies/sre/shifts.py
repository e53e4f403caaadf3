"""What moved, where users' requests cannot be told apart: a resource, the time between
services, new errors, silence.

Real systems name their operations in many ways, and often there are no traces at all. Then each kind of
evidence speaks for itself. A resource or a delay counts only when it stands out from the same measure of
other services. A service whose own time rose is named when nothing else accuses anybody. New errors count by
how often they came. One that names another service is a complaint about that service. One of a caller is only
passed on where a callee fails as well: in a trace, or by what people tell of who calls whom. When nothing
stands out, the answer is "unknown".
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Generator, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from core.policies.screen import ShownRow, rows
from core.policies.scripting import UNKNOWN, Answer, Call, blame, read_trace, search
from core.policies.sre.reading import (
    Moved,
    Trace,
    Usual,
    apart,
    clock,
    moved,
    named,
    operations,
    trace,
    windows,
)
from project_types import Level

RESOURCES: Mapping[str, str] = {
    "cpu": "is short of CPU: its CPU usage rose",
    "mem": "is short of memory: its memory usage rose",
    "disk": "has a slow or overloaded disk: its disk IO rose",
    "socket": "has its sockets exhausted",
    "conn": "has too many connections",
    "restart": "was killed and its container restarted",
}
"""Parts of the names of metrics, and what a rise of each means."""
STANDS_OUT, ROSE = 3.0, 5.0
"""How many times the next service's change a change must be, and how many times its own value before."""
LEAST_DEVIATIONS, LEAST_GAP_MS = 5.0, 100.0
PERCENT, LEAST_PERCENT = re.compile(r"%|percent|utili[sz]ation"), 40.0
"""A share of a resource is no shortage below this."""
LEAST_SAYING = 3.1
"""A new kind of error that came eight times is enough to accuse; one that came twice is not."""
SUPPORTS, PASSED_ON, COMPLAINS, IS_NAMED, MILD, SILENT = 0.5, 0.3, 0.25, 0.5, 0.4, 2.0
"""What counts for less: a second kind, a passed on error, a complaint, being named, a
warning; and falling silent.
"""
EVENT, EVENT_WEIGHT = re.compile(r"[A-Z]\w+/\S+ \w+: "), 1.5
SEEN = re.compile(r"\(seen (\d+) times\)")
MOST_TRACES = 4
NOTICED_LATE_S, BEGINS_EARLY_S = 300, 600

Asking = Generator[list[Call] | Call, Any, list[str]]


class Suspicion(NamedTuple):
    """A service, how much speaks against it, and what to answer."""

    service: str
    weight: float
    answer: Answer


class Asker(Protocol):
    """Who asks: what it knows of the incident, and how it makes calls."""

    names: Mapping[str, str]
    """What each service is called."""
    calls: Mapping[str, set[str]]
    """Whom each service calls, where that is told."""
    hint_s: int | None

    @property
    def tools(self) -> frozenset[str]:
        """Names of the tools that are offered; empty where that is not told."""
        ...

    def ask(self, *calls: Call) -> Asking:
        """Make calls as far as turns allow, and return what they printed."""
        ...


def what_moved(asker: Asker) -> Generator[list[Call] | Call, Any, Answer]:
    """Ask for each kind of evidence that there is, and answer by what stands out."""
    first = yield from asker.ask(Call("compare", {}))
    window = _window(first[0], asker.hint_s)
    texts = yield from asker.ask(*_calls(asker.tools, window))
    told = dict(zip(_names(asker.tools), texts, strict=True))
    spans = operations("\n".join((told.get("spans 1", ""), told.get("spans 2", ""))))
    found = [
        *from_resources({part: moved(told.get(f"metric {part}", "")) for part in RESOURCES}),
        *from_gaps(spans),
    ]
    if found:
        return max(found, key=lambda one: one.weight).answer
    changed = [row for name in ("compare 1", "compare 2") for row in rows(told[name])]
    fresh = [row for row in changed if row.differs.startswith("new") and row.level >= Level.WARN]
    if (
        not fresh and "span_stats" not in asker.tools
    ):  # an incident may be the state of things, without a before
        text = yield from asker.ask(search(min_level="WARN"))
        fresh = rows(text[0])
    wanted = list(dict.fromkeys(row.trace for row in fresh if row.trace and row.level >= Level.ERROR))
    texts = yield from asker.ask(*map(read_trace, wanted[:MOST_TRACES]))
    read = [one for one in map(trace, texts) if one]
    silent = re.findall(r"[\w./-]+", (re.findall(r"; silent now: ([^\n:]*)", told["compare 1"]) or [""])[0])
    accused = from_rows(fresh, asker.names, asker.calls, read, silent)
    best = max(accused, key=lambda one: one.weight, default=None)
    if best and best.weight >= LEAST_SAYING:
        return best.answer
    return next((one.answer for one in from_own_times(spans)), UNKNOWN)


def _window(text: str, hint_s: int | None) -> Mapping[str, str]:
    """The window to look at: what compare takes, unless that begins long before
    people complained, or after.
    """
    known = windows(text)
    late = apart(known[0], hint_s) if known and hint_s is not None else 0.0
    if hint_s is None or -BEGINS_EARLY_S <= late <= 0:
        return {}
    return {"window": clock(hint_s if late > 0 else hint_s - NOTICED_LATE_S)}


def _names(tools: frozenset[str]) -> list[str]:
    names = ["compare 1", "compare 2"]
    names += ["spans 1", "spans 2"] if not tools or "span_stats" in tools else []
    return names + ([f"metric {part}" for part in RESOURCES] if not tools or "read_metrics" in tools else [])


def _calls(tools: frozenset[str], window: Mapping[str, str]) -> list[Call]:
    calls = {
        "compare 1": Call("compare", window),
        "compare 2": Call("compare", {**window, "cursor": 10}),
        "spans 1": Call("span_stats", window),
        "spans 2": Call("span_stats", {**window, "cursor": 25}),
        **{f"metric {part}": Call("read_metrics", {**window, "name": part}) for part in RESOURCES},
    }
    return [calls[name] for name in _names(tools)]


# -------------------------------------------------------------------------------------------- what stands out


def from_resources(metrics: Mapping[str, Sequence[Moved]]) -> list[Suspicion]:
    """Services of which one resource moved far more than that of any other service."""
    found = []
    for part, told in metrics.items():
        by_name: dict[str, list[Moved]] = defaultdict(list)
        for one in told:
            by_name[one.name].append(one)
        for series in by_name.values():
            top, *others = sorted(series, key=lambda one: -(one.now - one.before))
            next_rose = others[0].now - others[0].before if others else 0.0
            if _is_shortage(top) and top.now - top.before >= STANDS_OUT * next_rose:
                said = f"{top.service} {RESOURCES[part]}: {top.name} {top.before:g} -> {top.now:g}"
                found.append(Suspicion(top.service, 2.0, _accuse(top.service, said)))
    return found


def _is_shortage(one: Moved) -> bool:
    """Whether a series rose by itself as much as a resource that runs out does."""
    if PERCENT.search(one.name) and one.now < LEAST_PERCENT:
        return False
    return one.now > ROSE * one.before and one.deviations >= LEAST_DEVIATIONS


def from_gaps(spans: Iterable[Usual]) -> list[Suspicion]:
    """The service whose callers wait for the way to it, far longer than before and than others do."""
    grown: dict[str, float] = defaultdict(float)
    worst: dict[str, Usual] = {}
    for one in spans:
        grew = one.gap_ms - one.before_gap_ms if one.before_p50_ms is not None else 0.0
        if grew >= LEAST_GAP_MS:
            grown[one.service] += grew * one.spans
            worst.setdefault(one.service, one)
    ranked = sorted(grown, key=lambda name: -grown[name])
    if not ranked or (len(ranked) > 1 and grown[ranked[0]] < STANDS_OUT * grown[ranked[1]]):
        return []
    one = worst[ranked[0]]
    said = (
        f"{one.service}: network delay, the gap between caller and callee of {one.operation} grew "
        f"{one.before_gap_ms:.0f} -> {one.gap_ms:.0f} ms"
    )
    return [Suspicion(one.service, 3.0, _accuse(one.service, said))]


def from_own_times(spans: Iterable[Usual]) -> list[Suspicion]:
    """The service that takes far longer by itself than before, and than others do."""
    worst: dict[str, Usual] = {}
    for one in sorted(spans, key=_own_growth, reverse=True):
        worst.setdefault(one.service, one)
    grown = [_own_growth(one) for one in worst.values()]
    if not grown or (len(grown) > 1 and grown[0] < STANDS_OUT * grown[1]):
        return []
    top = next(iter(worst.values()))
    if not _is_slow(top):
        return []
    said = (
        f"{top.service} became slow by itself: the own time of {top.operation} grew "
        f"{top.before_own_ms:.0f} -> {top.own_ms:.0f} ms, and that of nothing that it calls"
    )
    return [Suspicion(top.service, 1.0, _accuse(top.service, said))]


def _own_growth(one: Usual) -> float:
    """Milliseconds; 0 for an operation that was not there before."""
    return max(0.0, one.own_ms - one.before_own_ms) if one.before_p50_ms is not None else 0.0


def _is_slow(one: Usual) -> bool:
    """Whether an operation takes longer than load alone explains."""
    return _own_growth(one) >= LEAST_GAP_MS and one.own_ms > ROSE * one.before_own_ms


def _accuse(service: str, said: str) -> Answer:
    return {"root_cause": said, "suspected_service": service}


# ------------------------------------------------------------------------------------------------- new errors


def from_rows(
    fresh: Sequence[ShownRow],
    names: Mapping[str, str],
    calls: Mapping[str, set[str]],
    read: Sequence[Trace],
    silent: Sequence[str],
) -> list[Suspicion]:
    """Services by what they and others began to say."""
    said: dict[str, list[tuple[float, ShownRow]]] = defaultdict(list)
    writers = {row.service for row in fresh if row.level >= Level.ERROR}
    speaking = {row.service for row in fresh}
    passing = _passing_on(writers, read) | {one for one in writers if calls.get(one, set()) & speaking}
    for row in fresh:
        weight, others = _weight(row), named(row, names)
        if others:
            for name in others:
                said[name].append((IS_NAMED * weight, row))
            weight *= COMPLAINS
        elif row.service in passing:
            weight *= PASSED_ON
        said[row.service].append((weight, row))
    return [_suspicion(service, parts, silent=service in silent) for service, parts in said.items()]


def _suspicion(service: str, parts: list[tuple[float, ShownRow]], *, silent: bool) -> Suspicion:
    """The weightiest row counts whole, the others support it, and silence adds to them."""
    parts.sort(key=lambda one: -one[0])
    total = parts[0][0] + SUPPORTS * sum(weight for weight, _ in parts[1:])
    total += SILENT if silent else 0.0
    return Suspicion(service, total, {**blame(parts[0][1]), "suspected_service": service})


def _weight(row: ShownRow) -> float:
    seen = SEEN.search(row.message)
    times = max(row.alike, int(seen[1]) if seen else 1)
    factor = 1.0 if row.level >= Level.ERROR else MILD
    if EVENT.match(row.message):
        factor = EVENT_WEIGHT
    return factor * math.log2(1 + times)


def _passing_on(writers: set[str], read: Iterable[Trace]) -> set[str]:
    """Services with new errors that call, somewhere below, another one with new errors."""
    found = set()
    for one in read:
        for span in one.root.walk():
            below = {other.service for other in span.walk()} - {span.service}
            if span.service in writers and below & writers:
                found.add(span.service)
    return found
