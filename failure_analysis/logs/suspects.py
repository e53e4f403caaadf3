"""Which line of a log says why it failed, or that nothing in it failed.

Boilerplate of runners and build tools is passed over (`signs`), and so are lines whose own level is below
WARN and counts of zero. Of the last step in which something failed, the first error is named: what follows
is mostly its consequence. A chain of exceptions is followed to the one that says why. Without an error, the
verdict of the runner decides whether anything failed at all. What the cause means is in `rules`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import IntEnum
from functools import lru_cache
from typing import NamedTuple

from failure_analysis.logs import signs
from failure_analysis.logs.lines import Level, Line, lines_of, message_of

FARTHEST = 60
"""Harmless lines that end a stretch of errors in a log without steps."""
LONGEST_CHAIN = 400
"""Lines of a chain of exceptions that are looked at."""
MOST_OTHERS = 100
SHORT = 5
"""Lines of a text that is a message rather than a log: there a word such as failed is enough."""
TAIL = 10
"""Lines at the end of a log, where such a word is enough as well."""


class Weight(IntEnum):
    """How much a line looks like the reason of a failure."""

    NOTHING = 0
    WEAK = 1
    """It holds a word such as failed."""
    VERDICT = 2
    """It says that something failed, not why."""
    PHRASE = 3
    """It says what is always a trouble, such as a full disk, without saying that it is an error."""
    STRONG = 4
    """It is an error by its form or by its level."""


class Suspect(NamedTuple):
    """The line that says why, and the lines around it that belong to it."""

    line: str
    around: tuple[str, ...]
    others: tuple[str, ...]
    """The other suspicious lines of the log, the heaviest and latest first."""
    frames: str
    """The text around it, in which the frames of its stack stand."""
    whole: str
    """The lines before the runner tidied up, without boilerplate."""
    weight: Weight
    place: int
    """Its number among the lines of the log that are not empty; the first is 0."""


_CAUSED = re.compile(r"^Caused( by)?: ?(?P<why>\S.*)")
_FRAME = re.compile(r"^\s*(at |\.\.\. \d+ |File \"|\^|\||Suppressed:|Caused)")
_TELLING = re.compile(r":.*\w\s\w|\w+ \w+ \w+")
"""A cause that says something besides the name of an exception."""
_HANDLING = re.compile(r"^During handling of the above exception")
_ANNOUNCES = re.compile(r":(\s?\|-?)?$")
_PYTEST = re.compile(r"^E\s{2,}")


def suspect(log: str) -> Suspect | None:
    """The line that says why a log ends badly; None where nothing in it failed."""
    lines = lines_of(log)
    if _passed(lines):
        return None
    lines = _before_clean_up(lines)
    weights = [weight_of(line) for line in lines]
    found = _first_of_last(lines, weights)
    if found is None or (weights[found] is Weight.WEAK and not _is_enough(lines, found)):
        return None
    return _named(lines, weights, found)


def excerpt(log: str, characters: int) -> str:
    """The part of a log around the line that says why; its end where no line does, or where it is short."""
    found = suspect(log) if len(log) > characters else None
    if found is None:
        return log[-characters:]
    texts = [line.raw for line in lines_of(log)]
    before = "\n".join(texts[: found.place])[-characters // 3 :]
    after = "\n".join(texts[found.place :])[: characters - len(before) - 1]
    missing = characters - len(before) - len(after) - 1
    if missing > 0:  # the log ends soon after the line, so more of what led to it fits
        before = "\n".join(texts[: found.place])[-(len(before) + missing) :]
    return f"{before}\n{after}" if before else after


@lru_cache(maxsize=4096)  # logs repeat their lines, and every line is weighed several times
def weight_of(line: Line) -> Weight:
    """How much a line looks like a reason."""
    text = message_of(line)
    if any(pattern.search(text) for pattern in (signs.NOISE, signs.PASSED, signs.TOOL_PASSED)):
        return Weight.NOTHING
    if _is_harmless(line):
        return Weight.NOTHING
    if signs.FAILED.search(text):
        return Weight.STRONG if signs.DETAILED.search(text) else Weight.VERDICT
    return _weight_of_words(signs.ZERO.sub("", text), line.level)


def _is_harmless(line: Line) -> bool:
    """Whether its own level says that nothing is wrong."""
    return line.level is not None and line.level < Level.WARN


def _weight_of_words(text: str, level: Level | None) -> Weight:
    warns = level is Level.WARN
    if not warns and (signs.STRONG.search(text) or (level or 0) >= Level.ERROR):
        return Weight.STRONG if _says_something(text) else Weight.NOTHING
    if signs.PHRASE.search(text) or (not warns and signs.SOFT.search(text)):
        return Weight.PHRASE
    return Weight.WEAK if signs.WEAK.search(text) else Weight.NOTHING


def _says_something(text: str) -> bool:
    """Whether anything stands beside the word error."""
    return bool(
        re.search(r"\w{3}|[^\x00-\x7f]{2}", re.sub(r"(?i)\b(error|fatal|severe|critical|err)\b", "", text))
    )


def _passed(lines: Sequence[Line]) -> bool:
    """Whether the last verdict of a runner is that all is well, or a tool's only one."""
    tool_passed = False
    for line in reversed(lines):
        text = message_of(line)
        if _is_failed(line, text):
            return False
        if signs.PASSED.search(text):
            return True
        tool_passed = tool_passed or bool(signs.TOOL_PASSED.search(text))
    return tool_passed or _runner_marked_nothing(lines)


