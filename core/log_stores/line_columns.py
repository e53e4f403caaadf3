"""Log lines by column: cleaned, in time order, each with its mask, ready to be numbered and stored.

A build and an ingestion handle millions of lines, and their time is a bar of `benchmarks/build.py` and
`benchmarks/testrun.py`. So what can be done to a whole column at once is done so. The columns hold plain
values only, which another process can send. Which numbers the lines get in a database is decided by
`log_rows` alone; the tables are `core.log_stores.tables`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import compress, count, islice, repeat
from operator import le
from typing import Any, NamedTuple

from core.log_stores.families import families
from core.log_stores.masks import mask_keys, mask_of_key
from core.log_stores.ordering import in_time_order
from core.log_stores.scenario_rows import event_logs, microseconds, one_line, with_attributes
from project_types import Event, Level, LogRecord

LogRow = tuple[int, int, str, int, int, str, int, str, str | None, str | None, int]
"""row, scenario, id, at_us, has_clock, service, level, text, trace_id, span_id, kind"""
LEVEL_VALUES = {level.name: level.value for level in Level}


class LineColumns(NamedTuple):
    """Log lines in time order. All columns but the last have one value a line."""

    ids: Sequence[str]
    at_us: Sequence[int]
    has_clock: Sequence[int]
    services: Sequence[str]
    levels: Sequence[int]
    texts: Sequence[str]
    trace_ids: Sequence[str | None]
    span_ids: Sequence[str | None]
    alike: Sequence[int]
    """The place of a line's mask in `masks`."""
    masks: Sequence[tuple[int, str]]
    """Every (level, mask) of these lines, in the order they come."""

    def clocks(self) -> list[int]:
        """Return when the lines with a clock of their own were, in order."""
        return list(compress(self.at_us, self.has_clock))


def as_columns(logs: Iterable[LogRecord] | LineColumns, events: Iterable[Event] = ()) -> LineColumns:
    """Return what a store is given as columns. Columns stay as they are, and come without events."""
    if isinstance(logs, LineColumns):
        return logs
    return line_columns([*map(vars, logs), *event_logs(events)])


class SourceColumns(NamedTuple):
    """Log lines as a source has them, in its order, one value a line."""

    ids: Sequence[str]
    moments: Sequence[datetime | None]
    services: Sequence[str]
    levels: Sequence[int]
    texts: Sequence[str]
    trace_ids: Sequence[str | None]
    span_ids: Sequence[str | None]


class _Order(NamedTuple):
    places: Sequence[int] | None
    """Where each line, in time order, stands in its source; None when the source is in time order."""
    at_us: Sequence[int]
    """Microseconds of each line, in time order."""


def line_columns(logs: Sequence[Mapping[str, Any]]) -> LineColumns:
    """Return lines as `scenario_rows.read_rows` gives them, or the fields of LogRecords, by column."""
    texts = [log["message"] for log in logs]
    attributes = [log.get("attributes") for log in logs]
    if any(attributes):
        pairs = zip(texts, attributes, strict=True)
        texts = [with_attributes(text, named) if named else text for text, named in pairs]
    source = SourceColumns(
        [log["id"] for log in logs],
        [log["timestamp"] for log in logs],
        [log["service"] for log in logs],
        [LEVEL_VALUES[log["level"]] for log in logs],
        texts,
        [log.get("trace_id") for log in logs],
        [log.get("span_id") for log in logs],
    )
    sequences = [log.get("sequence") for log in logs]
    odd_clocks = None in source.moments or any(log.get("nanosecond") for log in logs)
    if odd_clocks or not _as_placed(sequences):
        return _arranged(source, _exact_order(logs, sequences))
    return _arranged(source, _quick_order(source.moments))


def source_columns(source: SourceColumns) -> LineColumns:
    """Return lines by column. A line without a clock is as old as its neighbour."""
    if None in source.moments:
        clocks = [None if at is None else microseconds(at) for at in source.moments]
        placed = in_time_order(clocks)
        return _arranged(source, _Order([place for place, _ in placed], [at for _, at in placed]))
    return _arranged(source, _quick_order(source.moments))


