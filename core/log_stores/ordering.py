"""The order of an incident's log lines: by the clock where there is one, by sequence number otherwise.

A line without a clock stands right behind the line before it in the source. It knows nothing of databases.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate


def places_in_order(clocks: Sequence[int | None], sequences: Sequence[int | None]) -> list[int]:
    """Return the places of lines in time order.

    Args:
        clocks: what each line's clock says, in any unit; None for a line without a clock.
        sequences: each line's place in its source; None for its place in `clocks`.
    """
    places = range(len(clocks))
    if not any(one is not None for one in sequences):
        if None not in clocks:
            return sorted(places, key=clocks.__getitem__)  # type: ignore[arg-type]
        in_source: Sequence[int] = places
        rank: Sequence[int] = places
    else:
        rank = [place if given is None else given for place, given in enumerate(sequences)]
        in_source = sorted(places, key=rank.__getitem__)
    # lines before the first clock come before everything
    carried = accumulate((clocks[place] for place in in_source), _last_known)
    keys = {
        place: (clock is not None, clock or 0, rank[place])
        for place, clock in zip(in_source, carried, strict=True)
    }
    return sorted(in_source, key=keys.__getitem__)


def _last_known(before: int | None, own: int | None) -> int | None:
    return before if own is None else own
