"""The beginning of an id that is enough to name it: what the tools print instead of the whole id.

A prefix has an even length, at least 4, and no other id of the incident begins with it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence

SHORTEST = 4
"""Letters an id must be given with to be looked up."""


class IdPrefixes:
    """The ids of one kind in one incident."""

    def __init__(self, ids: Iterable[str]) -> None:
        self.ordered = sorted(set(ids))
        self._short = _shortest(self.ordered)

    def short(self, full: str) -> str:
        """Return the shortest unique prefix; an id that is not known stays whole."""
        return self._short.get(full, full)

    def candidates(self, shown: str) -> list[str]:
        """Return the ids that `shown` can stand for: itself, or those that begin with it."""
        place = end = bisect_left(self.ordered, shown)
        if self.ordered[place : place + 1] == [shown]:
            return [shown]
        while end < len(self.ordered) and self.ordered[end].startswith(shown):
            end += 1
        return self.ordered[place:end] if len(shown) >= SHORTEST else []

    def full(self, shown: str) -> str | None:
        """Return the one id that `shown` stands for, or None."""
        found = self.candidates(shown)
        return found[0] if len(found) == 1 else None


def _shortest(ids: Sequence[str]) -> dict[str, str]:
    """Return each of the sorted ids with its prefix; an id that another one begins with stays whole."""
    short: dict[str, str] = {}
    before = ""
    for one, after in zip(ids, [*ids[1:], ""], strict=False):
        length, start = SHORTEST, one[:SHORTEST]
        while before.startswith(start) or after.startswith(start):
            length += 2
            start = one[:length]
            if len(start) < length:
                break
        short[one] = start
        before = one
    return short
