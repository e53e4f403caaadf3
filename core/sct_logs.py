"""Read the log files of a Scylla Cluster Tests run into rows: actions, events, nodes,
stress tools, the runner.

A file is known by its name, as SCT packs it. Files that repeat another one, hold configuration, or are not
logs are passed over with the reason. Clocks that SCT writes wrongly (`+00:00Z`) are repaired and counted.
A line that does not fit its format is kept as it is. Unpacking is `core.archives`; storing rows is the log
store's work.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from fnmatch import fnmatch
from hashlib import blake2b
from pathlib import PurePosixPath
from typing import Any, Literal, NamedTuple

from core.archives import Line
from core.log_stores.line_columns import LEVEL_VALUES, LineColumns, SourceColumns, source_columns
from core.service_names import service_name
from project_types import LevelName, Scalar

Stream = Literal["action", "event", "node", "stress", "sct"]
STREAMS: Mapping[Stream, str] = {
    "action": "what the test did, step by step (actions.log)",
    "event": "SCT's own events, with severity and nemesis (raw_events.log)",
    "node": "logs of the database and monitor nodes",
    "stress": "logs of the stress tools on the loaders",
    "sct": "the log of the test framework itself (sct.log)",
}
RUNNER = "sct-runner"
"""Who acts where no node is named."""
SERVICES: Mapping[Stream, str] = {"action": "actions", "event": "events", "sct": "sct"}
"""The service that all rows of a stream belong to; elsewhere it is the node."""
MOST_JOINED_BYTES = 64 << 10
_KINDS: tuple[tuple[str, Stream], ...] = (
    ("actions.log", "action"),
    ("raw_events.log", "event"),
    ("sct*.log", "sct"),
    ("*stress*.log", "stress"),
    ("*scylla-bench*.log", "stress"),
    ("*latte*.log", "stress"),
    ("*ycsb*.log", "stress"),
    ("*gemini*.log", "stress"),
    ("system*.log", "node"),
    ("messages*.log", "node"),
    ("scylla*.log", "node"),
    ("dmesg.log", "node"),
    ("console_output.log", "node"),
    ("cassandra-*.log", "node"),
)
_REPEATS = ("events.log", "critical.log", "error.log", "warning.log", "normal.log", "debug.log", "summary.log",
            "output.log")  # fmt: skip
_CONFIGURATION = ("*.yaml", "*.yml", "*.properties", "*.crt", "*.pem", "*.key", "cqlshrc", "*.conf", "*.options",
                  "argus*.log", "*.jsonl", "cloud-init*")  # fmt: skip
"""May hold credentials, so it is never stored."""


class Row(NamedTuple):
    """One row of a run's logs."""

    id: str
    """Depends on the run, the file and the line alone: the same file gives the same ids again."""
    stream: Stream
    service: str
    """The node, or the stream where one file speaks of all nodes."""
    level: LevelName
    at: datetime | None
    text: str
    place: str
    """File and line number, such as db-node-1/system.log:17."""
    trace_id: str | None = None
    attributes: Mapping[str, Scalar] = {}


class _Draft(NamedTuple):
    """A row before it is known where it stands."""

    service: str
    level: LevelName
    at: datetime | None
    text: str
    trace_id: str | None = None
    attributes: Mapping[str, Scalar] = {}


Counts = Counter[str]
"""lines, rows, joined, repaired_clocks, without_clock, unparsed, cut."""


def stream_of(name: str) -> tuple[Stream | None, str]:
    """Return which stream a file belongs to, or None and why it is passed over."""
    base = PurePosixPath(name.rpartition("!")[2]).name.lower()
    if any(fnmatch(base, pattern) for pattern in _CONFIGURATION):
        return None, "configuration or credentials"
    if base in _REPEATS:
        return None, "repeats raw_events.log"
    if "prometheus_data" in name:
        return None, "metrics: use query_metrics"
    for pattern, stream in _KINDS:
        if fnmatch(base, pattern):
            return stream, ""
    return None, "unknown kind of file"


def rows(
    run_id: str, name: str, stream: Stream, lines: Iterable[Line], counts: Counts, first: int = 1
) -> Iterator[Row]:
    """Yield the rows of one file and count what was done to its lines. `first` is the
    number of the first line.
    """
    path = name.rpartition("!")[2]
    file = "/".join(PurePosixPath(path).parts[-2:])
    drafts = _JSON.get(stream)
    found = _json_rows(drafts, lines, counts) if drafts else _text_rows(_node_of(path, stream), lines, counts)
    # ids of a file ascend, so a store's index of them grows at its end and not in ten thousand places a batch
    begin = blake2b(f"{run_id}\n{name}".encode(), digest_size=5).hexdigest()
    service = SERVICES.get(stream)
    for place, draft in found:
        number = place + first - 1
        counts["rows"] += 1
        if draft.at is None:
            counts["without_clock"] += 1
        yield Row(
            f"{begin}{number:06x}",
            stream,
            service or draft.service,
            draft.level,
            draft.at,
            draft.text,
            f"{file}:{number}",
            draft.trace_id,
            draft.attributes,
        )


