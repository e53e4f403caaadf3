"""What became of every line that was read: kept, joined, repaired or dropped, and why.

An import that loses lines in silence is worse than none, so everything that is not a plain row is counted
under a reason that a person can read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from project_types import InvestigatorError


class ImportTrouble(InvestigatorError):
    """A source cannot be imported. The text names the file, the line and the fix."""


class Counts:
    """Counters of one import."""

    def __init__(self) -> None:
        self.files = 0
        self.bytes = 0
        self.lines = 0
        """Lines, records or table rows that were read."""
        self.rows: Counter[str] = Counter()
        """What was kept, by kind: logs, spans, metric points, events."""
        self.joined = 0
        """Lines that continue the row before them."""
        self.repaired: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()
        self.notes: dict[str, None] = {}
        """What a reader must know besides, in order."""

    def repair(self, why: str, times: int = 1) -> None:
        """Count something that was kept after a repair."""
        self.repaired[why] += times

    def drop(self, why: str, times: int = 1) -> None:
        """Count something that was not kept."""
        self.dropped[why] += times

    def note(self, text: str) -> None:
        """Remember something that is no count; the same text once."""
        self.notes[text] = None

    def told(self) -> Iterator[str]:
        """Yield what to print, one line each."""
        kept = ", ".join(f"{number:,} {kind}" for kind, number in self.rows.items() if number) or "nothing"
        size = self.bytes / 1e6
        yield f"read {self.lines:,} lines of {self.files:,} files ({size:,.1f} MB); kept {kept}"
        if self.joined:
            yield f"joined {self.joined:,}: lines that continue the row before them"
        for what, counter in (("repaired", self.repaired), ("dropped", self.dropped)):
            if counter:
                reasons = ", ".join(f"{why} {number:,}" for why, number in counter.most_common())
                yield f"{what} {counter.total():,}: {reasons}"
        yield from (f"note: {text}" for text in self.notes)
