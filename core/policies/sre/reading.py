"""Reads what the tools about time print: traces found, operations, metrics that moved, and span trees.

The rows of `compare` are those of a search (`core.policies.screen`). Times are seconds of the day; an
incident at midnight is handled by `apart`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from core.policies.screen import ShownRow

_CLOCK = re.compile(r"(?:\d{4}-\d\d-\d\dT)?(\d\d):(\d\d):(\d\d)")
_TRACE = re.compile(
    r"^(?P<at>\S+) (?P<ms>\d+) ms (?P<service>\S+) (?P<operation>.*?) trace (?P<id>\S+)"
    r"(?: > (?P<first>\S+) .*?)?, \d+ spans?(?:, \S+ \d+ ms)?(?:, (?P<failed>\d+) failed: .*?)?(?:, \d+ alike, p50 \d+ ms)?$"
)
_STATS = r"x(\d+)(?: failed (\d+) %)? (\d+)/(\d+) ms(?: own (\d+)/(\d+))?(?: gap (\d+)/(\d+))?"
_OPERATION = re.compile(
    rf"^(?P<service>\S+) (?P<operation>.*?) {_STATS}(?: \(before: {_STATS}\)| \(new\))? trace \S+$"
)
_MOVED = re.compile(
    r"^(?P<name>\S.*?) (?P<service>\S+) (?P<before>\S+) -> (?P<now>\S+) \((?:up|down) (?P<sd>\S+) sd\)"
)
_SPAN = re.compile(
    r"^(?P<indent> *)(?P<service>\S+) (?P<operation>.*?) (?P<ms>\d+) ms(?: \((?P<times>(?:own|gap) [^()]*)\))?"
    r"(?: (?P<status>error|timeout))?(?: \(parent missing\))?$"
)
_HEAD = re.compile(r"^(?:.*?; the worst is )?trace (?P<id>\S+): .*? from (?P<at>\S+?)(?:,.*)?$")
_TRAIL = re.compile(r"^the trail ends at (\S+): ", re.MULTILINE)
_WINDOWS = re.compile(r"^(?P<first>\S+)/(?P<last>\S+) against (?P<before>\S+?)/(?P<healthy>\S+?):? ")
HALF_A_DAY_S = 43_200


class Found(NamedTuple):
    """A trace that find_traces names."""

    id: str
    at_s: int
    ms: float
    service: str
    operation: str
    failed: int
    """Failing spans in it."""


class Usual(NamedTuple):
    """An operation in a window, and before."""

    service: str
    operation: str
    spans: int
    failed: float
    p50_ms: float
    before_p50_ms: float | None
    before_p95_ms: float | None
    gap_ms: float = 0.0
    """How long its calls are usually under way."""
    before_gap_ms: float = 0.0
    own_ms: float = 0.0
    """How long it usually takes without what it calls."""
    before_own_ms: float = 0.0


class Moved(NamedTuple):
    """A metric series that changed."""

    service: str
    name: str
    before: float
    now: float
    deviations: float


class Span:
    """A span of a trace that was read; `above` is its caller."""

    def __init__(self, service: str, operation: str, ms: float, own_ms: float, failed: bool) -> None:
        self.service, self.operation, self.ms, self.own_ms, self.failed = (
            service,
            operation,
            ms,
            own_ms,
            failed,
        )
        self.children: list[Span] = []
        self.above: Span | None = None

    def walk(self) -> Iterator[Span]:
        """The span and all below it."""
        yield self
        for child in self.children:
            yield from child.walk()


class Trace(NamedTuple):
    """A trace that was read."""

    id: str
    at_s: int
    root: Span
    end: str | None
    """The service at which its trail ends; None where it neither fails nor takes long."""


def seconds(text: str) -> int | None:
    """The seconds of the day that a printed time names."""
    found = _CLOCK.search(text)
    return None if found is None else int(found[1]) * 3600 + int(found[2]) * 60 + int(found[3])


def clock(at_s: float) -> str:
    """A time of day as a tool takes it."""
    whole = round(at_s) % (2 * HALF_A_DAY_S)
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def stretch(begin_s: float, end_s: float) -> str:
    """A stretch of time as a tool takes it, cut at midnight: a time of day alone names no date."""
    begin, end = clock(begin_s), clock(end_s)
    return f"{begin}/{end}" if begin <= end else f"{begin}/23:59:59"


def apart(later_s: float, earlier_s: float) -> float:
    """Seconds from one time of day to another, at most half a day either way."""
    return (later_s - earlier_s + HALF_A_DAY_S) % (2 * HALF_A_DAY_S) - HALF_A_DAY_S


def windows(text: str) -> tuple[int, int, int, int] | None:
    """(first, last) of the window and of the healthy time that the first line of `compare` names."""
    found = _WINDOWS.match(text)
    times = [seconds(part) for part in found.groups()] if found else []
    whole = [at for at in times if at is not None]
    return (whole[0], whole[1], whole[2], whole[3]) if len(whole) == 4 else None


def called(services: Iterable[str], told: str) -> dict[str, str]:
    """Return what each service is called: its name, and its address where people tell
    it, as in `n1 (10.0.0.7)`.
    """
    known = {name: name for name in services}
    addresses = re.findall(r"([\w.-]+) \((\d+\.\d+\.\d+\.\d+)\)", told)
    return known | {address: name for name, address in addresses if name in known}


def told_calls(told: str) -> dict[str, set[str]]:
    """Return whom each service calls, where people tell it, as in `Calls: web mail -> cart db.`"""
    said = re.search(r"Calls: (.+?) -> (.+?)\.(?: |$)", told)
    return {caller: set(said[2].split()) for caller in said[1].split()} if said else {}


def named(row: ShownRow, names: Mapping[str, str]) -> set[str]:
    """Other services that a row names. `names`: what each service is `called`."""
    words = set(re.findall(r"[\w-]+(?:\.[\w-]+)*", row.message)) | set(re.findall(r"[\w-]+", row.message))
    return {service for name, service in names.items() if service != row.service and name in words}


def found_traces(text: str) -> list[Found]:
    """The rows of find_traces."""
    rows = []
    for line in text.split("\n"):
        row = _TRACE.match(line)
        at = seconds(row["at"]) if row else None
        if row and at is not None:
            rows.append(
                Found(
                    row["id"], at, float(row["ms"]), row["service"], row["operation"], int(row["failed"] or 0)
                )
            )
    return rows


def operations(text: str) -> list[Usual]:
    """The rows of span_stats."""
    rows = []
    for row in map(_OPERATION.match, text.split("\n")):
        if row is None:
            continue
        now, before = row.groups()[2:10], row.groups()[10:18]
        rows.append(
            Usual(
                row["service"],
                row["operation"],
                int(now[0]),
                float(now[1] or 0) / 100,
                float(now[2]),
                float(before[2]) if before[0] else None,
                float(before[3]) if before[0] else None,
                float(now[6] or 0),
                float(before[6] or 0),
                float(now[4] or now[2]),
                float(before[4] or before[2] or 0),
            )
        )
    return rows


def moved(text: str) -> list[Moved]:
    """The rows of read_metrics that have a before."""
    rows = map(_MOVED.match, text.split("\n"))
    return [
        Moved(row["service"], row["name"], float(row["before"]), float(row["now"]), float(row["sd"]))
        for row in rows
        if row
    ]


def trace(text: str) -> Trace | None:
    """The tree that read_trace prints; None where it shows no spans."""
    lines = text.split("\n")
    head = _HEAD.match(lines[0])
    at = seconds(head["at"]) if head else None
    if head is None or at is None:
        return None
    path: list[Span] = []
    root: Span | None = None
    for line in lines[1 : lines.index("lines") if "lines" in lines else len(lines)]:
        row = _SPAN.match(line)
        if row is None:
            continue
        own = re.search(r"own (\d+)", row["times"] or "")
        ms = float(row["ms"])
        span = Span(row["service"], row["operation"], ms, float(own[1]) if own else ms, bool(row["status"]))
        depth = len(row["indent"]) // 2
        if root is None:
            root = span
        elif 0 < depth <= len(path):
            span.above = path[depth - 1]
            span.above.children.append(span)
        path[depth:] = [span]
    end = _TRAIL.search(text)
    return None if root is None else Trace(head["id"], at, root, end and end[1])