def _as_placed(sequences: Sequence[int | None]) -> bool:
    """Whether the lines stand in the order of their source."""
    given = [one for one in sequences if one is not None]
    return not given or (len(given) == len(sequences) and given == sorted(given))


def _exact_order(logs: Sequence[Mapping[str, Any]], sequences: Sequence[int | None]) -> _Order:
    nanoseconds = [
        None if log["timestamp"] is None else microseconds(log["timestamp"]) * 1000 + log.get("nanosecond", 0)
        for log in logs
    ]
    placed = in_time_order(nanoseconds, sequences)
    return _Order([place for place, _ in placed], [at_ns // 1000 for _, at_ns in placed])


def _quick_order(moments: Iterable[Any]) -> _Order:
    """Order lines that all have a plain clock: the same, several times as fast."""
    clocks = list(map(microseconds, moments))
    if all(map(le, clocks, islice(clocks, 1, None))):
        return _Order(None, clocks)
    places = sorted(range(len(clocks)), key=clocks.__getitem__)
    return _Order(places, list(map(clocks.__getitem__, places)))


def _arranged(source: SourceColumns, order: _Order) -> LineColumns:
    if order.places is not None:
        source = SourceColumns._make(_picked(column, order.places) for column in source)
    ids, moments, services, levels, texts, trace_ids, span_ids = source
    if not all(map(str.isprintable, texts)):
        texts = list(map(one_line, texts))
    masks = _Masks()
    return LineColumns(
        ids,
        order.at_us,
        [int(moment is not None) for moment in moments],
        services,
        levels,
        texts,
        trace_ids,
        span_ids,
        list(map(masks.__getitem__, zip(levels, mask_keys(texts), strict=True))),
        list(masks.places),
    )


def _picked(column: Sequence[Any], places: Iterable[int]) -> list[Any]:
    return [column[place] for place in places]


class _Masks(dict[tuple[int, bytes], int]):
    """(level, key of a text) → the place of its mask among the masks met so far."""

    def __init__(self) -> None:
        self.places: dict[tuple[int, str], int] = {}

    def __missing__(self, key: tuple[int, bytes]) -> int:
        level, letters = key
        self[key] = self.places.setdefault((level, mask_of_key(letters)), len(self.places))
        return self[key]


# ---------------------------------------------------------------------------------------------------- numbers


def log_rows(
    lines: LineColumns,
    number: int,
    first_row: int,
    services: Iterable[str] = (),
    kinds: Kinds | None = None,
) -> list[LogRow]:
    """Return rows of table logs, in time order.

    Args:
        number: the incident's.
        first_row: the number of the first row.
        services: names that are no varying part of a line.
        kinds: goes on numbering where an earlier call stopped.
    """
    known = Kinds() if kinds is None else kinds
    numbers = known.numbered(lines.masks, {*services, *lines.services})
    *columns, alike, _ = lines
    kind_of_line = map(numbers.__getitem__, alike)
    return list(zip(count(first_row), repeat(number), *columns, kind_of_line))


def _shape_of(mask: tuple[int, str]) -> tuple[int, int]:
    return mask[0], mask[1].count(" ")


class Kinds:
    """The kinds of lines of one incident, numbered as they come."""

    def __init__(self, known: Mapping[tuple[int, str], int] | None = None) -> None:
        self.numbers: dict[tuple[int, str], int] = dict(known or {})
        """(level, mask) → number; masks of one family share it."""
        self._next = max(self.numbers.values(), default=-1) + 1
        self._fixed = self._next

    def numbered(self, masks: Sequence[tuple[int, str]], services: Iterable[str]) -> list[int]:
        """Return the number of each mask. New ones get one, and those of a family the same."""
        for mask in masks:
            if mask not in self.numbers:
                self.numbers[mask] = self._next
                self._next += 1
        self._join(services)
        return [self.numbers[mask] for mask in masks]

    def _join(self, services: Iterable[str]) -> None:
        fresh = {_shape_of(mask) for mask, number in self.numbers.items() if number >= self._fixed}
        # masks join masks of their own length only, so the others need not be looked at again
        for mask, chief in families((m for m in self.numbers if _shape_of(m) in fresh), services).items():
            if self.numbers[mask] >= self._fixed:
                self.numbers[mask] = self.numbers[chief]
