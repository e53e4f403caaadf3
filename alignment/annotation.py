"""Judging pairs by hand: which pair is next, what was said of it, and taking it back.

Pairs are shown blind: an annotator sees two answers on the left and the right, and neither origin nor order
of the file. The side is drawn anew for each annotator and pair. Now and then a pair comes again, turned
around, so that one's own consistency can be counted. A judgement is one line of `judgements.jsonl`, of kind
`person`. Undoing takes one's last line out. Several annotators may judge at once, one file for all.

Not here: the page (`dashboard.annotate`), and agreement (`agreement`).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from alignment.agreement import consistency
from alignment.answers import TAGS, Tag
from alignment.preferences import Choice, Preference, now, read
from alignment.scorer import QUOTED, plain
from core.files import held, replace_file
from project_types import ConfigurationError

PAIRS, JUDGEMENTS = "pairs.jsonl", "judgements.jsonl"
REPEAT_EVERY = 10
"""After so many new pairs an old one comes again."""
SIDES: dict[str, dict[str, Choice]] = {
    "straight": {"left": "a", "right": "b", "tie": "tie", "bad": "both bad"},
    "turned": {"left": "b", "right": "a", "tie": "tie", "bad": "both bad"},
}
"""What a verdict about sides means, with answer a on the left or on the right."""


class Shown(NamedTuple):
    """One pair as an annotator sees it."""

    pair: Preference
    turned: bool
    """Answer a is on the right."""

    @property
    def left(self) -> str:
        return self.pair.answer_b if self.turned else self.pair.answer_a

    @property
    def right(self) -> str:
        return self.pair.answer_a if self.turned else self.pair.answer_b

    def log(self) -> list[tuple[str, bool]]:
        """Return the lines of the prompt's log, and whether an answer quotes each."""
        quotes = [plain(one) for text in (self.left, self.right) for one in QUOTED.findall(text)]

        def is_quoted(line: str) -> bool:
            return any(quote in plain(line) for quote in quotes)

        lines = self.pair.prompt[-1].content.rpartition("\n\n")[0].splitlines()
        return [(line, is_quoted(line)) for line in lines]


class Progress(NamedTuple):
    """How far an annotator is."""

    judged: int
    pairs: int
    repeated: int
    consistent: int


class Annotation:
    """The pairs of one folder, and what people said of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def there(self) -> bool:
        """Whether there is anything to judge."""
        return (self.folder / PAIRS).exists()

    def next(self, by: str) -> Shown | None:
        """Return the pair that an annotator sees next; None when all are judged."""
        said = self._said(by)
        times = Counter(one.id for one in said)
        repeated = sum(count > 1 for count in times.values())
        if repeated < len(times) // REPEAT_EVERY:
            oldest = next(one for one in said if times[one.id] == 1)
            return Shown(oldest, not _turned(by, oldest.id))
        left = [pair for pair in self._pairs() if pair.id not in times]
        first = min(left, key=lambda pair: _draw(by, pair.id), default=None)
        return None if first is None else Shown(first, _turned(by, first.id))

    def judge(self, by: str, id: str, side: str, turned: bool, why: Iterable[str] = ()) -> Preference:
        """Keep a verdict about a pair. Raises ConfigurationError for a pair, side
        or tag that does not exist.
        """
        pair = next((one for one in self._pairs() if one.id == id), None)
        sides = SIDES["turned" if turned else "straight"]
        tags: tuple[Tag, ...] = tuple(tag for tag in TAGS if tag in set(why))
        if pair is None or side not in sides or not by.strip() or len(tags) != len(set(why)):
            raise ConfigurationError("no such pair, verdict or tag; load the page again")
        changed = {"better": sides[side], "kind": "person", "by": by, "why": tags, "at": now()}
        said = pair.model_copy(update=changed)
        with self._writing():
            self._store([*self._judgements(), said])
        return said

    def undo(self, by: str) -> bool:
        """Take back an annotator's last judgement. False when there is none."""
        with self._writing():
            every = self._judgements()
            mine = [place for place, one in enumerate(every) if one.by == by]
            if not mine:
                return False
            del every[mine[-1]]
            self._store(every)
        return True

    def progress(self, by: str) -> Progress:
        """Return how far an annotator is, and how consistent."""
        said = self._said(by)
        repeated, consistent = consistency(said, by)
        return Progress(len({one.id for one in said}), len(self._pairs()), repeated, consistent)

    def annotators(self) -> list[str]:
        """Return who has judged."""
        return sorted({one.by for one in self._judgements()})

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            with held(self.folder / ".lock"):
                yield
        except BlockingIOError as trouble:
            raise ConfigurationError("somebody else saves just now; press the key again") from trouble

    def _pairs(self) -> list[Preference]:
        return list(read(self.folder / PAIRS)) if self.there else []

    def _judgements(self) -> list[Preference]:
        path = self.folder / JUDGEMENTS
        return list(read(path)) if path.exists() else []

    def _store(self, every: Sequence[Preference]) -> None:
        """Replace the file whole: a full disk or a kill leaves the one before."""
        text = "".join(one.model_dump_json() + "\n" for one in every)
        replace_file(self.folder / JUDGEMENTS, text.encode())

    def _said(self, by: str) -> list[Preference]:
        return [one for one in self._judgements() if one.by == by]


def _draw(by: str, pair: str) -> int:
    """Return a number that looks random and is the same each time."""
    return int.from_bytes(hashlib.sha256(f"{by}\n{pair}".encode()).digest()[:8], "big")


def _turned(by: str, pair: str) -> bool:
    return _draw(by, pair) % 2 == 1
