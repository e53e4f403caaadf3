"""What a text claims: which kinds of fault it names, and how each is meant.

Rivals are counted by mention. A kind of fault that is named at all counts, whatever grammar it stands in: as
a cause, as an effect, denied or supposed. What one phrase names by the very words that name the true fault is
no mention of its own ("thread pool" is not also a "pool"). Not here: whether the claim is right.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from core.judges.lexicon import Cue, Found, Span, apart, beginnings, lexicon
from core.judges.stance import Stance, stance

ENOUGH = 1.0
"""Weight from which a kind of fault is named: one strong cue, or two weak ones."""
MOST = 2.0


class Mention(NamedTuple):
    """One place that names a kind of fault."""

    fault: str
    cue: int
    """Which of the cues: one counts once, however often its words stand in the text."""
    place: Found
    weight: float
    stance: Stance


class Claims(NamedTuple):
    """What a text names, by kind of fault."""

    mentions: tuple[Mention, ...]

    def of(self, fault: str, *stances: Stance) -> list[Mention]:
        """The mentions of a fault in one of these stances."""
        return [one for one in self.mentions if one.fault == fault and one.stance in stances]

    def weight(self, fault: str, *stances: Stance) -> float:
        """How surely the text names a fault in one of these stances; ENOUGH is enough."""
        by_cue = {one.cue: one.weight for one in self.of(fault, *stances)}
        return min(sum(by_cue.values()), MOST)

    def named(self, *stances: Stance) -> set[str]:
        """The kinds of fault that are named in one of these stances, by one strong cue at least."""
        return {one.fault for one in self.mentions if one.stance in stances and one.weight >= ENOUGH}

    def without_shadows(self, faults: Iterable[str]) -> Claims:
        """The claims without mentions whose very words name one of these faults as well."""
        kept = set(faults)
        own = [frozenset(one.place.taken) for one in self.mentions if one.fault in kept]

        def in_a_shadow(one: Mention) -> bool:
            return any(_covers(taken, one.place.taken) for taken in own)

        return Claims(tuple(one for one in self.mentions if one.fault in kept or not in_a_shadow(one)))


def shares_words(mention: Mention, others: Iterable[Mention]) -> bool:
    """Whether another mention is made up of some of the same words."""
    return any(
        a < e and s < b for other in others for a, b in other.place.taken for s, e in mention.place.taken
    )


def _covers(taken: frozenset[Span], words: tuple[Span, ...]) -> bool:
    """Every word of the second lies in one of the first."""

    def covered(word: Span) -> bool:
        return any(a <= word[0] and word[1] <= b for a, b in taken)

    return all(map(covered, words))


@lru_cache(maxsize=2048)
def claims(text: str, extra: tuple[tuple[str, Cue], ...] = ()) -> Claims:
    """What a plain text names. `extra` are cues of one scenario: the phrases that its truth accepts.

    The longest phrase wins: "thread pool" is not also a "pool", a "performance regression" no "regression".
    """
    held = beginnings(text)
    found = [
        Mention(fault, number, place, cue.weight, stance(text, place))
        for number, (fault, cue) in enumerate((*_known_cues(), *extra))
        if cue.may_stand(held)
        for place in cue.found(text)
        if not _torn(text, place)
    ]
    known = len(_known_cues())
    phrases = {(span, one.fault) for one in found if one.cue < known for span in one.place.taken}
    parts = {pair for pair in phrases if _is_part_of_a_longer(pair, phrases)}
    own = [one for one in found if one.cue >= known or not _words_of(one) & parts]
    return Claims(tuple(own))


def _torn(text: str, place: Found) -> bool:
    """A word such as 'so' stands between the words of a cue: they belong to two statements."""
    turns = (m.span() for m in lexicon().marks["effect"].finditer(text, place.start, place.end))
    return any(apart(one, place.taken) for one in turns)


def _words_of(mention: Mention) -> set[tuple[Span, str]]:
    return {(span, mention.fault) for span in mention.place.taken}


def _is_part_of_a_longer(pair: tuple[Span, str], phrases: set[tuple[Span, str]]) -> bool:
    """A word is only a part of a longer phrase for another fault."""
    (start, end), fault = pair
    return any(
        a <= start and end <= b and (a, b) != (start, end) and other != fault for (a, b), other in phrases
    )


@lru_cache(maxsize=1)
def _known_cues() -> tuple[tuple[str, Cue], ...]:
    return tuple((fault, cue) for fault, cues in lexicon().cues.items() for cue in cues)
