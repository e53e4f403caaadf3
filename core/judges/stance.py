"""How a text means what it names: as the cause, as an effect, or not at all.

A place in a text is asserted unless words around it deny it, question it, suppose it, leave it to somebody
else, or say that it is over. The words are the marks of `core.judges.lexicon`; what each list reaches is said
here: some reach what follows them in their clause, some the clause before them, some a sentence that only
points back ("I do not think so."). Not here: what is named (`core.judges.claims`).
"""

from __future__ import annotations

import re
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

from core.judges.lexicon import SENTENCE_END, Found, Span, apart, lexicon

CLAUSE_END = re.compile(r"[,;:.(!?](?=\s)|[\n，。；、：]")
COMPLEMENT = re.compile(r"\W*(?P<that>that|dass|que|qu'|zu)?\b")
"""What opens the clause that a frame speaks of."""
AND = re.compile(r"\b(?:and|und|et|y|e)\b")
RETRACTED = re.compile(r"\W*$|\s*[,:!]")
"""What follows a retraction such as 'Nonsense': nothing, or what is so instead."""
DENIAL_REACH_WORDS = 3
"""A plain 'not' reaches so many words ahead."""


class Stance(StrEnum):
    """How one place in a text is meant."""

    CAUSE = "cause"
    """Asserted, and nothing says that it is the effect of something else."""
    EFFECT = "effect"
    """Asserted as a consequence."""
    DENIED = "denied"
    """A plain denial near it. Plain words are easily misread, so that another mention can outweigh it."""
    SUPPOSED = "supposed"
    """Asked, doubted, or said to be somebody else's opinion. It neither asserts nor denies."""
    WITHDRAWN = "withdrawn"
    """Called false, or over. Nothing outweighs that."""


class Sentence(NamedTuple):
    """One sentence of a text."""

    start: int
    end: int
    question: bool


@lru_cache(maxsize=512)
def sentences(text: str) -> tuple[Sentence, ...]:
    """The sentences of a plain text, in order."""
    found, start = [], 0
    for end in SENTENCE_END.finditer(text):
        found.append(Sentence(start, end.start(), "?" in end.group() or "？" in end.group()))
        start = end.end()
    if text[start:].strip():
        found.append(Sentence(start, len(text), False))
    return tuple(found)


@lru_cache(maxsize=8192)
def _marks(text: str, name: str) -> tuple[Span, ...]:
    """Every place where a mark stands; found once per text, since every mention asks for it."""
    if name == "clause_end":
        return tuple(m.span() for m in CLAUSE_END.finditer(text))
    return tuple(m.span() for m in lexicon().marks[name].finditer(text))


def _between(text: str, name: str, start: int, end: int) -> list[Span]:
    """The marks that lie in [start, end)."""
    return [(s, e) for s, e in _marks(text, name) if start <= s and e <= end]


@lru_cache(maxsize=512)
def denials(text: str) -> tuple[Span, ...]:
    """Words such as 'not', unless they begin 'no longer', 'not only' and the like."""
    kept = _marks(text, "no_denial")

    def is_kept(at: int) -> bool:
        return any(s <= at < e for s, e in kept)

    return tuple(one for one in _marks(text, "denied_before") if not is_kept(one[0]))


def stance(text: str, place: Found) -> Stance:
    """How the words at `place` are meant."""
    index, sentence = next(
        (n, one) for n, one in enumerate(sentences(text)) if one.start <= place.start <= one.end
    )
    if _withdrawn(text, sentence, place) or _taken_back(text, index):
        return Stance.WITHDRAWN
    if _supposed(text, sentence, place):
        return Stance.SUPPOSED
    if _split_by_denial(text, place) or _denied(text, sentence, place):
        return Stance.DENIED
    return Stance.EFFECT if _is_effect(text, sentence, place) else Stance.CAUSE


# ------------------------------------------------------------------------------------------- false, or over


def _withdrawn(text: str, sentence: Sentence, place: Found) -> bool:
    """What stands at the place is called false, or over."""
    if _between(text, "sentence_frame", sentence.start, place.start):
        return True
    frames = _between(text, "frame", sentence.start, place.start)
    if any(place.start < _reach(text, end, sentence.end) for _, end in frames):
        return True
    # 'That ... is wrong' is one mark around the place
    if any(s <= place.start and place.end <= e for s, e in _marks(text, "verdict")):
        return True
    closing = _predicate_end(text, place.end, sentence.end)
    verdict = _stands(text, "verdict", place.end, closing, place.taken)
    return verdict or _over(text, place.end, sentence.end, place.taken)


