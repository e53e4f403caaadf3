"""How much of a report repeats the decisive lines of a scenario, and how much it repeats others.

Lines are compared by their words: numbers and ids are masked, service names left out. A line with the
words of a decisive one is decisive too, whoever wrote it, since the service has a field of its own. Not
here: what a quote is worth.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from core.judges.lexicon import plain, words
from core.judges.services import services_named
from project_types import LogRecord, Scenario

FEWEST_WORDS = 3
"""Words that a text and a line must share."""
LEAST_SHARE = 0.36
"""Share of a text's words that a line must hold to be quoted: QUOTED squared, were
all of the line repeated.
"""
KEPT_SCENARIOS = 16
"""Scenarios whose lines are kept ready; a training step judges each of a few scenarios several times."""
PIECE_WORDS = 5
"""A piece of a line of so many words is a quote, however long the line is."""


class Quote(NamedTuple):
    """Overlap, 0 to 1, with the decisive line that fits best and with the best other line."""

    decisive: float
    other: float
    others_whole: int
    """How many other kinds of lines the text repeats whole."""


class Said(NamedTuple):
    """A report's text, ready to be compared with many lines."""

    words: frozenset[str]
    core: str
    """Its plain text, without the service it begins with."""


@lru_cache(maxsize=20_000)
def line_words(text: str) -> frozenset[str]:
    """The words a line is compared by; cached, since every report of a scenario meets the same lines."""
    return frozenset(words(plain(text))) - {"#"}


def quoted(root_cause: str, scenario: Scenario) -> Quote:
    """Compare a root cause with every line of a scenario.

    Overlap is the geometric mean of two shares: of the text's words that the line holds, and of the line's
    words that the text holds.
    """
    names = _names(scenario)
    said = _said(root_cause, scenario, names)
    evidence = set(scenario.ground_truth.evidence_log_ids)
    messages = [row.message for row in scenario.logs if row.id in evidence]
    decisive = {line_words(message) for message in messages}
    best = max((_overlap(said, line - names or line) for line in decisive), default=0.0)
    if len(said.core.split()) >= PIECE_WORDS and any(said.core in plain(message) for message in messages):
        best = max(best, 0.9)
    others = {line - names or line for line in _alike(said, scenario.logs) - decisive}
    whole = [line for line in others if _repeats_whole(said, line)]
    return Quote(best, max((_overlap(said, line) for line in others), default=0.0), len(whole))


def _repeats_whole(said: Said, line: frozenset[str]) -> bool:
    shared = len(said.words & line)
    return shared > FEWEST_WORDS and shared >= 0.9 * len(line)


def _said(root_cause: str, scenario: Scenario, names: frozenset[str]) -> Said:
    text = plain(root_cause)
    mine = frozenset(words(text)) - {"#"}
    first = next(iter(services_named(text, scenario.services)), None)
    placed = first is not None and first[1] == 0 and text[first[2] : first[2] + 1] == ":"
    core = text[first[2] + 1 :] if placed and first else text
    return Said(mine - names or mine, core.strip(" ."))


def _names(scenario: Scenario) -> frozenset[str]:
    return frozenset(word for service in scenario.services for word in words(plain(service)))


def _alike(said: Said, logs: Sequence[LogRecord]) -> set[frozenset[str]]:
    """The words of every line that shares enough raw words with the text to matter.

    A scenario may have 10,000 lines. Most share nothing with a report, and to split a line is ten times as
    fast as to read it.
    """
    enough = max(FEWEST_WORDS, LEAST_SHARE * len(said.words))
    found: dict[frozenset[str], str] = {}
    for message, tokens in _tokens(logs):
        shared = said.words.intersection(tokens)
        if len(shared) >= enough or len(shared) >= max(FEWEST_WORDS, 0.5 * len(tokens)):
            found.setdefault(frozenset(tokens), message)
    return {line_words(message) for message in found.values()}


def _tokens(logs: Sequence[LogRecord]) -> list[tuple[str, list[str]]]:
    """Every kind of line with its raw words, numbers left out; kept for the scenarios judged last."""
    known = _PREPARED.get(id(logs))
    if known is None or known[0] is not logs:
        messages = [row.message.replace("\n", " ") for row in logs]
        raw = "\n".join(messages).casefold().translate(_MASK).split("\n")
        kinds = dict(zip(raw, messages, strict=False))
        known = _PREPARED[id(logs)] = (logs, [(message, kind.split()) for kind, message in kinds.items()])
        if len(_PREPARED) > KEPT_SCENARIOS:
            _PREPARED.pop(next(iter(_PREPARED)))
    return known[1]


_MASK = {ord(c): " " for c in string.punctuation + string.digits if c != "'"}
_PREPARED: dict[int, tuple[Sequence[LogRecord], list[tuple[str, list[str]]]]] = {}


def _overlap(said: Said, line: frozenset[str]) -> float:
    shared = len(said.words & line)
    if shared < min(FEWEST_WORDS, len(line)) or not said.words:
        return 0.0
    of_text, of_line = shared / len(said.words), shared / len(line)
    score = float((of_text * of_line) ** 0.5)
    if of_text >= 0.8 and shared >= FEWEST_WORDS and of_line >= 0.3:
        score = max(score, 0.75 * of_text)  # a quotation that was cut short
    if of_line >= 0.9 and shared > FEWEST_WORDS and of_text > 0.5:
        score = max(score, 0.7 * of_line)  # a whole line that makes up most of a longer text
    return score
