"""Triage: a log goes in as a stream, a short explanation comes out whose quoted lines exist.

Secrets are masked first. Of a long log the stretch that matters is picked by the rules of the failure
analysis, which also know a green log: then nothing is asked and the answer is 'no failure found'. Where the
rules see a failure and the model none, the rules answer, and what the model said is told as well: on real logs
they are mostly right and it is not. Where both name a line, both are shown. A quotation that the log does not
hold is taken out of the answer and counted. Nothing is learnt here: this is the fast half.

Not here: which adapter is in production (`adapters`), and the command (`triage_command`).
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, TextIO

from alignment.cases import prompt
from alignment.scorer import QUOTED, plain, says_green, sections
from core.redaction import redact
from failure_analysis.logs.lines import lines_of
from failure_analysis.logs.rules import find_failure
from failure_analysis.logs.suspects import Suspect, excerpt, suspect
from project_types import Frozen

MOST_LINES = 5_000
"""Of a stream, its last lines are kept; a failure is told near the end. Looking through
them takes about a second.
"""
AROUND = 60
"""Lines before and after the telling one from which the stretch that matters is cut."""
MOST_CHARACTERS = 1600
"""Of a log, the model reads this much: about 500 tokens."""
NO_FAILURE = "No failure found."
Ask = Callable[[Sequence[Mapping[str, Any]]], Awaitable[str]]


class Explained(Frozen):
    """What triage says of a log."""

    failed: bool
    text: str
    root_cause: str = ""
    """What the answer says under these headings; empty where it has none."""
    action: str = ""
    quotes: tuple[str, ...] = ()
    """Lines that the answer quotes and the log holds."""
    invented: int = 0
    """Quotations that were taken out."""
    telling: str = ""
    """The line that the rules of the failure analysis point to."""
    overruled: str = ""
    """What the model said where it saw no failure and the rules, whose answer this is, do."""
    lines: int = 0
    adapter: str = ""
    seconds: float = 0.0


def tail(stream: TextIO) -> list[str]:
    """Read a stream to its end and return its last lines."""
    return [line.rstrip("\n") for line in deque(stream, maxlen=MOST_LINES)]


async def explain(lines: Sequence[str], ask: Ask, adapter: str = "") -> Explained:
    """Explain a log. `ask` sends a prompt to the model and returns its answer."""
    began = time.monotonic()
    log, telling = await asyncio.to_thread(_masked, lines)  # may take a second, and others are waiting
    if telling is None:
        return Explained(failed=False, text=NO_FAILURE, lines=len(lines), adapter=adapter)
    said = await ask(prompt(stretch(log, telling.place)))
    overruled = said if says_green(said) else ""
    if overruled:
        said = await asyncio.to_thread(by_rules, stretch(log, telling.place))
    text, quotes, invented = checked(said, log)
    parts = sections(text)
    return Explained(
        failed=not says_green(text),
        text=text,
        root_cause=parts["root cause"].strip(),
        action=parts["action"].strip(),
        quotes=quotes,
        invented=invented,
        telling=telling.line,
        overruled=overruled,
        lines=len(lines),
        adapter=adapter,
        seconds=round(time.monotonic() - began, 2),
    )


def by_rules(log: str) -> str:
    """Return what the rules of the failure analysis say of a masked log, in the form of an answer."""
    found = find_failure("ci_build", "", log)
    if found is None:
        return NO_FAILURE
    cause = found.root_cause.split("\n")[0]
    return f'Root cause: {cause}\nEvidence: "{cause}"\nAction: {found.fix_suggestion}'


def _masked(lines: Sequence[str]) -> tuple[str, Suspect | None]:
    """Return the log without secrets, and its telling line."""
    log = redact("\n".join(lines))
    return log, suspect(log)


def stretch(log: str, place: int) -> str:
    """Return the part of a log around its telling line that the model reads."""
    near = [line.raw for line in lines_of(log)[max(0, place - AROUND) : place + AROUND]]
    return excerpt("\n".join(near), MOST_CHARACTERS)


def checked(answer: str, log: str) -> tuple[str, tuple[str, ...], int]:
    """Take out quotations that the log does not hold; returns text, quotations that
    hold, and how many did not.
    """
    known = plain(log)
    quotes = QUOTED.findall(answer)
    invented = [quote for quote in quotes if plain(quote) not in known]
    for quote in invented:
        answer = re.sub(
            r"[\"“”`]" + re.escape(quote) + r"[\"“”`]", "(a quotation that the log does not hold)", answer
        )
    return answer, tuple(quote for quote in quotes if quote not in invented), len(invented)


def printed(found: Explained) -> Iterable[str]:
    """Yield the lines a terminal shows."""
    yield found.text
    if found.invented:
        yield f"({found.invented} quotations were taken out: the log does not hold them)"
    if found.overruled:
        yield f"(by the rules of the failure analysis; {found.adapter} sees no failure)"
    elif found.telling and not any(plain(quote) in plain(found.telling) for quote in found.quotes):
        yield f"(the rules of the failure analysis point to: {found.telling})"
    if found.seconds:
        yield f"[{found.adapter}, {found.lines} lines, {found.seconds:.1f} s]"
