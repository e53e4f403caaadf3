"""What makes two failures alike: a message with everything masked that differs between two happenings of the
same thing.

A template keeps words and masks numbers, ids, paths, addresses, times and quoted values that hold digits. Its
tokens are what "similar" compares. Nothing is learned: the same text always gives the same template.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping

from core.log_stores.masks import masked_error

LONGEST_TEMPLATE = 300
LONGEST_MESSAGE = 4000

_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_.]+")


def template(message: str) -> str:
    """The message with what changes masked: its first line that says something, and the last when it is a
    traceback.
    """
    lines = [line.strip() for line in message[:LONGEST_MESSAGE].splitlines() if line.strip()]
    if not lines:
        return ""
    text = lines[-1] if lines[0].startswith("Traceback") else lines[0]
    return " ".join(masked_error(text).split())[:LONGEST_TEMPLATE]


def tokens(text: str) -> Counter[str]:
    """The words of a template, split at underscores, dots and capitals, without masks."""
    found: Counter[str] = Counter()
    for word in _WORD.findall(text):
        parts = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", word)
        found.update(part.lower() for part in (word, *parts) if len(part) > 1)
    return found


def nearest(text: str, candidates: Mapping[str, str]) -> list[tuple[str, float]]:
    """Candidates (name → template) by likeness to the text, most alike first; those without a common word are
    left out.

    Likeness is the cosine of word counts weighted by how rare a word is among the candidates (tf-idf).
    """
    bags = {name: tokens(candidate) for name, candidate in candidates.items()}
    spread = Counter(word for bag in bags.values() for word in bag)
    weights = {word: math.log(1 + len(bags) / count) for word, count in spread.items()}
    # a word that no candidate has tells the text apart as one that a single one has
    new = math.log(1 + len(bags))
    asked = _weighted(tokens(text), weights, new)
    scored = ((name, _cosine(asked, _weighted(bag, weights))) for name, bag in bags.items())
    return sorted(
        ((name, score) for name, score in scored if score > 0), key=lambda pair: (-pair[1], pair[0])
    )


def _weighted(bag: Counter[str], weights: Mapping[str, float], new: float = 0.0) -> dict[str, float]:
    return {word: (1 + math.log(count)) * weights.get(word, new) for word, count in bag.items()}


def _cosine(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    shared = math.fsum(weight * other[word] for word, weight in one.items() if word in other)
    return shared / (_length(one.values()) * _length(other.values())) if shared else 0.0


def _length(weights: Iterable[float]) -> float:
    return math.sqrt(math.fsum(weight * weight for weight in weights))
