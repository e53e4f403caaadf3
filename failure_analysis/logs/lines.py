"""Lines of a log without what wraps them: clocks, containers, JSON, runners; and the
level that each one states.

`2026-03-04T14:00:02.1Z ##[error]boom` and `{"level":"error","msg":"boom"}` both say boom. Which of the lines
is the cause is decided in `suspects`.
"""

from __future__ import annotations

import json
import re
from enum import IntEnum
from typing import Any, NamedTuple

from core.escapes import plain

LONGEST_LINE = 4000
_MOST_LAYERS = 6


class Level(IntEnum):
    """What a line says of its own weight."""

    DEBUG = 1
    INFO = 2
    WARN = 3
    ERROR = 4
    FATAL = 5


class Line(NamedTuple):
    """One line without its wrapping."""

    text: str
    level: Level | None
    """None: it does not say."""
    raw: str = ""
    """With its wrapping."""


_NAMES = {
    "trace": Level.DEBUG, "debug": Level.DEBUG, "verbose": Level.DEBUG, "fine": Level.DEBUG,
    "info": Level.INFO, "information": Level.INFO, "notice": Level.INFO, "log": Level.INFO,
    "statement": Level.INFO,
    "detail": Level.INFO, "hint": Level.INFO, "normal": Level.INFO, "i": Level.INFO,
    "warn": Level.WARN, "warning": Level.WARN, "w": Level.WARN,
    "error": Level.ERROR, "err": Level.ERROR, "eror": Level.ERROR, "severe": Level.ERROR, "e": Level.ERROR,
    "fatal": Level.FATAL, "critical": Level.FATAL, "crit": Level.FATAL, "panic": Level.FATAL,
    "emerg": Level.FATAL,
    "alert": Level.FATAL, "dpanic": Level.FATAL, "f": Level.FATAL,
}  # fmt: skip
_WORDS = "|".join(name for name in _NAMES if len(name) > 1)
_CLOCKS = re.compile(
    r"[\[(]?\d{4}[-/.]\d\d[-/.]\d\d[T _]\d\d:\d\d(?::\d\d)?(?:[.,]\d+)?\s?(?:Z|UTC|GMT|CES?T|[+-]\d\d:?\d\d)?[\])]?[:|]?\s*"
    r"|[\[(]?\d\d[/.-]\d\d[/.-]\d\d(?:\d\d)? \d\d:\d\d:\d\d(?:[.,]\d+)?[\])]?\s*"
    r"|[\[(]?\d{1,2}:\d\d:\d\d(?:[.,]\d+)?(?: ?[AP]M)?[\])]?\s+"
    r"|(?:[A-Z][a-z]{2} )?[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d(?:\.\d+)?(?: \d{4})? "
    r"(?:[\w.-]{1,100} [\w./-]{1,60}(?:\[\d+\])?: )?"
    r"|\[ {0,8}\d{1,9}\.\d{3,6}\] |\d{10}(?:\.\d{1,9}|\d{3})\s+"
)
_PREFIXES = re.compile(
    r"[^\t\n]{1,200}\t[^\t\n]{1,200}\t(?=\W?\d{4}-\d\d-\d\dT)"  # a downloaded log of GitHub Actions: job, step
    r"|##\[(?:error|warning|debug|section|command)\]|::(?:error|warning|debug|notice)(?: [^:\n]{0,300})?::"
    r"|[\w./-]{1,80}\s{1,20}\|\s|#\d{1,4} \d+\.\d+ "  # docker compose, docker build
    r"|\[?rank ?\d+\]?:\s?|\([\w-]{1,40} pid=\d+\)\s"
)
_KLOG = re.compile(r"\[?(?P<level>[IWEF])\d{3,4} \d\d:\d\d:\d\d(?:\.\d+)?\s+\d*\s*[\w./+-]{1,200}:\d+\]\s?")
_TAG = re.compile(rf"\[\s?(?P<level>{_WORDS})\s{{0,3}}\]:?\s", re.IGNORECASE)
"""A level that stands alone in brackets, as Maven and others print it: nothing of the message."""
_STATED = re.compile(
    rf"(?:^|[\s\[|<(\"-])(?P<upper>{_WORDS.upper()})(?=[\]\s:|>)\",-])"
    rf"|\b(?:level|lvl|severity|loglevel)[\"']?\s?[=:]\s?[\"']?(?P<named>{_WORDS})\b|[\[<(](?P<low>{_WORDS})[\]>)]"
)
_STATED_WITHIN = 90
"""Characters at the front of a line in which a level is looked for."""
_LOGFMT = re.compile(r'\b(?:msg|message)="((?:\\.|[^"\\])*)"')
_RUNNER_LEVELS = {"error": Level.ERROR, "warning": Level.WARN, "debug": Level.DEBUG, "notice": Level.INFO}


def lines_of(log: str) -> list[Line]:
    """The lines that say something, in order."""
    texts = re.split(r"\r\n|\r|\n", plain(log))
    return [unwrapped(text[:LONGEST_LINE].rstrip()) for text in texts if text.strip()]


def unwrapped(text: str) -> Line:
    """One line without its wrapping."""
    raw, level = text, None
    for _ in range(_MOST_LAYERS):
        inner, stated = _peeled(text)
        level = stated or level
        if inner == text:
            break
        text = inner
    return Line(text, level or _stated(text), raw)


def _peeled(text: str) -> tuple[str, Level | None]:
    """The text without its outermost wrapping, and the level that this wrapping states."""
    if text.startswith("{") and text.endswith("}"):
        return _of_json(text)
    front = text.lstrip()
    if found := _KLOG.match(front):
        return front[found.end() :], _NAMES[found["level"].lower()]
    if found := _TAG.match(front):
        return front[found.end() :], _NAMES[found["level"].lower()]
    if found := _PREFIXES.match(front):
        word = re.match(r"(?:##\[|::)(\w+)", front)
        return front[found.end() :], _RUNNER_LEVELS.get(word[1]) if word else None
    if (found := _CLOCKS.match(front)) and found.end() < len(front):
        return front[found.end() :], None
    return text, None


def _of_json(text: str) -> tuple[str, Level | None]:
    try:
        row = json.loads(text)
    except (ValueError, RecursionError):
        return text, None
    if not isinstance(row, dict):
        return text, None
    said = [row[name] for name in ("log", "msg", "message", "error", "err", "exception") if row.get(name)]
    texts = list(dict.fromkeys(one.strip() for one in said if isinstance(one, str) and one.strip()))
    if not texts:
        return text, _level_of(row)
    return ": ".join(texts).replace("\n", " "), _level_of(row)


def _level_of(row: dict[str, Any]) -> Level | None:
    for name in ("level", "severity", "lvl", "levelname", "loglevel", "log.level"):
        value = row.get(name)
        if isinstance(value, str) and value.lower() in _NAMES:
            return _NAMES[value.lower()]
        if isinstance(value, int) and 10 <= value <= 60:  # pino and bunyan: 30 is info, 50 is error
            return (Level.DEBUG, Level.DEBUG, Level.INFO, Level.WARN, Level.ERROR, Level.FATAL)[
                value // 10 - 1
            ]
    return None


def _stated(text: str) -> Level | None:
    found = _STATED.search(text[:_STATED_WITHIN])
    if not found:
        return None
    return _NAMES[next(filter(None, found.groups())).lower()]


def message_of(line: Line) -> str:
    """What the line says, without the keys of a logfmt line."""
    found = _LOGFMT.search(line.text)
    return (found[1] if found else line.text).strip()
