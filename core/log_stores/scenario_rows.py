"""A scenario file as the rows a database takes: read, checked, cleaned to one line each, and alike lines
numbered alike.

Rows are plain tuples, because a build handles millions of them and its time is the bar of
`benchmarks/build.py`; whoever wants a scenario with attributes calls `project_types.read_scenario`, which
accepts and refuses the same files. The tables they go into are in `core.log_stores.tables`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from operator import itemgetter
from pathlib import Path
from typing import Annotated, Any, NotRequired

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter
from typing_extensions import TypedDict

from core.log_stores.families import families
from core.log_stores.masks import mask_key, mask_of_key
from core.log_stores.ordering import in_time_order
from project_types import (
    Event,
    Incident,
    Level,
    LogRecord,
    MetricSeries,
    Scalar,
    Scenario,
    Span,
    Timestamp,
    check_incident,
    check_truth,
    has_truth,
    nanoseconds_beyond,
    read_checked,
)

# ---------------------------------------------------------------------------------------------------- reading


def _shape(model: type[BaseModel], **changed: Any) -> Any:
    """The model as a typed dict: the same JSON is accepted and refused, but a row costs no Python object with
    attributes.
    """
    fields = {
        name: annotation if field.is_required() else NotRequired[annotation]
        for name, field in model.model_fields.items()
        for annotation in [changed.get(name, field.rebuild_annotation())]
    }
    make: Any = TypedDict
    shape = make(model.__name__, fields)
    shape.__pydantic_config__ = ConfigDict(extra="forbid")
    return shape


def _checked(parts: dict[str, Any]) -> dict[str, Any]:
    check_incident(parts)
    if "ground_truth" in parts:
        check_truth(parts)
    return parts


class _QuickSeries(MetricSeries):
    """A series whose clocks no Python code looks at."""

    given: tuple[tuple[AwareDatetime, float], ...] = Field((), alias="points")


_Reader = TypeAdapter[dict[str, Any]]


def _reader(model: type[Incident], moment: Any, series: type[MetricSeries]) -> _Reader:
    many: Any = tuple  # as in the model, so that refusals read the same
    annotated: Any = Annotated
    log, span = _shape(LogRecord, timestamp=moment | None), _shape(Span, start=moment)
    whole = _shape(model, logs=many[log, ...], spans=many[span, ...], metrics=many[series, ...])
    return TypeAdapter(annotated[whole, AfterValidator(_checked)])


def _readers(moment: Any, series: type[MetricSeries]) -> Mapping[type[Incident], _Reader]:
    return {model: _reader(model, moment, series) for model in (Scenario, Incident)}


_QUICK, _EXACT = _readers(AwareDatetime, _QuickSeries), _readers(Timestamp, MetricSeries)
"""Readers without and with the Python code that `Timestamp` runs on every row. What the first refuse, the
second may accept."""
_AS_TEXT = _readers(str, _QuickSeries)
"""Readers that leave clocks as they are written, for those with more digits than a datetime has room for."""

_NANOSECONDS = re.compile(rb"\.\d{7}")


def read_rows(path: Path) -> dict[str, Any]:
    """Read the scenario or incident in a file, its log lines and spans as dicts.

    Raises:
        ScenarioError: as `project_types.read_scenario` or `read_incident` does.
    """
    return read_checked(path, _rows)


def _rows(content: bytes) -> dict[str, Any]:
    likely = Scenario if b'"ground_truth"' in content else Incident
    nanoseconds = _NANOSECONDS.search(content) is not None
    try:
        if nanoseconds:
            return _with_clocks(_AS_TEXT[likely].validate_json(content))
        return _QUICK[likely].validate_json(content)
    except ValueError:  # pydantic's own error is one
        found = _EXACT[Scenario if has_truth(content) else Incident].validate_json(content)
    if nanoseconds:
        _fill_nanoseconds(found, json.loads(content))
    return found


def _with_clocks(found: dict[str, Any]) -> dict[str, Any]:
    """Read the clocks of lines and spans. Raises ValueError for one without a zone or of another form."""
    for field, clock in (("logs", "timestamp"), ("spans", "start")):
        for row in found.get(field, ()):
            text = row[clock]
            if text is None:
                continue
            at = datetime.fromisoformat(text)
            if at.tzinfo is None:
                raise ValueError(f"{text}: has no zone")
            row[clock] = at
            if len(text) > _MICROSECOND_LETTERS:
                row.setdefault("nanosecond", nanoseconds_beyond(text))
    return found


_MICROSECOND_LETTERS = len("2025-01-31T14:05:00.123456")


def _fill_nanoseconds(found: dict[str, Any], written: dict[str, Any]) -> None:
    """Keep the digits that a datetime has no room for, as `LogRecord` and `Span` do."""
    for field, clock in (("logs", "timestamp"), ("spans", "start")):
        for row, text in zip(found.get(field, ()), written.get(field, ()), strict=True):
            if isinstance(text[clock], str):
                row.setdefault("nanosecond", nanoseconds_beyond(text[clock]))


# ---------------------------------------------------------------------------------------------------------------
# cleaning

_ESCAPE_SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-_])")


def one_line(text: str) -> str:
    """The text without terminal escape sequences, and with a space for each character that cannot be printed
    on one line.
    """
    if text.isprintable():
        return text
    text = _ESCAPE_SEQUENCE.sub("", text)
    return "".join(char if char.isprintable() else " " for char in text).strip()


def with_attributes(message: str, attributes: Mapping[str, Scalar]) -> str:
    """The message, and each attribute as name=value."""
    return message + "".join(f" {name}={value}" for name, value in attributes.items())


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LEVELS = {level.name: level.value for level in Level}


def microseconds(moment: datetime) -> int:
    """Since 1970, UTC."""
    since = moment - _EPOCH  # adding its parts is twice as quick as dividing it
    return since.days * 86_400_000_000 + since.seconds * 1_000_000 + since.microseconds


# -------------------------------------------------------------------------------------------------------------------
# rows

LogRow = tuple[int, int, str, int, int, str, int, str, str | None, str | None, int]
"""row, scenario, id, at_us, has_clock, service, level, text, trace_id, span_id, kind"""


def log_rows(
    logs: Sequence[Mapping[str, Any]],
    number: int,
    first_row: int,
    services: Iterable[str] = (),
    kinds: Kinds | None = None,
) -> list[LogRow]:
    """Rows of table logs, in time order.

    Args:
        logs: lines as `read_rows` gives them.
        number: the incident's.
        first_row: the number of the first row.
        services: names that are no varying part of a line.
        kinds: goes on numbering where an earlier call stopped.
    """
    kind_of = Kinds() if kinds is None else kinds
    rows: list[LogRow] = []
    for row, (place, at_us) in enumerate(_placed(logs), first_row):
        log = logs[place]
        get, level, text = log.get, _LEVELS[log["level"]], log["message"]
        if get("attributes"):
            text = with_attributes(text, log["attributes"])
        if not text.isprintable():
            text = one_line(text)
        clock, trace, kind = (
            int(log["timestamp"] is not None),
            get("trace_id"),
            kind_of[level, mask_key(text)],
        )
        rows.append(
            (row, number, log["id"], at_us, clock, log["service"], level, text, trace, get("span_id"), kind)
        )
    moved = kind_of.join({*services, *map(itemgetter("service"), logs)})
    return [(*line[:10], moved.get(line[10], line[10])) for line in rows] if moved else rows


def _placed(logs: Sequence[Mapping[str, Any]]) -> Sequence[tuple[int, int]]:
    """Place in `logs` and microseconds of each line, in time order."""
    moments, sequences = [log["timestamp"] for log in logs], [log.get("sequence") for log in logs]
    odd_clocks = None in moments or any(log.get("nanosecond") for log in logs)
    if odd_clocks or not _as_placed(sequences):
        nanoseconds = [
            None if at is None else microseconds(at) * 1000 + log.get("nanosecond", 0)
            for at, log in zip(moments, logs, strict=True)
        ]
        placed = in_time_order(nanoseconds, sequences)
        return [(place, at_ns // 1000) for place, at_ns in placed]
    # the same for lines that all have a plain clock, several times as fast
    clocks = list(map(microseconds, moments))
    return [(place, clocks[place]) for place in sorted(range(len(clocks)), key=clocks.__getitem__)]


def _as_placed(sequences: Sequence[int | None]) -> bool:
    """Whether the lines stand in the order of their source."""
    given = [one for one in sequences if one is not None]
    return not given or (len(given) == len(sequences) and given == sorted(given))


def span_rows(spans: Sequence[Mapping[str, Any]], number: int, first_row: int) -> list[tuple[Any, ...]]:
    """Rows of table spans, in time order."""
    ordered = sorted(spans, key=lambda span: (span["start"], span.get("nanosecond", 0)))
    return [
        (
            *(row, number, span["trace_id"], span["span_id"], span.get("parent_span_id"), span["service"]),
            *(one_line(span["operation"]), microseconds(span["start"]), span["duration_ms"], span["status"]),
        )
        for row, span in enumerate(ordered, first_row)
    ]


FIRST_OCCURRENCE = ":first"
"""Ends the id of the line that stands for the first of an event's several occurrences."""


