"""Edits that may mend a failure, by rules: what the message itself says to write instead.

Each rule reads the message and the line it names, and gives the whole text of the file anew. Nothing is
believed: a mend counts only when the command that failed passes with it (`suggestion`).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple


class Place(NamedTuple):
    """A line of a file of the repository that a failure names."""

    file: str
    line: int


class Mend(NamedTuple):
    """The new texts of some files, and what was done."""

    texts: dict[str, str]
    what: str


Rule = Callable[[str, list[str], int], Iterator[tuple[list[str], str]]]
"""Message, lines of the file, index of the line named → new lines, and what was done."""
_MEANT = re.compile(r"did you mean:? ['\"`‘’“]*(?P<better>[A-Za-z_][\w.]*)['\"`‘’”]*", re.IGNORECASE)
_WRONG = re.compile(
    r"name ['\"‘](?P<name>\w+)['\"’] is not defined|has no attribute ['\"‘](?P<attribute>\w+)['\"’]"
    r"|cannot import name ['\"‘](?P<imported>\w+)['\"’]|unexpected keyword argument ['\"‘](?P<keyword>\w+)['\"’]"
    r"|['\"‘](?P<undeclared>\w+)['\"’] (?:undeclared|was not declared)|function ['\"‘](?P<function>\w+)['\"’]"
    r"|no member named ['\"‘](?P<member>\w+)['\"’]|(?P<reference>\w+) is not defined"
)
_UNUSED = re.compile(r"F401 .*[`'](?P<name>[\w.]+)[`'] imported but unused")
_UNDEFINED = re.compile(
    r"name ['\"](?P<name>\w+)['\"] is not defined|F821 Undefined name [`'](?P<flagged>\w+)[`']"
)


def mends(message: str, file: str, text: str, line: int) -> Iterator[Mend]:
    """What rules would change in a file whose `line` (from 1) a message names."""
    lines = text.splitlines(keepends=True)
    if not 1 <= line <= len(lines):
        return
    for rule in RULES:
        for new, what in rule(message, list(lines), line - 1):
            if new != lines:
                yield Mend({file: "".join(new)}, f"{file}:{line}: {what}")


def _name_that_was_meant(message: str, lines: list[str], at: int) -> Iterator[tuple[list[str], str]]:
    wrong, meant = _WRONG.search(message), _MEANT.search(message)
    if wrong is None or meant is None:
        return
    name, better = next(filter(None, wrong.groups())), meant["better"]
    new = list(lines)
    new[at] = re.sub(rf"\b{re.escape(name)}\b", better, lines[at])
    yield new, f"{name} is called {better}"


def _missing_import(message: str, lines: list[str], at: int) -> Iterator[tuple[list[str], str]]:
    found = _UNDEFINED.search(message)
    name = (found["name"] or found["flagged"]) if found else ""
    if name in sys.stdlib_module_names:
        place = _after_imports(lines)
        yield [*lines[:place], f"import {name}\n", *lines[place:]], f"{name} is imported"


def _after_imports(lines: list[str]) -> int:
    """Where a new import may stand: before the first one that is no import from the
    future, else at the front.
    """
    for place, line in enumerate(lines):
        if re.match(r"(import|from) (?!__future__)", line):
            return place
    ends = [place + 1 for place, line in enumerate(lines) if line.startswith("from __future__")]
    return ends[-1] if ends else _after_docstring(lines)


def _after_docstring(lines: list[str]) -> int:
    if not lines or not re.match(r"[rRuU]?(\"\"\"|''')", lines[0]):
        return 0
    quote = '"""' if '"""' in lines[0] else "'''"
    if lines[0].count(quote) > 1:
        return 1
    return next((place + 1 for place, line in enumerate(lines[1:], start=1) if quote in line), 0)


def _colon_at_the_end(message: str, lines: list[str], at: int) -> Iterator[tuple[list[str], str]]:
    if "expected ':'" in message:
        new = list(lines)
        new[at] = re.sub(r"\s*(#.*)?(\r?\n)?$", lambda end: ":" + end[0], lines[at], count=1)
        yield new, "a colon was missing"


def _comparison(message: str, lines: list[str], at: int) -> Iterator[tuple[list[str], str]]:
    if "Maybe you meant '=='" in message:
        new = list(lines)
        new[at] = re.sub(r"(?<![=!<>:+*/%-])=(?!=)", "==", lines[at], count=1)
        yield new, "a comparison has two equals signs"


def _print_statement(message: str, lines: list[str], at: int) -> Iterator[tuple[list[str], str]]:
    if "Missing parentheses in call to 'print'" in message:
        new = list(lines)
        new[at] = re.sub(r"\bprint\s+(.+?)(\s*\r?\n?)$", r"print(\1)\2", lines[at], count=1)
        yield new, "print is a function"


def _semicolon(message: str, lines: list[str], at: int) -> Iterator[tuple[list[str], str]]:
    if not re.search(r"expected [^\n]{0,20};.{0,3} (before|after|at)", message):
        return
    for place in (at, at - 1):  # gcc names the line of what follows
        if place >= 0 and not re.search(r"[;{}]\s*$", lines[place]) and lines[place].strip():
            new = list(lines)
            new[place] = re.sub(r"(\s*)$", r";\1", lines[place], count=1)
            yield new, "a semicolon was missing"


def _unused_import(message: str, lines: list[str], at: int) -> Iterator[tuple[list[str], str]]:
    found = _UNUSED.search(message)
    if found and re.fullmatch(rf"import {re.escape(found['name'])}\s*|from \S+ import \w+\s*", lines[at]):
        yield [*lines[:at], *lines[at + 1 :]], f"{found['name']} is imported and not used"


RULES: tuple[Rule, ...] = (
    _name_that_was_meant,
    _missing_import,
    _colon_at_the_end,
    _comparison,
    _print_statement,
    _semicolon,
    _unused_import,
)
