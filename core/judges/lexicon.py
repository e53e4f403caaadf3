"""The words the off-line judge reads by: `log_scenarios/judge_lexicon.json`, read once and compiled.

A fault type has cues: phrases that name it, in several languages. Marks are the words around a cue that say
how it is meant: denied, hypothetical, over, somebody else's opinion. Texts are compared in a plain form. Not
here: what a text says in the end (`core.judges.claims`).
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from project_types import FAULT_TYPES, ConfigurationError

LEXICON = Path(__file__).parents[2] / "log_scenarios" / "judge_lexicon.json"
GAP_CHARS = 45
"""Parts of one cue ("pool" ... "exhausted") stand this close together, in one sentence."""
PHRASE_GAP_CHARS = 100
"""The same for the words of an accepted phrase, which are rare enough together."""
LONGEST = 40
"""Characters of the longest phrase."""
SENTENCE_END = re.compile(r"[;!?\n。；！？]+|\.(?=\s|$)")
HAN = r"[\u4e00-\u9fff]"
LEAST_STEM = 3
"""A word of an accepted phrase may be inflected when at least so many letters stay the same."""

Span = tuple[int, int]


def plain(text: str) -> str:
    """Lower case, one kind of quote and dash, no markup: what is left of the formatting of a report."""
    text = unicodedata.normalize("NFKC", text).casefold().replace("’", "'")
    text = text.replace("—", ", ").replace("–", "-")
    text = re.sub(r"[-=]+>", "→", text)
    text = re.sub(rf"(?<={HAN})(?=[a-z0-9])|(?<=[a-z0-9])(?={HAN})", " ", text)
    return re.sub(r"[ \t]+", " ", re.sub(r"[_\-*`\"#~|\[\]{}<>\\]", " ", text)).strip()


def key(fault_type: str | None) -> str:
    """A fault type as `FAULT_TYPES` writes it, however the report does."""
    return re.sub(r"\W+", "_", plain(fault_type or "")).strip("_")


def words(text: str) -> list[str]:
    """The content words of a plain text; every run that holds a digit becomes '#'.

    Ids and amounts never decide.
    """
    found = re.findall(r"\w*\d\w*|[^\W\d_]+(?:'[^\W\d_]+)?", text)
    masked = ("#" if any(map(str.isdigit, word)) else word for word in found)
    return [word for word in masked if word not in lexicon().phrases["stop"]]


def phrase_pattern(phrases: Iterable[str]) -> re.Pattern[str]:
    """One pattern for any of the phrases, as whole words; '*' lets a word go on."""
    spaced, unspaced = [], []
    for phrase in sorted((p.strip() for p in phrases), key=len, reverse=True):
        body = re.escape(plain(phrase.replace("*", "\0"))).replace(r"\ ", r"\s+").replace("\0", r"\w*")
        if re.search(HAN, phrase) or not body[0].isalnum():
            unspaced.append(body)
        else:
            spaced.append(body + (r"\b" if body[-1].isalnum() else ""))
    return re.compile("|".join([rf"\b(?:{'|'.join(spaced)})"] * bool(spaced) + unspaced))


def apart(span: Span, taken: Iterable[Span]) -> bool:
    """Whether a span shares nothing with any of the taken ones."""
    start, end = span
    return all(end <= s or e <= start for s, e in taken)


class Found(NamedTuple):
    """A place where a cue stands: its extent, and the words that make it up."""

    start: int
    end: int
    taken: tuple[Span, ...]


class Cue(NamedTuple):
    """A phrase that points at a fault type: every part must be found near the others, in one sentence."""

    parts: tuple[re.Pattern[str], ...]
    weight: float
    spelled: str = ""
    """One way to write it."""
    gap: int = GAP_CHARS
    """Characters that may stand between its parts."""
    openings: frozenset[str] = frozenset()
    """Beginnings of words, of which a text must hold one; none: unknown."""

    def may_stand(self, held: frozenset[str]) -> bool:
        """Whether it is worth looking for the cue in a text that holds these `beginnings`."""
        return not self.openings or not self.openings.isdisjoint(held)

    def found(self, text: str) -> Iterator[Found]:
        """Each place where the cue stands in a plain text."""
        for first in self.parts[0].finditer(text):
            taken = [first.span()]
            for part in self.parts[1:]:
                nearest = _nearest(part, text, taken, self.gap)
                if nearest is None:
                    break
                taken.append(nearest)
            else:
                start, end = min(taken)[0], max(e for _, e in taken)
                if not SENTENCE_END.search(text, start, end):
                    yield Found(start, end, tuple(sorted(taken)))


def beginnings(text: str) -> frozenset[str]:
    """Every beginning of every word of a plain text. Most of 600 cues are ruled out by them in no time."""
    words = {word[:LONGEST] for word in re.findall(r"\w+", text)}
    return frozenset(word[:end] for word in words for end in range(1, len(word) + 1))


def _openings(phrases: Iterable[str]) -> frozenset[str]:
    """How the first words of some phrases begin; none when one of them may begin inside a word."""
    found = [re.match(r"\w+", plain(phrase.partition("*")[0])) for phrase in phrases]
    if not all(found) or any(re.search(HAN, phrase) for phrase in phrases):
        return frozenset()
    return frozenset(match.group()[:LONGEST] for match in found if match)


def _nearest(part: re.Pattern[str], text: str, taken: Sequence[Span], most: int) -> Span | None:
    """The match of `part` that is closest to the words taken so far and overlaps none of them."""
    start, end = min(taken)[0], max(e for _, e in taken)
    near = []
    for match in part.finditer(text, max(0, start - most - LONGEST), end + most + LONGEST):
        s, e = match.span()
        gap = max(s - end, start - e, 0)
        if gap <= most and all(e <= a or b <= s for a, b in taken):
            near.append((gap, s, e))
    return min(near)[1:] if near else None


class Lexicon(NamedTuple):
    """Cues per fault type, phrase lists as written, and what says how a cue is meant."""

    cues: dict[str, tuple[Cue, ...]]
    phrases: dict[str, frozenset[str]]
    marks: dict[str, re.Pattern[str]]
    """Phrase lists and patterns, compiled."""


@lru_cache(maxsize=1)
def lexicon() -> Lexicon:
    """Read the lexicon once. Raises ConfigurationError when it is missing or lacks a fault type."""
    try:
        table = json.loads(LEXICON.read_text(encoding="utf-8"))
    except (OSError, ValueError) as trouble:
        raise ConfigurationError(
            f"{LEXICON} cannot be read ({trouble}); run: git checkout -- log_scenarios"
        ) from trouble
    if missing := set(FAULT_TYPES) - set(table["faults"]):
        raise ConfigurationError(f"{LEXICON} must hold every one of FAULT_TYPES; add: {sorted(missing)}")
    cues = {name: _cues(name, rows) for name, rows in table["faults"].items()}
    phrases = {name: frozenset(rows) for name, rows in table["phrases"].items()}
    marks = {name: phrase_pattern(rows) for name, rows in phrases.items()}
    marks |= {name: re.compile("|".join(rows)) for name, rows in table["patterns"].items()}
    return Lexicon(cues, phrases, marks)


def _cues(name: str, rows: dict[str, list[str]]) -> tuple[Cue, ...]:
    strong = [_cue(line, 1.0) for line in [name, *rows["strong"]]]
    return (*strong, *(_cue(line, 0.5) for line in rows["weak"]))


def _cue(line: str, weight: float) -> Cue:
    parts = [part.split("|") for part in line.split(" + ")]
    spelled = " ".join(part[0].replace("*", "") for part in parts)
    return Cue(tuple(phrase_pattern(part) for part in parts), weight, spelled, openings=_openings(parts[0]))


@lru_cache(maxsize=4096)
def phrase_cue(phrase: str) -> Cue | None:
    """A cue for a phrase of a scenario: its content words, near each other, in any order and inflection.

    None when the phrase has no content word.
    """
    parts = [re.compile(_inflected(word)) for word in dict.fromkeys(words(plain(phrase))) if word != "#"]
    return Cue(tuple(parts), 1.0, phrase, PHRASE_GAP_CHARS) if parts else None


def stem(word: str) -> str:
    """A word without the commonest English endings."""
    return re.sub(r"(?<=\w{3})(?:ing|ed|es|s|e)$", "", word)


def _inflected(word: str) -> str:
    """A pattern for a word and its endings: exceed, exceeds, exceeded, exceeding."""
    if re.search(HAN, word):
        return re.escape(word)
    short = stem(word)
    return rf"\b{re.escape(short)}\w{{0,4}}\b" if len(short) >= LEAST_STEM else rf"\b{re.escape(word)}\b"
