"""How long the spans of a whole incident took: each with its own time and the gap to its caller.

What own time and gap are is said in `core.log_stores.traces`; here they are computed for all traces at once,
because statistics want every span.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple
from weakref import WeakKeyDictionary

from core.log_stores.contract import LogStore, StoredSpan
from core.log_stores.traces import gap_ms, own_ms


class TimedSpan(NamedTuple):
    """A span with its own time and the gap to its caller, in milliseconds."""

    span: StoredSpan
    own_ms: float
    gap_ms: float | None
    """None where the caller is of the same service, unknown, or made other calls too."""


def timed(spans: Iterable[StoredSpan]) -> list[TimedSpan]:
    """Return all spans with their times, trace by trace."""
    by_trace: dict[str, list[StoredSpan]] = {}
    for span in spans:
        by_trace.setdefault(span.trace_id, []).append(span)
    return [one for members in by_trace.values() for one in _timed_trace(members)]


def _timed_trace(spans: Sequence[StoredSpan]) -> Iterator[TimedSpan]:
    by_id = {span.span_id: span for span in reversed(spans)}
    children: dict[str, list[StoredSpan]] = {}
    for span in spans:
        if span.parent_span_id and span.parent_span_id != span.span_id:
            children.setdefault(span.parent_span_id, []).append(span)
    for span in spans:
        below = children.get(span.span_id)
        own = own_ms(span, below) if below else span.duration_ms
        caller = by_id.get(span.parent_span_id) if span.parent_span_id else None
        calls = len(children.get(caller.span_id, ())) if caller else 0
        yield TimedSpan(span, own, gap_ms(caller, span, calls))


_known: WeakKeyDictionary[LogStore, tuple[Sequence[StoredSpan], list[TimedSpan]]] = WeakKeyDictionary()


def timed_spans(store: LogStore) -> list[TimedSpan]:
    """Return all spans of a store with their times. A store that gives the same spans again is asked once."""
    spans = store.spans()
    before = _known.get(store)
    if before is None or before[0] is not spans:
        before = _known[store] = (spans, timed(spans))
    return before[1]


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value below which a share of the sorted values lie: the nearest
    one that occurs; 0 for none.
    """
    if not values:
        return 0.0
    return values[min(len(values) - 1, int(share * len(values)))]