def by_column(found: Sequence[Row]) -> LineColumns:
    """Return rows that follow each other in one file as log stores take them."""
    if not found:
        return source_columns(SourceColumns((), (), (), (), (), (), ()))
    # attributes stay behind: a store would print them after the text, which names them already
    ids, _, services, levels, moments, texts, _, trace_ids, _ = zip(*found, strict=True)
    values = [LEVEL_VALUES[level] for level in levels]
    no_spans = (None,) * len(found)
    return source_columns(SourceColumns(ids, moments, services, values, texts, trace_ids, no_spans))


def safe_service(name: str) -> str:
    """Return a name that is safe to print, to quote and to put in a file name."""
    return service_name(name, RUNNER)


def _node_of(path: str, stream: Stream) -> str:
    """Return the node of a file: the folder it lies in."""
    folders = PurePosixPath(path).parts[:-1]
    return safe_service(folders[-1]) if folders and stream != "sct" else RUNNER


# ------------------------------------------------------------------------------------------------- JSON lines


def _json_rows(
    make: Callable[[Mapping[str, Any], Counts], _Draft], lines: Iterable[Line], counts: Counts
) -> Iterator[tuple[int, _Draft]]:
    for number, line in enumerate(lines, 1):
        counts["lines"] += 1
        counts["cut"] += line.cut
        if not line.text.strip():
            continue
        try:
            fields = json.loads(line.text)
            draft = make(fields, counts)
        except (ValueError, TypeError, AttributeError, LookupError, OverflowError, OSError, RecursionError):
            counts["unparsed"] += 1
            draft = _Draft(RUNNER, "UNKNOWN", None, line.text.decode("utf-8", "replace"))
        yield number, draft


def moment(text: str, counts: Counts) -> datetime:
    """Read an ISO 8601 time. SCT's double zone (`+00:00Z`) is repaired and counted. Raises ValueError."""
    if text.endswith("+00:00Z"):
        counts["repaired_clocks"] += 1
        text = text[:-1]
    at = datetime.fromisoformat(text.replace(",", "."))
    zone = at.tzinfo
    if zone is UTC:
        return at
    return at.astimezone(UTC) if zone else at.replace(tzinfo=UTC)


_ACTION_LEVELS: Mapping[str, LevelName] = {
    "debug": "DEBUG",
    "info": "INFO",
    "warning": "WARN",
    "error": "ERROR",
    "critical": "FATAL",
}


def _action(fields: Mapping[str, Any], counts: Counts) -> _Draft:
    source = safe_service(str(fields.get("source") or RUNNER))
    text = f"{source}: {fields['action']}"
    if target := fields.get("target"):
        text += f" target={target}"
    if metadata := fields.get("metadata"):
        text += f" {json.dumps(metadata, ensure_ascii=False)}"
    return _Draft(
        source,
        _ACTION_LEVELS.get(str(fields.get("status")), "UNKNOWN"),
        moment(str(fields["datetime"]), counts),
        text,
        _trace(fields.get("trace_id")),
    )


def _trace(value: Any) -> str | None:
    return safe_service(value) if isinstance(value, str) and value.strip() else None


_EVENT_LEVELS: Mapping[str, LevelName] = {
    "DEBUG": "DEBUG",
    "NORMAL": "INFO",
    "WARNING": "WARN",
    "ERROR": "ERROR",
    "CRITICAL": "FATAL",
}
_EVENT_TEXTS = ("line", "message", "error", "errors", "stress_cmd", "corefile_url", "full_traceback")


def _event(fields: Mapping[str, Any], counts: Counts) -> _Draft:
    kind = ".".join(str(fields[name]) for name in ("base", "type", "subtype") if fields.get(name))
    during = [str(one["nemesis_name"]) for one in fields.get("subcontext") or () if one.get("nemesis_name")]
    nemesis = str(fields.get("nemesis_name") or ",".join(during))
    node = safe_service(str(fields.get("node") or RUNNER))
    attributes: dict[str, Scalar] = {"event_type": kind, "node": node}
    if nemesis:
        attributes["nemesis"] = nemesis
    # the database's own clock where the event was read from a log, else SCT's
    seconds = fields.get("source_timestamp") or fields["event_timestamp"]
    return _Draft(
        node,
        _EVENT_LEVELS.get(str(fields.get("severity")), "UNKNOWN"),
        datetime.fromtimestamp(float(seconds), UTC),
        " ".join(_event_parts(fields, kind, nemesis)),
        None,
        attributes,
    )


