"""Step 4, the embedding of request paths: how bad requests went around each service, as one vector.

Each span of a bad trace makes one gram of four states: its caller's caller, its caller, itself, and the worst
of the calls it makes. A state is nobody, as usual, slow or failed. A service's vector says how often each
gram stood around it, weighted by how much the trace is what the alert speaks of. Names are not in it, so a
place on a path looks the same in any system. `--encoder paths` lets a network read the directions in which
these vectors differ most.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from core.log_stores.span_times import TimedSpan
from graph_rca.trace_trees import Tree

PATHS = "paths"
"""What `--encoder` calls them."""


class State(IntEnum):
    """How a span went; the larger, the worse."""

    NOBODY = 0
    USUAL = 1
    SLOW = 2
    FAILED = 3


WIDTH = len(State) ** 4


def grams(tree: Tree, state: Callable[[TimedSpan], State]) -> Iterator[tuple[str, int]]:
    """Yield the service and the gram, 0 to WIDTH - 1, of each span of a trace."""
    states = {one.span.span_id: state(one) for one in tree.spans}
    for one in tree.spans:
        caller = tree.by_id.get(one.span.parent_span_id or "")
        above = tree.by_id.get(caller.span.parent_span_id or "") if caller else None
        below = [states[child.span.span_id] for child in tree.children.get(one.span.span_id, ())]
        around = (
            states[above.span.span_id] if above else State.NOBODY,
            states[caller.span.span_id] if caller else State.NOBODY,
            states[one.span.span_id],
            max(below, default=State.NOBODY),
        )
        yield one.span.service, int(np.ravel_multi_index(around, (len(State),) * 4))


def vectors(services: Sequence[str], seen: Mapping[str, Counter[int]]) -> NDArray[np.float32]:
    """Return (services, WIDTH): the square roots of each gram's share, all 0 for
    a service on no bad trace.
    """
    found = np.zeros((len(services), WIDTH), np.float32)
    for place, name in enumerate(services):
        mine = seen.get(name, Counter())
        found[place, list(mine)] = np.sqrt(np.array(list(mine.values())) / max(1e-9, sum(mine.values())))
    return found
