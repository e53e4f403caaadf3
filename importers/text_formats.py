"""What a program wrote in one line: JSON, logfmt, klog, syslog, an access log, or a
text with a clock somewhere.

Each form is tried in turn, the one that fitted the line before first. A line that fits none is a text without
a clock; whether it continues the one before is `text`'s business.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

from core.service_names import service_name
from importers import clocks
from importers.levels import level_in, level_named, level_of_syslog
from importers.rows import NO_ATTRIBUTES, as_attributes
from project_types import LevelName, Scalar


class Setting(NamedTuple):
    """What a clock that says too little is read by."""

    written: datetime
    """When the file was written."""
    utc_offset: str | None = None


class Said(NamedTuple):
    """A line that stands for itself."""

    at_ns: int | None
    level: LevelName
    message: str
    service: str | None = None
    trace_id: str | None = None
    span_id: str | None = None
    attributes: Mapping[str, Scalar] = NO_ATTRIBUTES


Reader = Callable[[str, Setting], Said | None]

# --------------------------------------------------------------------------------------------------- fields

_CLOCK_KEYS = ("timestamp", "time", "@timestamp", "ts", "t", "datetime", "date", "asctime", "eventTime", "timeStamp",
               "Timestamp", "Time", "timeMillis", "_time")  # fmt: skip
_LEVEL_KEYS = ("level", "severity", "lvl", "log.level", "levelname", "severity_text", "severityText", "loglevel",
               "logLevel", "Level", "Severity", "@l", "s")  # fmt: skip
_MESSAGE_KEYS = (
    "message",
    "msg",
    "@message",
    "event",
    "log",
    "body",
    "text",
    "short_message",
    "Message",
    "@m",
    "MESSAGE",
    "_msg",
)
_SERVICE_KEYS = ("service", "service.name", "service_name", "serviceName", "app", "application", "appName",
                 "kubernetes.labels.app", "container_name", "container", "kubernetes.container_name", "component",
                 "Service")  # fmt: skip
_TRACE_KEYS = (
    "trace_id",
    "traceId",
    "traceID",
    "trace.id",
    "trace",
    "otelTraceID",
    "dd.trace_id",
    "TraceId",
    "X-B3-TraceId",
)
_SPAN_KEYS = (
    "span_id",
    "spanId",
    "spanID",
    "span.id",
    "span",
    "otelSpanID",
    "dd.span_id",
    "SpanId",
    "X-B3-SpanId",
)


def of_fields(fields: Mapping[str, Any], setting: Setting) -> Said | None:
    """Return what an object of named fields says; None when it holds neither a message nor a clock."""
    left = dict(fields)
    keys = _keys_among(tuple(fields))
    at_ns = clocks.moment(_take(left, keys.clock), setting.utc_offset)
    level = level_named(_take(left, keys.level))
    message = _take(left, keys.message)
    if message is None and at_ns is None:
        return None
    service, trace, span = _take(left, keys.service), _take(left, keys.trace), _take(left, keys.span)
    if isinstance(service, dict):
        service = service.get("name")
    text = (
        message
        if isinstance(message, str)
        else json.dumps(message if message is not None else left, ensure_ascii=False)
    )
    return Said(
        at_ns,
        level or level_in(text),
        text,
        service_name(service) if isinstance(service, str) and service.strip() else None,
        _id(trace),
        _id(span),
        as_attributes(left) if message is not None else NO_ATTRIBUTES,
    )


class _Keys(NamedTuple):
    """Which fields may say what, the likeliest first."""

    clock: Sequence[str]
    level: Sequence[str]
    message: Sequence[str]
    service: Sequence[str]
    trace: Sequence[str]
    span: Sequence[str]


_KEYS = _Keys(_CLOCK_KEYS, _LEVEL_KEYS, _MESSAGE_KEYS, _SERVICE_KEYS, _TRACE_KEYS, _SPAN_KEYS)


@lru_cache(maxsize=1024)
def _keys_among(names: tuple[str, ...]) -> _Keys:
    """Return the keys that fields of these names can have. The lines of one file have the same names."""
    there = frozenset(names)

    def among(keys: Sequence[str]) -> list[str]:
        return [key for key in keys if key in there or key.partition(".")[0] in there]

    return _Keys._make(map(among, _KEYS))


def _take(fields: dict[str, Any], keys: Sequence[str]) -> Any:
    """Take the first of these fields out; `a.b` may also be a field of an object."""
    for key in keys:
        if (value := fields.get(key)) is not None and value != "":
            del fields[key]
            return value
        outer, dot, inner = key.partition(".")
        held = fields.get(outer) if dot else None
        if isinstance(held, dict) and held.get(inner) not in (None, ""):
            return held[inner]
    return None


def _id(value: Any) -> str | None:
    if isinstance(value, dict):
        value = value.get("id")
    if isinstance(value, str):
        return value.strip() or None
    return str(value) if isinstance(value, int) and value else None


# ---------------------------------------------------------------------------------------------------- forms


def _json(text: str, setting: Setting) -> Said | None:
    if not text.startswith("{"):
        return None
    try:
        found, end = _DECODER.raw_decode(text)
    except (ValueError, RecursionError):
        return None
    return None if text[end:].strip(_JSON_SPACE) else of_fields(found, setting)


_DECODER = json.JSONDecoder()
_JSON_SPACE = " \t\n\r"
_ONE_PAIR = r'([A-Za-z_@][\w.@/-]*)=("[^"\\]*(?:\\.[^"\\]*)*"|\S*)(?:\s+|$)'
_PAIR, _PAIRS = re.compile(_ONE_PAIR), re.compile(f"(?>{_ONE_PAIR})++")
_LOGFMT_KEYS = frozenset((*_CLOCK_KEYS, *_LEVEL_KEYS, *_MESSAGE_KEYS))


def _logfmt(text: str, setting: Setting) -> Said | None:
    """A line that is nothing but key=value."""
    if not _PAIRS.fullmatch(text):
        return None
    fields = dict(_PAIR.findall(text))
    if len(fields) < 2 or _LOGFMT_KEYS.isdisjoint(fields):
        return None
    for key, value in fields.items():
        if value.startswith('"'):
            fields[key] = _unquoted(value)
    return of_fields(fields, setting)


_ESCAPED = re.compile(r"\\(.)")


def _unquoted(text: str) -> str:
    inner = text[1:-1]
    if "\\" not in inner:
        return inner
    return _ESCAPED.sub(lambda found: {"n": "\n", "t": "\t"}.get(found[1], found[1]), inner)


_KLOG = re.compile(
    r"(?P<level>[IWEF])(?P<month>\d\d)(?P<day>\d\d) (?P<clock>\d\d:\d\d:\d\d)\.(?P<fraction>\d+) +\d+ (?P<text>\S+:\d+\] .*)",
    re.DOTALL,
)


def _klog(text: str, setting: Setting) -> Said | None:
    found = _KLOG.match(text)
    if not found:
        return None
    day = int(found["month"]), int(found["day"])
    at_ns = clocks.without_year(*day, found["clock"], found["fraction"], setting.written)
    return Said(at_ns, level_named(found["level"]) or "UNKNOWN", found["text"])


_SYSLOG_5424 = re.compile(
    r"<(?P<priority>\d{1,3})>1 (?P<at>\S+) (?P<host>\S+) (?P<program>\S+) \S+ \S+ (?:-|(?:\[[^\]]*\])+) ?(?P<text>.*)",
    re.DOTALL,
)
_SYSLOG = re.compile(
    r"(?:<(?P<priority>\d{1,3})>)?(?P<month>[A-Z][a-z]{2}) {1,2}(?P<day>\d{1,2}) "
    r"(?P<clock>\d\d:\d\d:\d\d)(?:\.(?P<fraction>\d+))? (?P<host>[\w.:-]+) (?P<program>[\w./@()-]+?)(?:\[\d+\])?: ?(?P<text>.*)",
    re.DOTALL,
)
_JOURNAL = re.compile(
    rf"{clocks.ISO} (?P<host>[\w.:-]+) (?P<program>[\w./@()-]+?)\[\d+\]: ?(?P<text>.*)", re.DOTALL
)


def _syslog(text: str, setting: Setting) -> Said | None:
    if new := _SYSLOG_5424.match(text):
        at_ns, found = clocks.moment(new["at"], setting.utc_offset), new
    elif old := _SYSLOG.match(text):
        try:
            month = clocks.month_of(old["month"])
        except KeyError:
            return None
        at_ns = clocks.without_year(month, int(old["day"]), old["clock"], old["fraction"], setting.written)
        found = old
    elif journal := _JOURNAL.match(text):
        at_ns, found = clocks.of_iso(journal, setting.utc_offset), journal
    else:
        return None
    priority = found.groupdict().get("priority")
    level = level_of_syslog(int(priority)) if priority else level_in(found["text"])
    program = found["program"].rpartition("/")[2]
    return Said(at_ns, level, found["text"], None if program == "-" else service_name(program))


_ACCESS = re.compile(
    r"(?P<rest>\S+ \S+ \S+) \[(?P<day>\d\d)/(?P<month>[A-Z][a-z]{2})/(?P<year>\d{4}):"
    r"(?P<clock>\d\d:\d\d:\d\d) (?P<zone>[+-]\d{4})\] "
    r'(?P<request>"(?:[^"\\]|\\.)*" (?P<status>\d{3}) .*)'
)


def _access(text: str, setting: Setting) -> Said | None:
    """Apache's and nginx' access log: the status decides the level."""
    found = _ACCESS.match(text)
    if not found:
        return None
    try:
        day = int(found["year"]), clocks.month_of(found["month"]), int(found["day"])
    except KeyError:
        return None
    at_ns = clocks.nanoseconds(*day, found["clock"], None, found["zone"])
    levels: dict[str, LevelName] = {"5": "ERROR", "4": "WARN"}
    return Said(at_ns, levels.get(found["status"][0], "INFO"), f"{found['rest']} {found['request']}")


_LEVEL_HEAD = (
    r"(?:[\[(<]?(?:TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|FATAL|CRITICAL|SEVERE)[\])>]?[ :|-]+)?"
)
_ISO_HEAD = re.compile(rf"{_LEVEL_HEAD}[\[(]?{clocks.ISO}[\])]?")
_NAMED_MONTH = re.compile(
    rf"{_LEVEL_HEAD}[\[(]?(?:[A-Z][a-z]{{2}},? )?(?:(?P<day>\d{{1,2}})[- /](?P<month>[A-Z][a-z]{{2}})[- /](?P<year>\d{{4}})[ :T]|"
    r"(?P<month2>[A-Z][a-z]{2}) {1,2}(?P<day2>\d{1,2}),? )(?P<clock>\d\d:\d\d:\d\d)(?:[.,](?P<fraction>\d{1,9}))?"
    r"(?: (?P<year2>\d{4})(?!\d))?(?: ?(?P<zone>Z|UTC|GMT|[+-]\d\d:?\d\d))?[\])]?"
)
_DAY_ONLY = re.compile(
    rf"{_LEVEL_HEAD}[\[(]?(?P<clock>\d\d:\d\d:\d\d)(?:[.,](?P<fraction>\d{{1,9}}))?[\])]?(?=[\s|:-])"
)
_EPOCH = re.compile(r"\[?(?P<at>1\d{9}(?:\.\d{1,9}|\d{3}(?:\d{3}){0,2})?)\]?(?=[\s|:,-])")
_INSIDE = re.compile(clocks.ISO)
_INSIDE_LETTERS = 80


def _clocked(text: str, setting: Setting) -> Said | None:
    """A text that begins with a clock, or has a whole date near its beginning."""
    if found := _ISO_HEAD.match(text):
        return _text(text, found.end(), clocks.of_iso(found, setting.utc_offset))
    if found := _NAMED_MONTH.match(text):
        return _text(text, found.end(), _named_month(found, setting))
    if found := _DAY_ONLY.match(text):
        at_ns = clocks.of_day(found["clock"], found["fraction"], setting.written)
        return _text(text, found.end(), at_ns)
    if found := _EPOCH.match(text):
        return _text(text, found.end(), clocks.moment(found["at"]))
    if (found := _INSIDE.search(text, 0, _INSIDE_LETTERS)) and not text[:1].isspace():
        return _text(text, 0, clocks.of_iso(found, setting.utc_offset))
    return None


def _named_month(found: re.Match[str], setting: Setting) -> int | None:
    try:
        month = clocks.month_of(found["month"] or found["month2"])
    except KeyError:
        return None
    day, year = int(found["day"] or found["day2"]), found["year"] or found["year2"]
    if not year:
        return clocks.without_year(month, day, found["clock"], found["fraction"], setting.written)
    zone = found["zone"] or setting.utc_offset
    return clocks.nanoseconds(int(year), month, day, found["clock"], found["fraction"], zone)


_SEPARATORS = " \t|-:,]"
_LEVEL_FIRST = re.compile(r"(?P<mark>[\[(<]?)(?P<level>[A-Za-z]{2,11})(?P<after>[\])>]?[ \t:|-]+|$)")
_TRACE_IN = re.compile(r"\btrace[._-]?id[=: ]+\"?([0-9a-fA-F]{16,32})\b", re.IGNORECASE)
_SPAN_IN = re.compile(r"\bspan[._-]?id[=: ]+\"?([0-9a-fA-F]{8,16})\b", re.IGNORECASE)


def _text(text: str, end: int, at_ns: int | None) -> Said | None:
    """A text whose clock ends at a place; None when the clock is none after all."""
    return None if at_ns is None else plain(text, text[end:].lstrip(_SEPARATORS) if end else text, at_ns)


def plain(text: str, rest: str, at_ns: int | None) -> Said:
    """Read a text without fields: a level at the beginning of `rest` is taken off; ids may stand anywhere."""
    first = _LEVEL_FIRST.match(rest)
    level = level_named(first["level"]) if first else None
    if first and level and not _is_label(first):
        level = level if first["level"].islower() else None
        first = None
    message = rest[first.end() :] if first and level else rest
    return Said(at_ns, level or level_in(text), message or rest, None, *_ids_in(text))


def _ids_in(text: str) -> tuple[str | None, str | None]:
    """Find the ids of a trace and of a span."""
    lowered = text.lower()
    # most lines name neither, and looking for a word is ten times as fast as searching regardless of case
    trace = _TRACE_IN.search(text) if "trace" in lowered else None
    span = _SPAN_IN.search(text) if "span" in lowered else None
    return trace[1] if trace else None, span[1] if span else None


def _is_label(first: re.Match[str]) -> bool:
    """Whether a level stands for itself and is no word of a sentence, as in "Failure to connect"."""
    return first["level"].isupper() or bool(first["mark"]) or ":" in first["after"] or "|" in first["after"]


READERS: tuple[Reader, ...] = (_json, _klog, _syslog, _access, _logfmt, _clocked)


_TIME_OF_DAY = re.compile(r"\d\d:\d\d:\d\d")


def _may_fit(text: str) -> bool:
    """Whether any reader could fit: a frame of a stack is passed over without asking each of them."""
    if text[:1] in ("{", "<") or "=" in text or _EPOCH.match(text):
        return True
    return ":" in text and _TIME_OF_DAY.search(text) is not None


class Forms:
    """Reads the lines of one file, the form that fitted last first."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._readers = list(READERS)

    def read(self, text: str) -> Said | None:
        """Return what a line says for itself; None for a text without a clock."""
        if not _may_fit(text):
            return None
        for place, reader in enumerate(self._readers):
            if said := reader(text, self._setting):
                if place:
                    self._readers.insert(0, self._readers.pop(place))
                return said
        return None