def _event_parts(fields: Mapping[str, Any], kind: str, nemesis: str) -> Iterator[str]:
    """Yield what a person reads of an event, most telling first."""
    yield f"({kind} {fields.get('severity')})"
    if fields.get("period_type") in ("begin", "end"):
        yield str(fields["period_type"])
    if fields.get("node"):
        yield f"node={fields['node']}"
    if nemesis:
        yield f"{'nemesis' if fields.get('nemesis_name') else 'during_nemesis'}={nemesis}"
    if isinstance(fields.get("duration"), int | float):
        yield f"duration={fields['duration']}s"
    yield from (str(fields[name]) for name in _EVENT_TEXTS if fields.get(name))


_JSON: Mapping[Stream, Callable[[Mapping[str, Any], Counts], _Draft]] = {"action": _action, "event": _event}


# ------------------------------------------------------------------------------------------------- text lines

_CLOCK = r"(?P<at>\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,6})?\d*(?:Z|[+-]\d\d:?\d\d)?)"
_SYSLOG = re.compile(_CLOCK + r" (?P<host>\S+) +(?:!(?P<level>[A-Z]+) *\| *)?(?P<text>.*)", re.DOTALL)
_SCYLLA = re.compile(r"(?P<level>TRACE|DEBUG|INFO|WARN|ERROR) +" + _CLOCK + r" +(?P<text>.*)", re.DOTALL)
_SCT = re.compile(r"< t:" + _CLOCK + r" .*?p:(?P<level>[A-Z]+) *> (?P<text>.*)", re.DOTALL)
_JOURNAL = re.compile(
    r"(?P<at>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d) (?P<host>\S+) (?P<level>)(?P<text>.*)", re.DOTALL
)
_FORMATS = (_SYSLOG, _SCYLLA, _SCT, _JOURNAL)
_LEVELS: Mapping[str, LevelName] = {
    "TRACE": "DEBUG",
    "DEBUG": "DEBUG",
    "INFO": "INFO",
    "NOTICE": "INFO",
    "WARN": "WARN",
    "WARNING": "WARN",
    "ERR": "ERROR",
    "ERROR": "ERROR",
    "CRIT": "FATAL",
    "CRITICAL": "FATAL",
    "ALERT": "FATAL",
    "EMERG": "FATAL",
}
_WORDS = re.compile(r"\b(?:(FATAL|CRITICAL)|(ERROR|Exception|Traceback)|(WARN(?:ING)?))\b|Exception:")


def _text_rows(node: str, lines: Iterable[Line], counts: Counts) -> Iterator[tuple[int, _Draft]]:
    """Yield the rows of a text log. A line without a clock belongs to the row before it.

    In a file without any clock each line is a row.
    """
    pattern, pending, began = None, None, 0
    for number, line in enumerate(lines, 1):
        counts["lines"] += 1
        if line.cut:
            counts["cut"] += 1
        text = line.text.decode("utf-8", "replace").rstrip()
        if not text:
            continue
        match = pattern.match(text) if pattern else None
        if match is None:
            match = next((found for one in _FORMATS if (found := one.match(text))), None)
        draft = _timed(match, node, counts) if match else None
        if match is not None and draft is not None:
            pattern = match.re
        elif pending is not None and pattern is not None and len(pending.text) < MOST_JOINED_BYTES:
            counts["joined"] += 1
            pending = pending._replace(text=f"{pending.text}\n{text}")
            continue
        if pending is not None:
            yield began, pending
        pending, began = draft or _Draft(node, _guessed(text), None, text), number
    if pending is not None:
        yield began, pending


def _timed(match: re.Match[str], node: str, counts: Counts) -> _Draft | None:
    """Return the row of a line with a clock; None when the clock is none after all."""
    clock, level, text = match.group("at", "level", "text")
    try:
        at = _this_year(clock) if match.re is _JOURNAL else moment(clock, counts)
    except ValueError:
        return None
    return _Draft(node, _LEVELS.get(level) or _guessed(text), at, text)


def _this_year(text: str) -> datetime:
    """Read journald's short clock, which has no year: the latest such moment that is not in the future."""
    now = datetime.now(UTC)
    at = datetime.strptime(f"{now.year} {text}", "%Y %b %d %H:%M:%S").replace(tzinfo=UTC)
    return at if at <= now else at.replace(year=now.year - 1)


def _guessed(text: str) -> LevelName:
    """Guess a level from words; most lines say nothing and are INFO."""
    found = _WORDS.search(text[:400])
    if found is None:
        return "INFO"
    if found[1]:
        return "FATAL"
    return "WARN" if found[3] else "ERROR"