def event_logs(events: Iterable[Event]) -> Iterator[dict[str, Any]]:
    """Events as log lines: one for the last occurrence and, where there were several, one for the first."""
    for event in events:
        about = f"{event.object} {event.reason}: {event.message}"
        line = {
            "id": event.id,
            "timestamp": event.timestamp,
            "service": event.service,
            "level": "WARN" if event.type == "Warning" else "INFO",
            "message": about + (f" (seen {event.count} times)" if event.count > 1 else ""),
            "sequence": event.sequence,
        }
        if event.first_timestamp not in (None, event.timestamp):
            yield line | {
                "id": event.id + FIRST_OCCURRENCE,
                "timestamp": event.first_timestamp,
                "message": about,
            }
        yield line


def _shape_of(mask: tuple[int, str]) -> tuple[int, int]:
    return mask[0], mask[1].count(" ")


class Kinds(dict[tuple[int, bytes], int]):
    """The kinds of lines of one scenario, numbered as they come: (level, `mask_key` of the text) → number."""

    def __init__(self, known: Mapping[tuple[int, str], int] | None = None) -> None:
        self.numbers: dict[tuple[int, str], int] = dict(known or {})
        """(level, mask) → number; masks of one family share it."""
        self._next = max(self.numbers.values(), default=-1) + 1
        self._fixed = self._next

    def __missing__(self, key: tuple[int, bytes]) -> int:
        level, letters = key
        mask = level, mask_of_key(letters)
        if mask not in self.numbers:
            self.numbers[mask] = self._next
            self._next += 1
        self[key] = self.numbers[mask]
        return self[key]

    def join(self, services: Iterable[str]) -> dict[int, int]:
        """Give masks of one family one number, and return which new numbers became which."""
        moved: dict[int, int] = {}
        fresh = {_shape_of(mask) for mask, number in self.numbers.items() if number >= self._fixed}
        # masks join masks of their own length only, so the others need not be looked at again
        for mask, chief in families((m for m in self.numbers if _shape_of(m) in fresh), services).items():
            if self.numbers[mask] >= self._fixed:
                moved[self.numbers[mask]] = self.numbers[chief]
                self.numbers[mask] = self.numbers[chief]
        return moved
