"""A scenario file as the rows a database takes: read, checked, cleaned to one line each, and alike lines numbered alike.

Rows are plain tuples, because a build handles millions of them and its time is the bar of `benchmarks/build.py`; whoever
wants a scenario with attributes calls `project_types.read_scenario`, which accepts and refuses the same files.
The tables they go into are in `build_logs`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from pathlib import Path
from typing import Annotated, Any, NotRequired

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter
from typing_extensions import TypedDict

from project_types import Level, LogRecord, Scalar, Scenario, Span, check_references, read_checked

# ---------------------------------------------------------------------------------------------------------------- reading


def _shape(model: type[BaseModel], **changed: Any) -> Any:
    """The model as a typed dict: the same JSON is accepted and refused, but a row costs no Python object with attributes."""
    fields = {
        name: annotation if field.is_required() else NotRequired[annotation]
        for name, field in model.model_fields.items()
        for annotation in [changed.get(name, field.rebuild_annotation())]
    }
    make: Any = TypedDict
    shape = make(model.__name__, fields)
    shape.__pydantic_config__ = ConfigDict(extra="forbid")
    return shape


def _holds_together(scenario: dict[str, Any]) -> dict[str, Any]:
    logs = scenario["logs"]
    traces = {row.get("trace_id") for row in logs} | {span["trace_id"] for span in scenario.get("spans", ())}
    check_references([row["id"] for row in logs], traces, scenario["services"], scenario["ground_truth"])
    return scenario


def _scenario_reader() -> TypeAdapter[dict[str, Any]]:
    many: Any = list
    annotated: Any = Annotated
    log, span = _shape(LogRecord, timestamp=AwareDatetime), _shape(Span, start=AwareDatetime)
    whole = _shape(Scenario, logs=annotated[many[log], Field(min_length=1)], spans=many[span])
    return TypeAdapter(annotated[whole, AfterValidator(_holds_together)])


_READER = _scenario_reader()


def read_rows(path: Path) -> dict[str, Any]:
    """The scenario in the file, as `project_types.Scenario` has it, its log lines and spans as dicts.

    Raises:
        ScenarioError: as `project_types.read_scenario` does.
    """
    return read_checked(path, _READER.validate_json)


# --------------------------------------------------------------------------------------------------------------- cleaning

_ESCAPE_SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-_])")
_VARIABLE_PART = re.compile(r"\"[^\"\s]*\"|'[^'\s]*'|(?<![0-9A-Za-z])[A-Za-z]*[0-9][0-9A-Za-z]*")


def one_line(text: str) -> str:
    """The text without terminal escape sequences, and with a space for each character that cannot be printed on one line."""
    if text.isprintable():
        return text
    text = _ESCAPE_SEQUENCE.sub("", text)
    return "".join(char if char.isprintable() else " " for char in text).strip()


def masked(text: str) -> str:
    """The text with quoted single words and every word that has a digit in it blanked: lines with equal masks are alike."""
    return _VARIABLE_PART.sub("#", text)


def with_attributes(message: str, attributes: Mapping[str, Scalar]) -> str:
    """The message, and each attribute as name=value."""
    return message + "".join(f" {name}={value}" for name, value in attributes.items())


_EPOCH, _MILLISECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(milliseconds=1)
_LEVELS = {level.name: level.value for level in Level}
_DIGITS_BLANK = bytes.maketrans(b"123456789", b"000000000")


def milliseconds(moment: datetime) -> int:
    """Since 1970, UTC."""
    return (moment - _EPOCH) // _MILLISECOND


# ------------------------------------------------------------------------------------------------------------------- rows


def log_rows(logs: Sequence[dict[str, Any]], number: int, first_row: int) -> list[tuple[Any, ...]]:
    """Rows of table logs, in time order."""
    kind_of = Kinds()
    times = [milliseconds(log["timestamp"]) for log in logs]
    rows = []
    for row, place in enumerate(sorted(range(len(logs)), key=times.__getitem__), first_row):
        log = logs[place]
        service, level, text = log["service"], log["level"], log["message"]
        if attributes := log.get("attributes"):
            text = with_attributes(text, attributes)
        if not text.isprintable():
            text = one_line(text)
        kind = kind_of(service, level, text)
        shown = log["id"], times[place], service, _LEVELS[level], text, log.get("trace_id"), log.get("span_id"), kind
        rows.append((row, number, *shown))
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


class Kinds:
    """Numbers the kinds of lines of one scenario. Texts that differ only in numbers have one mask, so most skip masking."""

    def __init__(self) -> None:
        self._by_digits: dict[tuple[str, str, bytes], int] = {}
        self._by_mask: dict[tuple[str, str, str], int] = {}

    def __call__(self, service: str, level: str, text: str) -> int:
        digits_blank = text.encode().translate(_DIGITS_BLANK)
        digits_blank = digits_blank.replace(b"0000", b"0").replace(b"00", b"0").replace(b"00", b"0")
        kind = self._by_digits.get((service, level, digits_blank))
        if kind is None:
            kind = self._by_mask.setdefault((service, level, masked(text)), len(self._by_mask))
            self._by_digits[service, level, digits_blank] = kind
        return kind
