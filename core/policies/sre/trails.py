"""Where failing requests end: the last failing or slow span of each, and who may be behind it.

A trail leads from the first service of a request down through calls that failed or took far longer than
usual. Its end is rarely the whole truth. The callee that should be there and is not, the child that answered
last, and the caller of a span that failed at once are suspects too. A call that failed and was repeated with
success is no part of a trail.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from core.policies.sre.reading import Span, Trace, Usual

LEAST_SLOW_MS = 150.0
TIMES_SLOWER = 3.0
TIMES_ABOVE_P95 = 2.2
OFTEN = 0.6
"""Share of an operation's spans in which a callee is expected, from which on its absence means something."""
HAMMERING = 3
"""Attempts of one call that are more than a caller usually makes."""

Marks = defaultdict[str, defaultdict[str, float]]
"""service → what trails say about it, each weighted by the share of trails."""


def no_marks() -> Marks:
    """Marks before any trail was followed."""
    return defaultdict(lambda: defaultdict(float))


class Habits:
    """What is usual: how long operations take, and whom they call."""

    def __init__(self, usual: Iterable[Usual], traces: Sequence[Trace]) -> None:
        self.before = {(one.service, one.operation): one for one in usual}
        self.calls: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        self.seen: Counter[tuple[str, str]] = Counter()
        for trace in traces:
            for span in trace.root.walk():
                self._learn(span)

    def _learn(self, span: Span) -> None:
        key = span.service, span.operation
        if not self.bad(span):
            self.seen[key] += 1
            self.calls[key].update({child.service for child in span.children})

    def slow(self, span: Span) -> bool:
        """Whether it took far longer than its operation usually does."""
        known = self.before.get((span.service, span.operation))
        p50 = (known.before_p50_ms or known.p50_ms) if known else 60.0
        p95 = (known.before_p95_ms or p50) if known else 60.0
        return span.ms > max(LEAST_SLOW_MS, TIMES_SLOWER * p50, TIMES_ABOVE_P95 * p95)

    def bad(self, span: Span) -> bool:
        """Whether it failed or was slow."""
        return span.failed or self.slow(span)

    def missing(self, span: Span) -> list[str]:
        """Callees that the operation usually has and this span lacks."""
        key, there = (span.service, span.operation), {child.service for child in span.children}
        usual = self.calls.get(key, Counter())
        return [
            name for name, times in usual.items() if times >= OFTEN * self.seen[key] and name not in there
        ]

    def callers(self) -> Mapping[str, set[str]]:
        """Who calls each service."""
        found: dict[str, set[str]] = defaultdict(set)
        for (caller, _), callees in self.calls.items():
            for callee in callees:
                found[callee].add(caller)
        return found


def final(span: Span) -> list[Span]:
    """The last attempt of each call."""
    last = {(child.service, child.operation): child for child in span.children}
    return [child for child in span.children if last[child.service, child.operation] is child]


def next_bad(span: Span, habits: Habits) -> Span | None:
    """The call that a trail follows."""
    bad = [child for child in final(span) if habits.bad(child)]
    if not bad:
        return None
    return bad[-1] if span.failed else max(bad, key=lambda child: child.ms)


def end(span: Span, habits: Habits) -> Span:
    """The last span of a trail."""
    following = next_bad(span, habits)
    return span if following is None else end(following, habits)


def follow(span: Span, habits: Habits, marks: Marks, weight: float) -> None:
    """Follow one trail and mark whom it passes and where it ends."""
    tries = Counter(child.service for child in span.children)
    if any(times >= HAMMERING for times in tries.values()):
        marks[span.service]["hammers"] += weight
    following = next_bad(span, habits)
    if following is not None:
        marks[span.service]["above"] += weight
        follow(following, habits, marks, weight)
        return
    _mark_end(span, habits, marks, weight)


def _mark_end(span: Span, habits: Habits, marks: Marks, weight: float) -> None:
    pace = "slow" if habits.slow(span) else "quick"
    missing, answered = habits.missing(span), final(span)
    if missing:
        marks[span.service][f"{pace} end, callee missing"] += weight
        for name in missing:
            marks[name][f"{pace} missing"] += weight / len(missing)
        if answered:  # its answer may be why the rest was never called
            marks[answered[-1].service][f"last child before missing, {pace}"] += weight
    elif answered:
        marks[span.service][f"{pace} end, after child"] += weight
        marks[answered[-1].service][f"last child, {pace}"] += weight
    else:
        marks[span.service][f"{pace} leaf"] += weight
        if span.above is not None:
            marks[span.above.service][f"parent of {pace} leaf"] += weight
    if pace == "slow":
        _mark_around(span, habits, marks, weight)


def _mark_around(span: Span, habits: Habits, marks: Marks, weight: float) -> None:
    """Who calls a slow service, and whom else they call: a flood or a cold cache may be behind it."""
    for caller in sorted(habits.callers().get(span.service, ())):
        marks[caller]["calls slow one"] += weight
        beside = {name for (who, _), names in habits.calls.items() if who == caller for name in names}
        for name in sorted(beside - {span.service}):
            marks[name]["beside slow one"] += weight
