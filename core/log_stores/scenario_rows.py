"""A scenario file as the rows a database takes: read, checked, cleaned to one line each, and alike lines
numbered alike.

Rows are plain tuples, because a build handles millions of them and its time is the bar of
`benchmarks/build.py`; whoever wants a scenario with attributes calls `project_types.read_scenario`, which
accepts and refuses the same files. The tables they go into are in `build_logs`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from operator import itemgetter
from pathlib import Path
from typing import Annotated, Any, NotRequired

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from project_types import (
    Incident,
    Level,
    LogRecord,
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


def _reader(model: type[Incident], moment: Any) -> TypeAdapter[dict[str, Any]]:
    many: Any = tuple  # as in the model, so that refusals read the same
    annotated: Any = Annotated
    log, span = _shape(LogRecord, timestamp=moment | None), _shape(Span, start=moment)
    whole = _shape(model, logs=many[log, ...], spans=many[span, ...])
    return TypeAdapter(annotated[whole, AfterValidator(_checked)])


_QUICK, _EXACT = (
    {model: _reader(model, moment) for model in (Scenario, Incident)} for moment in (AwareDatetime, Timestamp)
)
"""Readers without and with the Python code that `Timestamp` runs on every row. What the first refuse, the
second may accept."""

_NANOSECONDS = re.compile(rb"\.\d{7}")


def read_rows(path: Path) -> dict[str, Any]:
    """Read the scenario or incident in a file, its log lines and spans as dicts.

    Raises:
        ScenarioError: as `project_types.read_scenario` or `read_incident` does.
    """
    return read_checked(path, _rows)


def _rows(content: bytes) -> dict[str, Any]:
    likely = Scenario if b'"ground_truth"' in content else Incident
    try:
        found = _QUICK[likely].validate_json(content)
    except ValidationError:
        found = _EXACT[Scenario if has_truth(content) else Incident].validate_json(content)
    if _NANOSECONDS.search(content):
        _fill_nanoseconds(found, json.loads(content))
    return found


def _fill_nanoseconds(found: dict[str, Any], written: dict[str, Any]) -> None:
    """Keep the digits that a datetime has no room for, as `LogRecord` and `Span` do."""
    for field, clock in (("logs", "timestamp"), ("spans", "start")):
        for row, text in zip(found.get(field, ()), written.get(field, ()), strict=True):
            if isinstance(text[clock], str):
                row.setdefault("nanosecond", nanoseconds_beyond(text[clock]))


# --------------------------------------------------------------------------------------------------- cleaning

_ESCAPE_SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-_])")
_VARIABLE_PART = re.compile(r"\"[^\"\s]*\"|'[^'\s]*'|(?<![0-9A-Za-z])[A-Za-z]*[0-9][0-9A-Za-z]*")


def one_line(text: str) -> str:
    """The text without terminal escape sequences, and with a space for each character that cannot be printed
    on one line.
    """
    if text.isprintable():
        return text
    text = _ESCAPE_SEQUENCE.sub("", text)
    return "".join(char if char.isprintable() else " " for char in text).strip()


def masked(text: str) -> str:
    """The text with quoted single words and every word that has a digit in it blanked: lines with equal masks
    are alike.
    """
    return _VARIABLE_PART.sub("#", text)


def with_attributes(message: str, attributes: Mapping[str, Scalar]) -> str:
    """The message, and each attribute as name=value."""
    return message + "".join(f" {name}={value}" for name, value in attributes.items())


_EPOCH, _MILLISECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(milliseconds=1)
_LEVELS = {level.name: level.value for level in Level}
_ZEROS = bytes.maketrans(b"123456789", b"000000000")


def milliseconds(moment: datetime) -> int:
    """Since 1970, UTC."""
    return (moment - _EPOCH) // _MILLISECOND


# ------------------------------------------------------------------------------------------------------- rows


def log_rows(logs: Sequence[dict[str, Any]], number: int, first_row: int) -> list[tuple[Any, ...]]:
    """Rows of table logs, in time order."""
    kind_of = Kinds()
    times = [(log["timestamp"] - _EPOCH) // _MILLISECOND for log in logs]
    rows = []
    for row, place in enumerate(sorted(range(len(logs)), key=times.__getitem__), first_row):
        log = logs[place]
        get, service, level, text = log.get, log["service"], _LEVELS[log["level"]], log["message"]
        if get("attributes"):
            text = with_attributes(text, log["attributes"])
        if not text.isprintable():
            text = one_line(text)
        kind = kind_of[service, level, _digits_blank(text)]
        rows.append(
            (
                row,
                number,
                log["id"],
                times[place],
                service,
                level,
                text,
                get("trace_id"),
                get("span_id"),
                kind,
            )
        )
    return rows


def span_rows(spans: Sequence[dict[str, Any]], number: int, first_row: int) -> list[tuple[Any, ...]]:
    """Rows of table spans, in time order."""
    return [
        (
            *(row, number, span["trace_id"], span["span_id"], span.get("parent_span_id"), span["service"]),
            *(one_line(span["operation"]), milliseconds(span["start"]), span["duration_ms"], span["status"]),
        )
        for row, span in enumerate(sorted(spans, key=itemgetter("start")), first_row)
    ]


def _digits_blank(text: str) -> bytes:
    """A quick first step towards the mask: all texts with one result have one mask."""
    return text.encode().translate(_ZEROS).replace(b"0000", b"0").replace(b"00", b"0").replace(b"00", b"0")


@lru_cache(maxsize=65_536)
def _mask(digits_blank: bytes) -> str:
    return masked(digits_blank.decode())


class Kinds(dict[tuple[str, int, bytes], int]):
    """The kinds of lines of one scenario, numbered as they come: (service, level, `_digits_blank` of the
    text) → number.
    """

    def __init__(self) -> None:
        self._numbers: dict[tuple[str, int, str], int] = {}

    def __missing__(self, key: tuple[str, int, bytes]) -> int:
        service, level, digits_blank = key
        number = self._numbers.setdefault((service, level, _mask(digits_blank)), len(self._numbers))
        self[key] = number
        return number
