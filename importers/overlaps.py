"""Rows that an earlier file of the same source holds already, as overlapping exports do.

Only whole rows are compared, clock included, and only with other files: a program may well write the same
line twice. A row costs eight bytes, so a source of millions of rows fits into memory.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any

_MANY = 1 << 16
_64_BITS = (1 << 64) - 1


class Overlaps:
    """Which rows were in an earlier file."""

    def __init__(self) -> None:
        self._sorted: list[Any] = []
        """Digests of earlier files, in arrays that each are at most half as long as the one before."""
        self._recent: set[int] = set()
        """Digests of earlier files that are not sorted in yet."""
        self._file = array("Q")

    def next_file(self) -> None:
        """Say that the rows that follow come from another file."""
        if len(self._recent) + len(self._file) > _MANY:  # as a set a digest takes ten times the memory
            self._sort_in()
        else:
            self._recent.update(self._file)
        self._file = array("Q")

    def _sort_in(self) -> None:
        import numpy as np

        recent = np.fromiter(self._recent, dtype=np.uint64, count=len(self._recent))
        merged = np.unique(np.concatenate([recent, np.frombuffer(self._file, dtype=np.uint64)]))
        self._recent = set()
        while self._sorted and len(self._sorted[-1]) <= 2 * len(merged):
            merged = np.concatenate([self._sorted.pop(), merged])
        self._sorted.append(np.unique(merged))

    def is_new(self, rows: Sequence[tuple[Any, ...]]) -> list[bool]:
        """Say of each row whether no earlier file has it."""
        digests = list(map(_digest, rows))
        self._file.extend(digests)
        known = self._known(digests)
        return [not (digest in self._recent or old) for digest, old in zip(digests, known, strict=True)]

    def _known(self, digests: Sequence[int]) -> list[bool]:
        if not self._sorted:
            return [False] * len(digests)
        import numpy as np

        asked = np.array(digests, dtype=np.uint64)
        found = np.zeros(len(asked), dtype=bool)
        for earlier in self._sorted:
            places = np.searchsorted(earlier, asked)
            found |= earlier[np.minimum(places, len(earlier) - 1)] == asked
        return list(map(bool, found))


def _digest(row: tuple[Any, ...]) -> int:
    """Return 64 bits of a row. Python's own hash has a key of its own in each
    process, which is enough here.
    """
    *fields, last = row
    return hash((*fields, repr(last))) & _64_BITS  # the last field of a line is a dict, which has no hash
