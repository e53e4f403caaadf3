"""The tool `read_trace`: one trace of an incident as a tree of spans and its log lines, within a token
budget.

A trace that does not fit is cut from its least telling end: failing spans stay before slow ones, slow before
quick ones, each with the spans above it, and severe lines before mild ones. A cursor shows what was left out.
Spans whose parent is missing, or that call each other in a circle, are shown as roots. Searching lines is
`log_search_tools`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, Field

from core.log_stores.printing import (
    Arguments,
    Line,
    OptionalNumber,
    SceneTool,
    clip,
    count,
    estimate_tokens,
    one_line,
    page_start,
    printed,
)
from project_types import FAILED, ToolInputError, ToolResult

_DEEPEST_INDENT = 8


class TraceArguments(Arguments):
    """Arguments of `read_trace`."""

    trace_id: Annotated[
        str, Field(description="The id printed after 'trace'; a unique beginning of it is enough.")
    ]
    cursor: Annotated[OptionalNumber, Field(description="Shows what an earlier result left out.")] = None


class Span(NamedTuple):
    """A span of the database."""

    span_id: str
    parent_span_id: str | None
    service: str
    operation: str
    start_ms: int
    duration_ms: float
    status: str


class Place(NamedTuple):
    """Where a span stands in the printed tree; `parent` is a position in the list of spans."""

    order: int
    depth: int
    parent: int | None


def tree(spans: Sequence[Span]) -> dict[int, Place]:
    """A place for every span, by its position in `spans` (start order).

    A span whose parent is unknown or itself is a root; so is the earliest span of a circle.
    """
    by_id = {span.span_id: number for number, span in reversed(list(enumerate(spans)))}
    children: dict[int | None, list[int]] = {}
    for number, span in enumerate(spans):
        parent = by_id.get(span.parent_span_id) if span.parent_span_id else None
        children.setdefault(None if parent == number else parent, []).append(number)
    places: dict[int, Place] = {}
    for start in [*children.get(None, []), *range(len(spans))]:
        waiting: list[tuple[int, int, int | None]] = [(start, 0, None)]
        while waiting:
            number, depth, above = waiting.pop()
            if number in places:
                continue
            places[number] = Place(len(places), depth, above)
            waiting += [(child, depth + 1, number) for child in reversed(children.get(number, []))]
    return places


def worst_first(spans: Sequence[Span], places: dict[int, Place]) -> list[int]:
    """Every span, failing ones first, then the slowest; each after the spans above it, so that any beginning
    is a tree.
    """
    order: dict[int, None] = {}
    for worst in sorted(
        places, key=lambda n: (spans[n].status not in FAILED, -spans[n].duration_ms, places[n].order)
    ):
        branch = []
        number: int | None = worst
        while number is not None and number not in order:
            branch.append(number)
            number = places[number].parent
        order.update(dict.fromkeys(reversed(branch)))
    return list(order)


def _interleaved(spans: Sequence[int], lines: Sequence[int]) -> list[tuple[bool, int]]:
    """Two spans, then one line, and so on: whatever is cut, a result holds some of both. Each is (is a line,
    number).
    """
    ranked = [(place, False, number) for place, number in enumerate(spans)]
    ranked += [(2 * place + 1, True, number) for place, number in enumerate(lines)]
    return [(is_line, number) for _, is_line, number in sorted(ranked)]


class ReadTrace(SceneTool):
    """Shows one trace: its span tree and its log lines."""

    name = "read_trace"
    description = (
        "Show one trace: the tree of its spans (service, operation, duration, error or timeout) and its log lines in time order. "
        "A long trace is cut to its failing and slowest branch first; the cursor gets the rest."
    )
    arguments: type[BaseModel] = TraceArguments

    async def run(self, arguments: Any) -> ToolResult:
        """Show the trace. Raises ToolInputError for an id too short to look up or a negative cursor."""
        given = TraceArguments.model_validate(arguments)
        asked, start = given.trace_id.strip(), page_start(given.cursor)
        found = self.scene.candidates("trace", asked)
        if len(asked) < 4 and not found:
            raise ToolInputError(
                "trace_id: give the id printed after 'trace' in a row, at least its first 4 characters"
            )
        return self._show(found[0], start) if len(found) == 1 else self._unclear(asked, found)

    def _unclear(self, asked: str, found: Sequence[str]) -> ToolResult:
        scene, shown = self.scene, clip(json.dumps(asked), 12)
        if found:
            return self.answer(
                f"{len(found)} traces begin with {shown}:", *(scene.short("trace", one) for one in found)
            )
        logs = scene.candidates("log", asked)
        if len(logs) != 1:
            return self.answer(
                f"no trace {shown} in this incident.", "trace ids stand after 'trace' in rows of search_logs."
            )
        query = "SELECT trace_id FROM logs WHERE row BETWEEN ? AND ? AND id = ?"
        trace = scene.rows(query, *scene.log_range, logs[0])[0][0]
        return self.answer(
            f"{shown} is a log line of {'trace ' + scene.short('trace', trace) if trace else 'no trace'}."
        )

    def _show(self, trace_id: str, start: int) -> ToolResult:
        spans, lines = self._spans(trace_id), self._lines(trace_id)
        places = tree(spans)
        order = _interleaved(
            worst_first(spans, places), sorted(range(len(lines)), key=lambda n: (-lines[n].level, n))
        )
        if start >= len(order):
            return self.answer(
                f"nothing after cursor={clip(str(start), 8)}: the trace has {len(order)} parts"
            )
        room = self.budget_tokens - 2 - estimate_tokens(self._head(trace_id, spans, lines, start, None))
        shown: dict[tuple[bool, int], str] = {}
        for is_line, number in order[start:]:
            most = self.most(len(order) - start) if shown else min(self.most(len(order) - start), room - 1)
            if is_line:
                text, tokens = printed(self.scene, lines[number], most, trace=False)
            else:
                text, tokens = _branch(spans[number], places[number], most)
            if shown and tokens >= room:
                break
            room -= 1 + tokens
            shown[is_line, number] = text
        branches = sorted(
            (number for is_line, number in shown if not is_line), key=lambda number: places[number].order
        )
        rows = sorted(number for is_line, number in shown if is_line)
        text_lines = [
            self._head(trace_id, spans, lines, start, list(shown)),
            *(shown[False, number] for number in branches),
        ]
        text_lines += ["lines", *(shown[True, number] for number in rows)] if rows else []
        return self.result(text_lines, room, (lines[number].id for number in rows), (trace_id,))

    def _spans(self, trace_id: str) -> list[Span]:
        query = (
            "SELECT span_id, parent_span_id, service, operation, start_ms, duration_ms, status FROM spans "
            "WHERE row BETWEEN ? AND ? AND trace_id = ? ORDER BY row"
        )
        return [Span(*row) for row in self.scene.rows(query, *self.scene.span_range, trace_id)]

    def _lines(self, trace_id: str) -> list[Line]:
        """One line of each kind, in time order (rows are)."""
        query = (
            "SELECT min(row), id, at_ms, service, level, text, trace_id, count(*) FROM logs "
            "WHERE row BETWEEN ? AND ? AND trace_id = ? GROUP BY kind ORDER BY min(row)"
        )
        return [Line(*row) for row in self.scene.rows(query, *self.scene.log_range, trace_id)]

    def _head(
        self,
        trace_id: str,
        spans: Sequence[Span],
        lines: Sequence[Line],
        start: int,
        shown: Sequence[tuple[bool, int]] | None,
    ) -> str:
        """The first line of the result; with `shown` None the longest it can become."""
        head, parts = f"trace {self.scene.short('trace', trace_id)}: ", len(spans) + len(lines)
        if spans:
            first_ms = min(span.start_ms for span in spans)
            took = max(span.start_ms + span.duration_ms for span in spans) - first_ms
            head += f"{count(len(spans), 'span')}, {took:.0f} ms from {self.scene.clock(first_ms)}"
        else:
            head += f"no spans, {count(sum(line.times for line in lines), 'line')} from {self.scene.clock(lines[0].at_ms)}"
        if shown is None:
            return f"{head}, after cursor={start}, {len(spans)} spans and {len(lines)} lines left, more: cursor={parts}"
        end = start + len(shown)
        head += f", after cursor={start}" if start else ""
        if end == parts:
            return head
        if start:
            return f"{head}, more: cursor={end}"
        left = {
            "span": len(spans) - sum(not is_line for is_line, _ in shown),
            "line": len(lines) - sum(x for x, _ in shown),
        }
        rest = " and ".join(count(number, thing) for thing, number in left.items() if number)
        return f"{head}, {rest} left, more: cursor={end}"


def _branch(span: Span, place: Place, room_tokens: int) -> tuple[str, int]:
    """The span's line in the tree, and its tokens."""
    indent = "  " * min(place.depth, _DEEPEST_INDENT)
    tail = f" {span.duration_ms:.0f} ms" + (f" {span.status}" if span.status in FAILED else "")
    tail += " (parent missing)" if place.parent is None and span.parent_span_id else ""
    room = room_tokens - estimate_tokens(f"{indent}{span.service}{tail}")
    text = f"{indent}{span.service} {clip(one_line(span.operation), room)}{tail}"
    return text, estimate_tokens(text)
