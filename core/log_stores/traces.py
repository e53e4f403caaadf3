"""The tree of a trace's spans: who called whom, how long each worked itself, how long a call was under way,
and where its trouble ends.

Own time is what a span took less the time in which one of its children ran. The gap of a span is what its
caller, a span of another service that made this one call, took longer than the span itself: network, queues,
connection set-up. Spans whose parent is missing, or that call each other in a circle, are roots.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from core.log_stores.contract import StoredSpan
from project_types import FAILED

SLOW_MS, OF_ITS_CALLER = 300.0, 0.5
"""A call is slow when it takes so long, and so large a share of what its caller takes."""


class Place(NamedTuple):
    """Where a span stands in the tree."""

    order: int
    """Its place in the printed tree."""
    depth: int
    parent: int | None
    """A position in the list of spans."""
    own_ms: float
    gap_ms: float | None
    """None where the caller is of the same service, unknown, or made other calls too."""
    calls: int
    """How many children it has."""


def tree(spans: Sequence[StoredSpan]) -> dict[int, Place]:
    """Return a place for every span of one trace, by its position in `spans` (start order)."""
    children = _children(spans)
    places: dict[int, Place] = {}
    for start in [*children.get(None, []), *range(len(spans))]:
        waiting: list[tuple[int, int, int | None]] = [(start, 0, None)]
        while waiting:
            number, depth, above = waiting.pop()
            if number in places:
                continue
            below = children.get(number, [])
            own = own_ms(spans[number], [spans[child] for child in below])
            caller = None if above is None else spans[above]
            gap = gap_ms(caller, spans[number], len(children.get(above, ())))
            places[number] = Place(len(places), depth, above, own, gap, len(below))
            waiting += [(child, depth + 1, number) for child in reversed(below)]
    return places


def _children(spans: Sequence[StoredSpan]) -> Mapping[int | None, list[int]]:
    """The positions of each span's children; those of None are the roots."""
    by_id = {span.span_id: number for number, span in reversed(list(enumerate(spans)))}
    children: dict[int | None, list[int]] = {}
    for number, span in enumerate(spans):
        parent = by_id.get(span.parent_span_id) if span.parent_span_id else None
        children.setdefault(None if parent == number else parent, []).append(number)
    return children


def own_ms(span: StoredSpan, children: Sequence[StoredSpan]) -> float:
    """Return the milliseconds of a span in which none of its children ran."""
    busy, reached = 0.0, 0.0
    for child in sorted(children, key=lambda one: one.start_us):
        start = (child.start_us - span.start_us) / 1000
        begins, ends = max(start, reached), min(start + child.duration_ms, span.duration_ms)
        if ends > begins:
            busy += ends - begins
            reached = ends
    return span.duration_ms - busy


def gap_ms(caller: StoredSpan | None, callee: StoredSpan, calls: int) -> float | None:
    """Return the milliseconds that a caller of so many calls took longer than its callee.

    None where that says nothing: within a service, without a caller, or beside other calls.
    """
    if caller is None or caller.service == callee.service or calls != 1:
        return None
    return max(0.0, caller.duration_ms - callee.duration_ms)


def trail(spans: Sequence[StoredSpan], places: Mapping[int, Place]) -> list[int]:
    """Return the positions of the spans that lead to where a request fails or takes long; none where it does
    neither.

    The trail begins at the first root and follows the last attempt of each call: a failing one before a slow
    one, then the longest. A call that failed and was repeated with success is no part of it.
    """
    first = min(places, key=lambda number: places[number].order, default=None)
    if first is None or not (spans[first].status in FAILED or spans[first].duration_ms >= SLOW_MS):
        return []
    below: dict[int | None, list[int]] = {}
    for number in sorted(places, key=lambda number: places[number].order):
        below.setdefault(places[number].parent, []).append(number)
    path = [first]
    while bad := _bad(spans, path[-1], below.get(path[-1], [])):
        path.append(max(bad, key=lambda number: (spans[number].status in FAILED, spans[number].duration_ms)))
    return path


def _bad(spans: Sequence[StoredSpan], caller: int, calls: Sequence[int]) -> list[int]:
    """The calls whose last attempt failed or was slow."""
    last = {(spans[call].service, spans[call].operation): call for call in calls}
    slow_ms = max(SLOW_MS, OF_ITS_CALLER * spans[caller].duration_ms)
    return [
        call for call in last.values() if spans[call].status in FAILED or spans[call].duration_ms >= slow_ms
    ]
