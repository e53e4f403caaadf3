"""Step 4: what spans say about each service and call: own time, gaps, failures, place on failing paths.

A trace is bad when a span of it failed, when an ERROR line belongs to it, or when its root took far longer
than in the healthy stretch. Each service gets the share of bad traces it is on, weighted by how much a trace
is what the alert speaks of (letters that the alert's text and the root operation share), and where the
failing paths end. Each call gets its failures, its gap, calls that are missing under a failing caller, and
calls that outlive it.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from math import log
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.log_stores.contract import StoredSpan
from core.log_stores.span_times import TimedSpan
from graph_rca import path_grams
from graph_rca.path_grams import State
from graph_rca.trace_trees import Tree, stored, trees
from graph_rca.windows import Windows
from project_types import FAILED, Incident

Floats = NDArray[np.float64]
Edge = tuple[str, str]
FEATURES = (
    "spans", "failed", "failed_before", "failed_more", "own_slower", "own_slower_tail", "slower", "suspicious",
    "suspicious_alert", "ends_failing", "ends_failing_alert", "ends_slow", "ends_slow_alert", "first_failing",
    "on_alert_path", "vanished", "ends_at_alert",
)  # fmt: skip
EDGE_FEATURES = (
    "calls", "failed", "failed_more", "slower", "gap_slower", "missing", "outlives", "failed_alert", "missing_alert",
    "not_failing_for_others",
)  # fmt: skip
_SLOW = 1.8
"""A root this many times slower than the healthy 90th percentile makes its trace bad."""
_FOLLOWED = 0.55
"""A child that took this share of its slow caller's time explains it."""
_SHARP = 8.0
_BLUR_S = 75.0
_NEAR_S = 240.0


class TraceView(NamedTuple):
    """What the spans of an incident say about its services and calls."""

    features: Floats
    """(services, FEATURES)"""
    edges: Mapping[Edge, Floats]
    """(caller, callee) → EDGE_FEATURES"""
    has: NDArray[np.bool_]
    bad_traces: frozenset[str]
    culprits: Mapping[str, Sequence[str]]
    """service → ids of spans at which failing or slow paths end, for citing"""
    ways: Mapping[str, Sequence[str]]
    """service → services from it up to the root, on the bad traces that fit the alert best"""
    complaints: Mapping[str, float]
    """service → weight of the bad traces that begin there"""
    paths: NDArray[np.float32]
    """(services, path_grams.WIDTH): how bad requests went around each service"""


def closeness(text: str, operation: str) -> float:
    """Return how many groups of four letters two texts share, 0 to 1, by the shorter one."""
    first, second = _letters(text), _letters(operation)
    return len(first & second) / max(1, min(len(first), len(second)))


def _letters(text: str) -> set[str]:
    words = re.findall(r"[a-z]{3,}", re.sub(r"([a-z])([A-Z])", r"\1 \2", text).lower())
    return {word[start : start + 4] for word in words for start in range(max(1, len(word) - 3))}


def read(incident: Incident, windows: Windows, entries: Mapping[str, float]) -> TraceBook:
    """Return what the spans say. `entries` weighs services that users call, the alert's own higher."""
    found = trees(stored(incident))
    loud = {row.trace_id for row in incident.logs if row.trace_id and row.level in ("ERROR", "FATAL")}
    book = TraceBook(incident, windows, entries, loud)
    for tree in found:
        if tree.at < windows.split:
            book.learn(tree)
    book.settle()
    for tree in found:
        if tree.at >= windows.split:
            book.look(tree)
    return book