def _reach(text: str, start: int, end: int) -> int:
    """How far a frame such as 'it is false that' reaches: to the end of the clause it opens."""
    opened = COMPLEMENT.match(text, start, end)
    if opened and opened.group("that"):
        return end
    begin = opened.end() if opened else start
    return min(_first(text, "contrast", begin, end), _first(text, "clause_end", begin, end))


def _predicate_end(text: str, start: int, end: int) -> int:
    """The end of the clause after a place, and of those behind it that point back ('..., which is false')."""
    closing = _first(text, "clause_end", start, end)
    while closing < end and lexicon().marks["pointing"].match(text, closing + 1, end):
        closing = _first(text, "clause_end", closing + 1, end)
    return closing


def _taken_back(text: str, index: int) -> bool:
    """A later sentence takes it back, or says that it is over."""
    return any(_takes_back(text, later.start, later.end) for later in sentences(text)[index + 1 :])


@lru_cache(maxsize=2048)
def _takes_back(text: str, start: int, end: int) -> bool:
    """The sentence is a retraction, says that something was mended, or calls false what it points back at."""
    begin = start
    while begin < end and not text[begin].isalnum():
        begin += 1
    retraction = lexicon().marks["retraction"].match(text, begin, end)
    if retraction and RETRACTED.match(text, retraction.end(), end):
        return True
    if _between(text, "mended", start, end):
        return True
    points = lexicon().marks["pointing"].match(text, start, end)
    if not points:
        return False
    and_ = AND.search(text, points.end(), end)
    closing = min(_first(text, "clause_end", points.end(), end), and_.start() if and_ else end)
    false = any(_between(text, name, points.start(), closing) for name in ("verdict", "pointed_verdict"))
    return false or _over(text, start, end, ())


def _over(text: str, start: int, end: int, taken: tuple[Span, ...]) -> bool:
    """Something was mended: said outright, or by a weaker word together with a time in the past."""
    if _stands(text, "mended", start, end, taken):
        return True
    return _stands(text, "changed", start, end, taken) and _stands(text, "past", start, end, taken)


# ------------------------------------------------------------------------------- not asserted, denied, effect


def _supposed(text: str, sentence: Sentence, place: Found) -> bool:
    """The sentence asks, supposes, doubts, or tells what others say."""
    if sentence.question or _stands(text, "attributed", sentence.start, sentence.end, place.taken):
        return True
    opening, closing = _clause(text, sentence, place)
    if any(_stands(text, name, opening, closing, place.taken) for name in ("hypothetical", "doubt")):
        return True
    first = opening == sentence.start
    return first and lexicon().marks["supposed_start"].match(text, opening, closing) is not None


def _denied(text: str, sentence: Sentence, place: Found) -> bool:
    """A denial stands a few words before, or is the predicate of its clause."""
    opening, closing = _clause(text, sentence, place)
    # what is denied before 'because' is not what stands behind it
    turns = [e for name in ("cause", "effect") for _, e in _between(text, name, opening, place.start)]
    opening = max([opening, *turns])
    before = [end for start, end in denials(text) if opening <= start and end <= place.start]
    if before and len(text[before[-1] : place.start].split()) <= DENIAL_REACH_WORDS:
        return True
    return bool(_between(text, "denied_after", place.end, closing))


def _clause(text: str, sentence: Sentence, place: Found) -> Span:
    """The clause around a place: between commas and words such as 'but'."""
    ends = (*_marks(text, "clause_end"), *_marks(text, "contrast"))
    opening = max((e for s, e in ends if sentence.start <= s and e <= place.start), default=sentence.start)
    closing = min((s for s, _ in ends if place.end <= s < sentence.end), default=sentence.end)
    return opening, closing


def _split_by_denial(text: str, place: Found) -> bool:
    """A denial stands between the words of a cue and is none of them: 'memory was not exhausted'."""
    inside = [one for one in denials(text) if place.start <= one[0] < place.end]
    return any(apart(one, place.taken) for one in inside)


def _is_effect(text: str, sentence: Sentence, place: Found) -> bool:
    """The words around call it a consequence ('..., so <place>' or '<place> because ...')."""
    before = [(s, 0) for s, _ in _between(text, "effect", sentence.start, place.start)]
    before += [(s, 1) for s, _ in _between(text, "cause", sentence.start, place.start)]
    if before:
        return max(before)[1] == 0
    return bool(_between(text, "cause", place.end, sentence.end))


def _stands(text: str, name: str, start: int, end: int, taken: tuple[Span, ...]) -> bool:
    """A mark stands in [start, end) and shares no word with the place itself."""
    return any(apart(one, taken) for one in _between(text, name, start, end))


def _first(text: str, name: str, start: int, end: int) -> int:
    """Where the first mark in [start, end) begins; `end` when there is none."""
    return min((s for s, _ in _between(text, name, start, end)), default=end)
