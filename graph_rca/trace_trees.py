"""Spans of an incident as trees: one for each trace, with its root, who is below whom,
and the ways up to the root.

Spans whose parent is not there are roots; the longest root speaks for its trace. Ids that come twice do not
go round in circles. What is usual and what is bad is decided in `traces`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from core.log_stores.contract import StoredSpan
from core.log_stores.span_times import TimedSpan, timed
from project_types import Incident


class Tree(NamedTuple):
    """One trace as a tree."""

    root: TimedSpan
    spans: Sequence[TimedSpan]
    children: Mapping[str, Sequence[TimedSpan]]
    by_id: Mapping[str, TimedSpan]

    @property
    def at(self) -> float:
        """Start of the root, seconds UTC."""
        return self.root.span.start_us / 1e6

    def ways(self) -> set[tuple[str, ...]]:
        """Return the services from each span up to the root, each way once."""
        found: dict[str, tuple[str, ...]] = {self.root.span.span_id: (self.root.span.service,)}
        waiting = [self.root]
        for above in waiting:  # grows while it is read
            way = found[above.span.span_id]
            for child in self.children.get(above.span.span_id, ()):
                if child.span.span_id not in found:  # ids that come twice must not go round in circles
                    service = child.span.service
                    found[child.span.span_id] = way if service == way[0] else (service, *way)
                    waiting.append(child)
        return set(found.values())


def stored(incident: Incident) -> list[StoredSpan]:
    """Return the spans as the stores keep them."""
    return [
        StoredSpan(
            one.trace_id, one.span_id, one.parent_span_id, one.service, one.operation,
            round(one.start.timestamp() * 1e6), one.duration_ms, one.status,
        )
        for one in incident.spans
    ]  # fmt: skip


def trees(spans: Iterable[StoredSpan]) -> list[Tree]:
    """Return the traces; a trace with several roots is the tree of its longest one."""
    grouped: dict[str, list[TimedSpan]] = defaultdict(list)
    for one in timed(spans):
        grouped[one.span.trace_id].append(one)
    return [_tree(members) for members in grouped.values()]


def _tree(members: Sequence[TimedSpan]) -> Tree:
    by_id = {one.span.span_id: one for one in members}
    children: dict[str, list[TimedSpan]] = defaultdict(list)
    roots = []
    for one in members:
        parent = one.span.parent_span_id
        if parent in by_id and parent != one.span.span_id:
            children[str(parent)].append(one)
        else:
            roots.append(one)
    root = max(roots or members, key=lambda one: one.span.duration_ms)
    return Tree(root, members, children, by_id)
