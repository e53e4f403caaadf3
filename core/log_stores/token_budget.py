"""How many tokens a text takes, and how a text is cut to a number of them.

The count is an estimate without a tokenizer, rather too high than too low. A cut text says how many
characters are missing and where.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence


def _class(char: str) -> str:
    """A letter stands for all letters, a digit for all digits, and a full stop for what is neither."""
    if char.isalpha():
        return "a"
    if char.isdigit():
        return "0"
    return " " if char == " " else "."


_CLASSES = "".join(_class(chr(code)) for code in range(128)).encode() + bytes(128)
_LONG_WORD = re.compile(rb"a{9,}")
_TOKEN = re.compile(r"[A-Za-z]{1,8}(?![A-Za-z])|[A-Za-z]{1,6}|[0-9]{1,2}|  |[^A-Za-z0-9 ]")


def estimate_tokens(text: str) -> int:
    """How many tokens a byte-pair tokenizer is expected to make of `text`, rather too many than too few.

    A word of up to 8 letters counts 1, a longer one 1 more per 6 letters begun; a number 1 per 2 digits
    begun; each punctuation mark and newline 1; other scripts 2 a character (3 outside the basic plane); a
    single space nothing, more spaces 1 per 2. It is never below the number of pieces of GPT-2's pre-tokenizer
    (words, numbers, runs of punctuation, runs of spaces), and the estimate of lines joined by newlines is the
    sum of their estimates plus the newlines. A tokenizer that spends a token on every digit can exceed it.
    """
    if text.isascii():
        return _ascii_tokens(text.encode().translate(_CLASSES))
    return len(_TOKEN.findall(text)) + sum(1 if char <= "\uffff" else 2 for char in text if char > "\x7f")


def _ascii_tokens(classes: bytes) -> int:
    """What `_TOKEN` finds in a text of these classes, counted without a match object each: every row printed
    is counted.
    """
    words = classes.count(b" a") + classes.count(b".a") + classes.count(b"0a") + classes.startswith(b"a")
    if b"aaaaaaaaa" in classes:
        words += sum((len(word) - 3) // 6 for word in _LONG_WORD.findall(classes))
    pairs = classes.replace(b"00", b"1")
    return words + pairs.count(b"1") + pairs.count(b"0") + classes.count(b".") + classes.count(b"  ")


def clip(text: str, budget_tokens: int) -> str:
    """`text` when it fits, else its beginning and a mark that says how many characters are left out."""
    if estimate_tokens(text) <= budget_tokens:
        return text
    room = budget_tokens - estimate_tokens(f" [+{len(text)} chars]")
    kept = 0
    for match in _TOKEN.finditer(text):
        room -= estimate_tokens(match[0])
        if room < 0:
            break
        kept = match.end()
    return f"{text[:kept].rstrip()} [+{len(text) - kept} chars]".strip()


def clip_around(text: str, budget_tokens: int, words: Sequence[str] = ()) -> str:
    """Return the text when it fits, else its head, its tail and the parts that hold the words.

    What is left out is marked by ' [+123 chars] '. When the budget is too small for all that, the words come
    first, then the head, then the tail.
    """
    if estimate_tokens(text) <= budget_tokens:
        return text
    if budget_tokens < _ROOM_FOR_A_TAIL and not words:
        return clip(text, budget_tokens)
    pieces = [match.span() for match in _TOKEN.finditer(text)]
    room = budget_tokens
    while room > 0:
        cut = _joined(text, _kept(text, pieces, words, room), pieces)
        over = estimate_tokens(cut) - budget_tokens
        if over <= 0:
            return cut
        room -= over
    return clip(text, budget_tokens)


_ROOM_FOR_A_TAIL = 30
_HEAD, _BESIDE = 10, 5
"""Pieces of the head, and on each side of a word, that come before everything else."""


def _kept(text: str, pieces: Sequence[tuple[int, int]], words: Sequence[str], room: int) -> list[int]:
    """The pieces that are kept, in order: as many as there is room for, the most telling first."""
    kept: set[int] = set()
    for place in _by_worth(text, pieces, words, room):
        if place in kept:
            continue
        start, end = pieces[place]
        room -= estimate_tokens(text[start:end])
        if room < 0:
            break
        kept.add(place)
    return sorted(kept)


def _by_worth(text: str, pieces: Sequence[tuple[int, int]], words: Sequence[str], room: int) -> Iterator[int]:
    count = len(pieces)
    found = [place for span in occurrences(text, words) for place in _covering(pieces, span)]
    yield from found
    yield from range(min(_HEAD, count))
    for place in found:
        yield from range(max(0, place - _BESIDE), min(count, place + _BESIDE + 1))
    yield from range(max(0, count - room // 4), count)
    yield from range(count)


def _covering(pieces: Sequence[tuple[int, int]], span: tuple[int, int]) -> range:
    """The pieces that a stretch of the text touches."""
    first = bisect_right(pieces, span[0], key=lambda piece: piece[1])
    end = bisect_left(pieces, span[1], key=lambda piece: piece[0])
    return range(first, end)


def occurrences(text: str, words: Sequence[str]) -> list[tuple[int, int]]:
    """Return where each word stands in the text, those that stand together where possible."""
    lowered = text.lower() if text.isascii() else _folded(text)
    found: list[tuple[int, int]] = []
    near = 0
    for word in words:
        wanted = word.lower() if word.isascii() else _folded(word)
        at = lowered.find(wanted, near)
        at = lowered.find(wanted) if at < 0 else at
        if at >= 0:
            found.append((at, at + len(wanted)))
            near = at
    return found


def _folded(text: str) -> str:
    """The text without case, every character in its place: one that changes its length is left as it is."""
    return "".join(lower if len(lower := char.casefold()) == 1 else char for char in text)


def _joined(text: str, kept: Sequence[int], pieces: Sequence[tuple[int, int]]) -> str:
    """The kept pieces of the text, and marks for the rest."""
    told: list[str] = []
    at = 0
    for place in kept:
        start, end = pieces[place]
        if missing := text[at:start].strip():
            told.append(f" [+{len(missing)} chars] ")
            told.append(text[start:end])
        else:
            told.append(text[at:end])
        at = end
    if missing := text[at:].strip():
        told.append(f" [+{len(missing)} chars]")
    return "".join(told).strip()


def as_room_allows(parts: Iterable[str], budget_tokens: int) -> str:
    """The parts joined by spaces: the first one cut to fit, later ones only when they fit whole."""
    text = ""
    for part in parts:
        longer = f"{text} {part}" if text else clip(part, budget_tokens)
        if estimate_tokens(longer) <= budget_tokens:
            text = longer
    return text
