"""A preference: a prompt, two answers, which one is better, by whom, why, and where both answers came from.

One JSON object a line, with a version. `kind` says what sort of judge decided: a person, a generator that
knows the truth, the outcomes of rollouts, or a simulated annotator of a test. Only persons are counted as
annotators. `problems` finds what is wrong with a file: a failure type in two splits, near-duplicates, a
position that wins.

Not here: agreement between annotators (`agreement`), and where pairs come from (`pairs`).
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from alignment.answers import Tag
from alignment.cases import Split
from alignment.records import records
from core.intervals import share_of
from project_types import Frozen

Choice = Literal["a", "b", "tie", "both bad"]
Kind = Literal["person", "generator", "rollouts", "simulated"]
ALIKE = 0.9
"""Share of common word triples from which the answers of two pairs on one log are near-duplicates."""
BALANCED_FROM = 30
"""Decided pairs from which an unbalanced position is a problem."""


class Origin(Frozen):
    """Where an answer came from."""

    model: str
    """A base model, `person`, `generator`, or a policy."""
    adapter: str = ""
    temperature: float | None = None


class Message(Frozen):
    """One message of a prompt."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str


class Preference(Frozen):
    """One judgement of two answers."""

    version: Literal[1] = 1
    id: Annotated[str, Field(min_length=1)]
    """Of the pair: two judgements of the same pair have the same one."""
    case: str
    """Of the log, so that pairs of one log can be found."""
    family: str
    failure_type: str
    split: Split
    prompt: Annotated[tuple[Message, ...], Field(min_length=1)]
    answer_a: Annotated[str, Field(min_length=1)]
    answer_b: Annotated[str, Field(min_length=1)]
    better: Choice
    kind: Kind
    by: Annotated[str, Field(min_length=1)]
    why: tuple[Tag, ...] = ()
    """What is wrong with the worse answer."""
    at: datetime
    origin_a: Origin
    origin_b: Origin
    seed: int = 0

    @model_validator(mode="after")
    def _is_a_pair(self) -> Preference:
        if self.answer_a.strip() == self.answer_b.strip():
            raise ValueError("both answers are the same; a pair needs two")
        if self.at.tzinfo is None:
            raise ValueError("at: the time needs its zone, e.g. 2026-01-31T12:00:00Z")
        return self

    @property
    def decided(self) -> bool:
        """Whether one answer is better."""
        return self.better in ("a", "b")

    @property
    def chosen(self) -> str:
        """Return the better answer. Only where one is."""
        return self.answer_a if self.better == "a" else self.answer_b

    @property
    def rejected(self) -> str:
        """Return the worse answer. Only where one is."""
        return self.answer_b if self.better == "a" else self.answer_a

    def row(self) -> dict[str, object]:
        """Return the pair as a dpo or reward job takes it."""
        messages = [message.model_dump() for message in self.prompt]
        return {"messages": messages, "chosen": self.chosen, "rejected": self.rejected}


def now() -> datetime:
    """Return the time of a judgement that is made now."""
    return datetime.now(UTC).replace(microsecond=0)


def read(path: Path) -> Iterator[Preference]:
    """Read preferences. Raises ConfigurationError that names file, line, field and fix."""
    make = f"make pairs with: python -m alignment pairs --out {path}"
    return records(path, Preference, make, "see python -m alignment schema")


def write(path: Path, preferences: Iterable[Preference]) -> int:
    """Write preferences, one a line. Returns how many."""
    lines = [preference.model_dump_json() for preference in preferences]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return len(lines)


# --------------------------------------------------------------------------------------------------- checks


def problems(preferences: Sequence[Preference]) -> list[str]:
    """Return what is wrong with a set, each with what to do. Nothing wrong: an empty list."""
    return [*_types_in_two_splits(preferences), *_near_duplicates(preferences), *_unbalanced(preferences)]


def _types_in_two_splits(preferences: Sequence[Preference]) -> Iterator[str]:
    """A type of `unseen` that training saw makes the figure on unseen types worthless."""
    splits: dict[tuple[str, str], set[str]] = defaultdict(set)
    for one in preferences:
        if one.failure_type != "none":  # a green log has no type
            splits[one.family, one.failure_type].add(one.split)
    for (family, failure), found in sorted(splits.items()):
        if "unseen" in found and len(found) > 1:
            others = ", ".join(sorted(found - {"unseen"}))
            yield f"failure type {family}/{failure} is in unseen and in {others}; split by type, never by row"
    cases: dict[str, set[str]] = defaultdict(set)
    for one in preferences:
        cases[one.case].add(one.split)
    for case, found in sorted(cases.items()):
        if len(found) > 1:
            yield f"case {case} is in {' and '.join(sorted(found))}; keep a log in one split"


def _near_duplicates(preferences: Sequence[Preference]) -> Iterator[str]:
    """Pairs on one log whose answers are almost the same. The same pair judged by several people is none."""
    seen: dict[str, list[tuple[str, frozenset[int]]]] = defaultdict(list)
    for one in {preference.id: preference for preference in preferences}.values():
        shingles = _shingles(" ".join(sorted((one.answer_a, one.answer_b))))
        bucket = seen[one.case]
        for other, theirs in bucket:
            if len(shingles & theirs) >= ALIKE * max(1, len(shingles | theirs)):
                yield f"pairs {other} and {one.id} are near-duplicates; keep one"
                break
        bucket.append((one.id, shingles))


def _shingles(text: str) -> frozenset[int]:
    words = re.findall(r"\w+", text.lower())
    return frozenset(hash(tuple(words[start : start + 3])) for start in range(max(1, len(words) - 2)))


def _unbalanced(preferences: Sequence[Preference]) -> Iterator[str]:
    """A position that wins more often than chance allows: whoever looks at it alone would be right."""
    decided = [one for one in preferences if one.decided]
    first = sum(one.better == "a" for one in decided)
    if len(decided) < BALANCED_FROM:
        return
    share = share_of(first, len(decided), confidence=0.999)
    if not share.low <= 0.5 <= share.high:
        percent = 100 * share.value
        yield f"answer a is better in {percent:.0f} % of {len(decided)} pairs; show answers in random order"


def summary(preferences: Sequence[Preference]) -> dict[str, dict[str, int]]:
    """Return counts by kind, split, choice and reason."""
    columns: dict[str, list[str]] = {
        "kind": [one.kind for one in preferences],
        "split": [one.split for one in preferences],
        "better": [one.better for one in preferences],
        "why": [tag for one in preferences for tag in one.why],
        "annotators": [one.by for one in preferences if one.kind == "person"],
    }
    return {name: dict(Counter[str](values).most_common()) for name, values in columns.items()}
