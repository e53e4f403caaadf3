"""A scenario file as what a database takes: read, checked, texts cleaned to one line,
spans and events as rows.

Rows are plain dicts and tuples, because a build handles millions of them and its time is the bar of
`benchmarks/build.py`. A program that wants a scenario with attributes calls `project_types.read_scenario`,
which accepts and refuses the same files. Log lines go on to `core.log_stores.line_columns`. The tables are in
`core.log_stores.tables`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NotRequired

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter
from typing_extensions import TypedDict

from project_types import (
    Event,
    Incident,
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


# ------------------------------------------------------------------------------------------------------------
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


def microseconds(moment: datetime) -> int:
    """Since 1970, UTC."""
    since = moment - _EPOCH  # adding its parts is twice as quick as dividing it
    return since.days * 86_400_000_000 + since.seconds * 1_000_000 + since.microseconds


# ------------------------------------------------------------------------------------------------------------
# rows


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