class TraceBook:
    """What is usual, and what is not."""

    def __init__(
        self, incident: Incident, windows: Windows, entries: Mapping[str, float], loud: set[str]
    ) -> None:
        self.services, self.windows, self.loud = incident.services, windows, loud
        self.text, self.entries = incident.description, entries
        self.own: dict[Edge, list[float]] = defaultdict(list)
        self.took: dict[Edge, list[float]] = defaultdict(list)
        self.gaps: dict[Edge, list[float]] = defaultdict(list)
        self.calls: dict[Edge, Counter[str]] = defaultdict(Counter)
        self.seen: Counter[Edge] = Counter()
        self.node: dict[str, Counter[str]] = defaultdict(Counter)
        self.edge: dict[Edge, Counter[str]] = defaultdict(Counter)
        self.slower: dict[str, list[float]] = defaultdict(list)
        self.own_slower: dict[str, list[float]] = defaultdict(list)
        self.edge_slower: dict[Edge, list[float]] = defaultdict(list)
        self.gap_slower: dict[Edge, list[float]] = defaultdict(list)
        self.bad: set[str] = set()
        self.totals: Counter[str] = Counter()
        self.culprits: dict[str, list[str]] = defaultdict(list)
        self.suffering: list[tuple[float, float]] = []
        """(moment, weight) of each bad trace."""
        self._ways: dict[str, dict[tuple[str, ...], float]] = defaultdict(lambda: defaultdict(float))
        self._complaints: dict[str, float] = defaultdict(float)
        self._ended: dict[str, list[float]] = defaultdict(list)
        self._near: dict[str, float] = {}
        self._paths: dict[str, Counter[int]] = defaultdict(Counter)

    # ------------------------------------------------------------------------------------------- healthy

    def learn(self, tree: Tree) -> None:
        """Take a healthy trace in."""
        for one in tree.spans:
            key = one.span.service, one.span.operation
            self.seen[key] += 1
            self.took[key].append(one.span.duration_ms)
            self.own[key].append(one.own_ms)
            self.node[one.span.service]["spans_before"] += 1
            self.node[one.span.service]["failed_before"] += one.span.status in FAILED
            for callee in {child.span.service for child in tree.children.get(one.span.span_id, ())}:
                self.calls[key][callee] += 1
            edge = self._edge(tree, one)
            if edge:
                self.edge[edge]["before"] += 1
                self.edge[edge]["failed_before"] += one.span.status in FAILED
                if one.gap_ms is not None:
                    self.gaps[edge].append(one.gap_ms)

    def settle(self) -> None:
        """Turn what was learnt into usual values."""
        self.usual_own = {key: _middle(values) for key, values in self.own.items()}
        self.usual = {key: _middle(values) for key, values in self.took.items()}
        self.high = {key: _quantile(values, 0.9) for key, values in self.took.items()}
        self.usual_gap = {edge: _middle(values) for edge, values in self.gaps.items()}

    def _edge(self, tree: Tree, one: TimedSpan) -> Edge | None:
        caller = tree.by_id.get(one.span.parent_span_id or "")
        if caller is None or caller.span.service == one.span.service:
            return None
        return caller.span.service, one.span.service

    # ---------------------------------------------------------------------------------------- suspicious

    def weight(self, tree: Tree) -> float:
        """Return how much a trace is what the alert speaks of: 1 for any, more for one that fits."""
        root = tree.root.span
        if root.operation not in self._near:
            self._near[root.operation] = closeness(self.text, root.operation)
        return float(np.exp(_SHARP * self._near[root.operation])) * self.entries.get(root.service, 0.15)

    def is_bad(self, tree: Tree) -> bool:
        """Say whether a trace failed or took far longer than usual."""
        root = tree.root.span
        limit = self.high.get((root.service, root.operation))
        slow = limit is not None and root.duration_ms > _SLOW * limit + 20
        return slow or root.trace_id in self.loud or any(one.span.status in FAILED for one in tree.spans)

    def look(self, tree: Tree) -> None:
        """Compare a trace of the suspicious stretch with what is usual."""
        bad, weight = self.is_bad(tree), self.weight(tree)
        self.totals["bad" if bad else "good"] += 1
        self.totals["bad_alert" if bad else "good_alert"] += weight  # type: ignore[assignment]
        for service in {one.span.service for one in tree.spans}:
            self.node[service]["on_bad" if bad else "on_good"] += 1
            self.node[service]["on_bad_alert" if bad else "on_good_alert"] += weight  # type: ignore[assignment]
        for one in tree.spans:
            self._look_at(tree, one, weight)
        if bad:
            self.bad.add(tree.root.span.trace_id)
            self.suffering.append((tree.at, weight))
            self._complaints[tree.root.span.service] += weight
            for way in tree.ways():
                self._ways[way[0]][way] += weight
            for service, gram in path_grams.grams(tree, self._state):
                self._paths[service][gram] += weight  # type: ignore[assignment]
            self._follow(tree, weight)

    def _look_at(self, tree: Tree, one: TimedSpan, weight: float) -> None:
        span, failed = one.span, one.span.status in FAILED
        key, mine = (span.service, span.operation), self.node[span.service]
        mine["spans"] += 1
        mine["failed"] += failed
        usual = self.usual.get(key)
        if usual is not None:
            self.slower[span.service].append(ratio(span.duration_ms, usual))
            self.own_slower[span.service].append(ratio(one.own_ms, self.usual_own[key]))
        below = tree.children.get(span.span_id, ())
        if failed:
            self._miss(key, below, weight)
        for child in below:
            self._look_at_call(span, child, weight)

    def _look_at_call(self, caller: StoredSpan, child: TimedSpan, weight: float) -> None:
        span = child.span
        if span.service == caller.service:
            return
        edge, failed = (caller.service, span.service), span.status in FAILED
        mine = self.edge[edge]
        mine["calls"] += 1
        mine["failed"] += failed
        mine["failed_alert"] += failed * weight  # type: ignore[assignment]
        mine["outlives"] += (
            span.start_us + span.duration_ms * 1e3 > caller.start_us + caller.duration_ms * 1e3 + 2e3
        )
        usual = self.usual.get((span.service, span.operation))
        if usual is not None:
            self.edge_slower[edge].append(ratio(span.duration_ms, usual))
        if child.gap_ms is not None and edge in self.usual_gap:
            self.gap_slower[edge].append(ratio(child.gap_ms, self.usual_gap[edge]))

    def _miss(self, key: Edge, below: Sequence[TimedSpan], weight: float) -> None:
        """Note which calls a failed span usually makes and did not make, when no call of it failed."""
        if any(child.span.status in FAILED for child in below):
            return
        there = {child.span.service for child in below}
        for callee, times in self.calls[key].items():
            if callee not in there and times > 0.5 * self.seen[key]:
                self.edge[key[0], callee]["missing"] += 1
                self.edge[key[0], callee]["missing_alert"] += weight  # type: ignore[assignment]

    def _follow(self, tree: Tree, weight: float) -> None:
        """Walk down from the root to where failing, and where slow, ends."""
        failing = self._ends(tree, lambda one, _: one.span.status in FAILED)
        slow = self._ends(tree, lambda one, above: self._is_slow(one, above))
        for name, ends in (("failing", failing), ("slow", slow)):
            for one in ends:
                mine = self.node[one.span.service]
                mine[f"ends_{name}"] += 1
                mine[f"ends_{name}_alert"] += weight  # type: ignore[assignment]
                self._ended[one.span.service].append(tree.at)
                self.culprits[one.span.service].append(one.span.span_id)
        first = min((one for one in tree.spans if one.span.status in FAILED), key=_ended, default=None)
        if first is not None:
            self.node[first.span.service]["first_failing"] += 1

    def _ends(self, tree: Tree, goes_on: object) -> list[TimedSpan]:
        ends, open_ones = [], [tree.root]
        while open_ones:
            one = open_ones.pop()
            below = [child for child in tree.children.get(one.span.span_id, ()) if goes_on(child, one)]  # type: ignore[operator]
            open_ones += below
            if not below and (one is not tree.root or goes_on(one, one)):  # type: ignore[operator]
                ends.append(one)
        return ends

    def _state(self, one: TimedSpan) -> State:
        if one.span.status in FAILED:
            return State.FAILED
        return State.SLOW if self._takes_long(one) else State.USUAL

    def _takes_long(self, one: TimedSpan) -> bool:
        usual = self.usual.get((one.span.service, one.span.operation))
        return usual is not None and one.span.duration_ms > 2 * usual + 20

    def _is_slow(self, one: TimedSpan, above: TimedSpan) -> bool:
        return self._takes_long(one) and one.span.duration_ms >= _FOLLOWED * min(
            above.span.duration_ms, 1e9
        ) * (one is not above)

    # ------------------------------------------------------------------------------------------- results

    def density(self, times: Floats) -> Floats:
        """Return how many bad traces that fit the alert there are around each moment."""
        if not self.suffering:
            return np.zeros(len(times))
        at, weight = np.array(self.suffering).T
        return np.asarray(np.exp(-0.5 * ((times[:, None] - at) / _BLUR_S) ** 2) @ weight)

    def view(self, alert: float) -> TraceView:
        """Return everything as numbers, seen from the moment of the alert."""
        for name, ended in self._ended.items():
            self.node[name]["ends_at_alert"] = sum(abs(at - alert) < _NEAR_S for at in ended)
        rows = [self._service(name) for name in self.services]
        features = np.array(rows, np.float64).reshape(len(self.services), len(FEATURES))
        has = np.array(
            [bool(self.node[name]["spans"] + self.node[name]["spans_before"]) for name in self.services]
        )
        callees: dict[str, Counter[str]] = defaultdict(Counter)
        for (_, callee), counts in self.edge.items():
            callees[callee].update(callers=1, calls=counts["calls"], failed=counts["failed"])
        edges = {
            edge: np.array(self._call(edge, counts, callees[edge[1]]), np.float64)
            for edge, counts in self.edge.items()
        }
        ways = {name: max(seen, key=seen.__getitem__) for name, seen in self._ways.items()}
        return TraceView(
            features,
            edges,
            has,
            frozenset(self.bad),
            self.culprits,
            ways,
            dict(self._complaints),
            path_grams.vectors(self.services, self._paths),
        )

    def _service(self, name: str) -> list[float]:
        mine, totals = self.node[name], self.totals
        spans = max(1, mine["spans"])
        before = mine["failed_before"] / max(1, mine["spans_before"])
        failed = mine["failed"] / spans
        bad, bad_alert = max(1, totals["bad"]), max(1e-9, totals["bad_alert"])
        expected = mine["spans_before"] * self.windows.now_s / self.windows.before_s
        return [
            np.log1p(mine["spans"]) / 3, failed, before, failed - before,
            _high(self.own_slower[name], 0.5), _high(self.own_slower[name], 0.9), _high(self.slower[name], 0.75),
            _ochiai(mine["on_bad"], mine["on_good"], totals["bad"]),
            _ochiai(mine["on_bad_alert"], mine["on_good_alert"], totals["bad_alert"]),
            mine["ends_failing"] / bad, mine["ends_failing_alert"] / bad_alert,
            mine["ends_slow"] / bad, mine["ends_slow_alert"] / bad_alert, mine["first_failing"] / bad,
            mine["on_bad_alert"] / bad_alert, float(expected > 4 and mine["spans"] < 0.3 * expected),
            mine["ends_at_alert"] / bad,
        ]  # fmt: skip

    def _call(self, edge: Edge, mine: Counter[str], all_callers: Counter[str]) -> list[float]:
        calls, bad_alert = max(1, mine["calls"]), max(1e-9, self.totals["bad_alert"])
        failed, before = mine["failed"] / calls, mine["failed_before"] / max(1, mine["before"])
        others = all_callers["callers"] > 1
        elsewhere = (all_callers["failed"] - mine["failed"]) / max(1, all_callers["calls"] - mine["calls"])
        return [
            np.log1p(mine["calls"]) / 3, failed, failed - before, _high(self.edge_slower[edge], 0.75),
            _high(self.gap_slower[edge], 0.75), mine["missing"] / max(1, self.totals["bad"]), mine["outlives"] / calls,
            mine["failed_alert"] / bad_alert, mine["missing_alert"] / bad_alert, failed - elsewhere if others else 0.0,
        ]  # fmt: skip


def _ended(one: TimedSpan) -> float:
    return one.span.start_us / 1e3 + one.span.duration_ms


def _middle(values: Sequence[float]) -> float:
    return _quantile(values, 0.5)


def _quantile(values: Sequence[float], share: float) -> float:
    """Return numpy's quantile of one value or more; numpy takes ten times as long
    for the few of one service.
    """
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def ratio(now: float, usual: float) -> float:
    """Return the logarithm of how many times longer something took, in ms; 5 ms more are not yet longer."""
    return min(8.0, max(-4.0, log((now + 5) / (usual + 5))))


def _high(values: Sequence[float], share: float) -> float:
    return _quantile(values, share) / 3 if values else 0.0


def _ochiai(on_bad: float, on_good: float, bad: float) -> float:
    """Return the suspicion of Ochiai: how well being on a trace tells that it is
    bad (R. Abreu et al. 2007).
    """
    size = float(np.sqrt(max(1e-9, bad) * max(1e-9, on_bad + on_good)))
    return on_bad / size
