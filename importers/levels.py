"""Severities by any of their names or numbers, and a guess from words where a line names none."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from project_types import LevelName

_SPELLINGS: Mapping[LevelName, str] = {
    "DEBUG": "TRACE DEBUG DBG D FINE FINER FINEST VERBOSE V ALL",
    "INFO": "INFO INFORMATION INFORMATIONAL NOTICE I LOG NORMAL CONFIG",
    "WARN": "WARN WARNING W WRN",
    "ERROR": "ERROR ERR E SEVERE EROR FAILURE",
    "FATAL": "FATAL F CRITICAL CRIT C EMERG EMERGENCY ALERT PANIC DPANIC",
}
NAMES: Mapping[str, LevelName] = {
    name: level for level, names in _SPELLINGS.items() for name in names.split()
}
_AS_WRITTEN = {**NAMES, **{name.lower(): level for name, level in NAMES.items()}}
"""What most lines write, found without changing its case."""
_SYSLOG: tuple[LevelName, ...] = ("FATAL", "FATAL", "FATAL", "ERROR", "WARN", "INFO", "INFO", "DEBUG")
_WORDS = re.compile(
    r"(?<!\w)(?:(?P<FATAL>FATAL|CRITICAL|PANIC|panic:|fatal error|\[(?:\w+:)?(?:crit|emerg|alert)\])"
    r"|(?P<ERROR>ERROR|SEVERE|error:|\[(?:\w+:)?error\])"
    r"|(?P<WARN>WARN(?:ING)?|warning:|\[(?:\w+:)?warn(?:ing)?\])"
    r"|(?P<INFO>INFO|NOTICE|\[(?:\w+:)?(?:info|notice)\])|(?P<DEBUG>DEBUG|TRACE|\[(?:\w+:)?debug\]))(?![\w-])"
)
_FAILURE = re.compile(r"\w*(?:Exception|Error)(?::|\b.*\n\s+at )|^Traceback \(most recent", re.MULTILINE)
_HEAD_LETTERS = 120
"""A level stands near the beginning of a line; later its name is just a word."""


def level_named(value: Any) -> LevelName | None:
    """Return the level of a field: a common name, or a number of pino and bunyan (10 to 60)."""
    if not isinstance(value, str):
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return level_of_number(int(value)) if is_number else None
    if usual := _AS_WRITTEN.get(value):
        return usual
    text = value.strip()
    if text.isdecimal():
        return level_of_number(int(text))
    return NAMES.get(text.upper().strip("[]<>:"))


def level_of_number(number: int) -> LevelName | None:
    """Return the level of pino's and bunyan's numbers, or of syslog's."""
    if 0 <= number <= 7:
        return _SYSLOG[number]
    if not 10 <= number <= 69:
        return None
    steps: tuple[LevelName, ...] = ("DEBUG", "DEBUG", "INFO", "WARN", "ERROR", "FATAL")
    return steps[number // 10 - 1]


def level_of_syslog(priority: int) -> LevelName:
    """Return the level of a syslog priority, facility included."""
    return _SYSLOG[priority % 8]


def level_of_otlp(number: int) -> LevelName:
    """Return the level of an OpenTelemetry severity number: 1 to 24 in steps of 4."""
    steps: tuple[LevelName, ...] = ("DEBUG", "DEBUG", "INFO", "WARN", "ERROR", "FATAL")
    return steps[(number - 1) // 4] if 1 <= number <= 24 else "UNKNOWN"


def level_in(text: str) -> LevelName:
    """Return the level that a line names near its beginning, ERROR for a stack trace, else UNKNOWN."""
    found = _WORDS.search(text, 0, _HEAD_LETTERS)
    if found:
        name: Any = found.lastgroup
        return name  # type: ignore[no-any-return]  # a group is named as its level
    return "ERROR" if _FAILURE.search(text, 0, 4000) else "UNKNOWN"
