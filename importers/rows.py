"""What an importer makes of a source: rows in the words of an incident, with clocks in nanoseconds.

They are plain tuples, because there are millions of them. `draft` checks and writes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from project_types import LevelName, Scalar

NO_ATTRIBUTES: Mapping[str, Scalar] = {}
MOST_ATTRIBUTES = 24
MOST_LETTERS = 2000
"""Of one attribute; a message may be longer."""


class LogRow(NamedTuple):
    """A log line."""

    at_ns: int | None
    """Nanoseconds since 1970, UTC; None where the line has no clock."""
    service: str
    level: LevelName
    message: str
    trace_id: str | None = None
    span_id: str | None = None
    attributes: Mapping[str, Scalar] = NO_ATTRIBUTES


class SpanRow(NamedTuple):
    """A span."""

    trace_id: str
    span_id: str
    parent_span_id: str | None
    service: str
    operation: str
    start_ns: int
    duration_ns: int
    status: str
    """ok, error, timeout or unknown."""


class EventRow(NamedTuple):
    """What a cluster says of an object."""

    at_ns: int | None
    first_ns: int | None
    service: str
    object: str
    reason: str
    message: str
    warning: bool
    times: int


def as_attributes(fields: Mapping[str, Any]) -> Mapping[str, Scalar]:
    """Return the fields that an attribute can hold; a nested field as `outer.inner`."""
    found: dict[str, Scalar] = {}
    for name, value in fields.items():
        if isinstance(value, str):
            found[name] = value[:MOST_LETTERS]
        elif isinstance(value, Mapping):
            found.update({f"{name}.{inner}": one for inner, one in as_attributes(value).items()})
        elif isinstance(value, bool | int | float):
            found[name] = value
        elif isinstance(value, list) and value:
            found[name] = str(value)[:MOST_LETTERS]
        if len(found) >= MOST_ATTRIBUTES:
            break
    return found