def _is_failed(line: Line, text: str) -> bool:
    """Whether a runner or tool says here that something failed."""
    # Maven states its own failure at the level INFO; what a program says at INFO is no verdict
    return bool(signs.FAILED.search(text)) and (not _is_harmless(line) or "BUILD FAIL" in text)


def _runner_marked_nothing(lines: Sequence[Line]) -> bool:
    """GitHub's runner marks the error of every step that fails; a log of it without a mark is a good one."""
    of_github = any("##[group]" in line.raw for line in lines)
    return of_github and not any("##[error]" in line.raw for line in lines)


def _before_clean_up(lines: list[Line]) -> list[Line]:
    """What came before the runner tidied up, if anything there looks like a reason."""
    for end, line in enumerate(lines):
        if signs.CLEAN_UP.search(line.text) and any(weight_of(one) >= Weight.VERDICT for one in lines[:end]):
            return lines[:end]
    return lines


def _first_of_last(lines: Sequence[Line], weights: Sequence[Weight]) -> int | None:
    """Where the first of the heaviest suspects of the last failing step is."""
    heaviest = max(weights, default=Weight.NOTHING)
    if heaviest is Weight.NOTHING:
        return None
    last = max(place for place, weight in enumerate(weights) if weight is heaviest)
    first, quiet = last, 0
    for place in range(last, -1, -1):
        if not _FRAME.match(lines[place].text):
            quiet = 0 if weights[place] else quiet + 1
        if quiet > FARTHEST:
            break
        if weights[place] is heaviest:
            first = place
        if signs.STEP.search(lines[place].text):
            break
    return first


def _is_enough(lines: Sequence[Line], found: int) -> bool:
    """Whether a weak word is enough: in a short message, at the end, or beside a level that says so."""
    return len(lines) <= SHORT or found >= len(lines) - TAIL or (lines[found].level or 0) >= Level.WARN


def _named(lines: Sequence[Line], weights: Sequence[Weight], found: int) -> Suspect:
    """The suspect with what belongs to it."""
    place = _announced(lines, weights, _end_of_chain(lines, found))
    before = [one for one in range(max(0, place - 3), place) if weights[one]]
    after = [
        one for one in range(place, min(len(lines), place + 8)) if not signs.NOISE.search(lines[one].text)
    ]
    around = [*before, *after]
    order = sorted(range(len(lines)), key=lambda one: (-weights[one], -one))
    return Suspect(
        line=_said(lines[place]),
        around=tuple(_said(lines[one]) for one in around),
        others=tuple(_said(lines[one]) for one in order[:MOST_OTHERS] if weights[one] >= Weight.VERDICT),
        frames="\n".join(one.text for one in lines[max(0, place - 40) : place + 20]),
        whole="\n".join(_said(line) for line in lines if not signs.NOISE.search(line.text)),
        weight=weights[found],
        place=place,
    )


def _end_of_chain(lines: Sequence[Line], found: int) -> int:
    """Where the exception stands that says why: Java's last cause, Python's last raised while handling."""
    place, handling = found, False
    for offset, line in enumerate(lines[found + 1 : found + LONGEST_CHAIN], start=1):
        text = message_of(line)
        caused = _CAUSED.match(text)
        if caused and _TELLING.search(caused["why"]):
            place = found + offset
        if _HANDLING.match(text):
            handling = True
        elif handling and signs.RAISED.match(_said(line)):
            place, handling = found + offset, False
        elif not (handling or caused or _FRAME.match(text)):
            break
    return place


def _announced(lines: Sequence[Line], weights: Sequence[Weight], place: int) -> int:
    """Where the reason stands when the line at `place` only announces it, with a colon at its end."""
    if not _ANNOUNCES.search(lines[place].text):
        return place
    for after in range(place + 1, min(len(lines), place + 4)):
        said = not signs.NOISE.search(lines[after].text) and weights[after] is not Weight.VERDICT
        if said and re.search(r"\w{2}\W+\w+", lines[after].text):
            return after
    return place


def _said(line: Line) -> str:
    return _PYTEST.sub("", message_of(line)).strip()
