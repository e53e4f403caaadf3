"""The tool `read_trace`: one trace of an incident as a tree of spans and its log lines, within a token
budget.

A span is printed with its own time and with the gap to its caller. Below the tree stands the trail: which
calls lead to where the request fails or takes long. A trace that does not fit is cut from its least telling
end: failing spans stay before slow ones, slow before quick ones, each with the spans above it, and severe
lines before spans before mild lines. A cursor shows what was left out. The tree is `core.log_stores.traces`.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, Field

from core.log_stores.contract import Kind, Line, StoredSpan
from core.log_stores.id_prefix import SHORTEST
from core.log_stores.printing import Row, clip, clock_text, count, estimate_tokens, one_line, printed
from core.log_stores.query import Arguments, OptionalNumber
from core.log_stores.traces import Place, trail, tree
from core.tools.store_tool import StoreTool, page_start
from project_types import FAILED, Evidence, Level, ToolInputError, ToolResult

_WORST = "worst"
"""May stand for a trace id."""
_LONGEST_TRAIL = 8
"""Services of a trail that are printed, the last ones."""


class TraceArguments(Arguments):
    """Arguments of `read_trace`."""

    trace_id: Annotated[
        str,
        Field(
            description="The id printed after 'trace'; a unique beginning of it is enough. 'worst': the worst trace."
        ),
    ]
    cursor: Annotated[OptionalNumber, Field(description="Shows what an earlier result left out.")] = None


Lines = Sequence[tuple[Line, int]]
"""One line of each kind, and how many are alike."""


def worst_first(spans: Sequence[StoredSpan], places: dict[int, Place]) -> list[int]:
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


def _ranked(spans: Sequence[int], lines: Lines) -> list[tuple[bool, int]]:
    """Two spans, then one severe line, and so on; mild lines come last. Each is (is a line, number)."""
    by_level = sorted(range(len(lines)), key=lambda number: (-lines[number][0].level, number))
    severe = [number for number in by_level if lines[number][0].level >= Level.WARN]
    ranked = [(place, False, number) for place, number in enumerate(spans)]
    ranked += [(2 * place + 1, True, number) for place, number in enumerate(severe)]
    order = [(is_line, number) for _, is_line, number in sorted(ranked)]
    return order + [(True, number) for number in by_level[len(severe) :]]


class ReadTrace(StoreTool):
    """Shows one trace: its span tree and its log lines."""

    name = "read_trace"
    description = (
        "Show one trace: the tree of its spans (service, operation, duration, own time, gap to the "
        "caller, error or timeout), the trail of calls to where it fails or takes long, and its log lines in "
        "time order. A long trace is cut to its failing "
        "and slowest branch first; the cursor gets the rest."
    )
    arguments: type[BaseModel] = TraceArguments

    def answer_to(self, given: Any) -> ToolResult:
        """Show the trace. Raises ToolInputError for an id too short to look up or a negative cursor."""
        asked, start = given.trace_id.strip(), page_start(given.cursor)
        found = self.store.resolve("trace", asked)
        if len(asked) < SHORTEST and not found:
            raise ToolInputError(
                "trace_id: give the id printed after 'trace' in a row, at least its first 4 characters"
            )
        if not found and asked.lower() == _WORST:
            worst = self._worst(None)
            if worst is None:
                return self.answer("this incident has no spans; use search_logs.")
            found = [worst]
        if len(found) == 1:
            return self._show(found[0], start)
        return self._one_of(asked, found, start) if found else self._unclear(asked)

    def _worst(self, among: Sequence[str] | None) -> str | None:
        """The trace with a failing span or, without any, the slowest; among these or among all."""
        wanted = None if among is None else set(among)
        spans = [span for span in self.store.spans() if wanted is None or span.trace_id in wanted]
        worst = max(spans, key=lambda span: (span.status in FAILED, span.duration_ms), default=None)
        return worst.trace_id if worst else None

    def _one_of(self, asked: str, found: Sequence[str], start: int) -> ToolResult:
        """The worst of several traces that begin alike, or a list when none of them has spans."""
        told = f"{len(found)} traces begin with {clip(json.dumps(asked), 12)}"
        worst = self._worst(found)
        if worst is None:
            return self.answer(f"{told}:", *(self.store.short("trace", one) for one in found))
        return self._show(worst, start, note=f"{told}; the worst is ")

    def _unclear(self, asked: str) -> ToolResult:
        store, shown = self.store, clip(json.dumps(asked), 12)
        logs = store.resolve("log", asked)
        if len(logs) != 1:
            return self.answer(
                f"no trace {shown} in this incident.", "trace ids stand after 'trace' in rows of search_logs."
            )
        trace = store.around(logs[0], 0, 0)[0].trace_id
        return self.answer(
            f"{shown} is a log line of {'trace ' + store.short('trace', trace) if trace else 'no trace'}."
        )

    def _show(self, trace_id: str, start: int, note: str = "") -> ToolResult:
        spans, lines = self.store.trace(trace_id)
        places = tree(spans)
        order = _ranked(worst_first(spans, places), lines)
        if start >= len(order):
            return self.answer(
                f"nothing after cursor={clip(str(start), 8)}: the trace has {len(order)} parts"
            )
        head = _Head(note, self, trace_id, spans, lines, start)
        ends = [] if start else _trail(spans, places)
        room = self.budget_tokens - 2 - sum(map(estimate_tokens, [head.text(None), *ends]))
        shown: dict[tuple[bool, int], str] = {}
        for is_line, number in order[start:]:
            most = self.most(len(order) - start) if shown else min(self.most(len(order) - start), room - 1)
            row = self._line(lines[number], most) if is_line else branch(spans[number], places[number], most)
            if shown and row.tokens >= room:
                break
            room -= 1 + row.tokens
            shown[is_line, number] = row.text
        branches = sorted(
            (number for is_line, number in shown if not is_line), key=lambda number: places[number].order
        )
        rows = sorted(number for is_line, number in shown if is_line)
        text_lines = [head.text(list(shown)), *(shown[False, number] for number in branches), *ends]
        text_lines += ["lines", *(shown[True, number] for number in rows)] if rows else []
        seen = (Evidence(kind="span", id=spans[number].span_id) for number in branches)
        return self.result(text_lines, room, (lines[number][0].id for number in rows), (trace_id,), seen)

    def _line(self, line: tuple[Line, int], most: int) -> Row:
        """A line in print; a mild one may be half as long."""
        first, times = line
        room = most if first.level >= Level.WARN else max(most // 2, min(most, 40))
        return printed(self.store, Kind(first, times, (first.service,)), room, trace=False)


class _Head(NamedTuple):
    """The first line of a result."""

    note: str
    tool: ReadTrace
    trace_id: str
    spans: Sequence[StoredSpan]
    lines: Lines
    start: int

    def text(self, shown: Sequence[tuple[bool, int]] | None) -> str:
        """The line; with `shown` None the longest it can become."""
        head, parts = self._begin(), len(self.spans) + len(self.lines)
        start = self.start
        if shown is None:
            left = f"{len(self.spans)} spans and {len(self.lines)} lines left"
            return f"{head}, after cursor={start}, {left}, more: cursor={parts}"
        end = start + len(shown)
        head += f", after cursor={start}" if start else ""
        if end == parts:
            return head
        if start:
            return f"{head}, more: cursor={end}"
        left_out = {
            "span": len(self.spans) - sum(not is_line for is_line, _ in shown),
            "line": len(self.lines) - sum(is_line for is_line, _ in shown),
        }
        rest = " and ".join(count(number, thing) for thing, number in left_out.items() if number)
        return f"{head}, {rest} left, more: cursor={end}"

    def _begin(self) -> str:
        store = self.tool.store
        head = f"{self.note}trace {store.short('trace', self.trace_id)}: "
        if self.spans:
            first_us = min(span.start_us for span in self.spans)
            took = max(span.start_us / 1000 + span.duration_ms for span in self.spans) - first_us / 1000
            when = clock_text(first_us, store.stretch())
            return f"{head}{count(len(self.spans), 'span')}, {took:.0f} ms from {when}"
        total = sum(times for _, times in self.lines)
        return f"{head}no spans, {count(total, 'line')} from {clock_text(self.lines[0][0].at_us, store.stretch())}"


def _trail(spans: Sequence[StoredSpan], places: dict[int, Place]) -> list[str]:
    """The line that says where a request fails or takes long, end first: who reads on knows it at once."""
    passed = [spans[number].service for number in trail(spans, places)]
    services = [name for name, _ in itertools.groupby(passed)]
    if not services:
        return []
    begin = "... > " if len(services) > _LONGEST_TRAIL else ""
    return [f"the trail ends at {services[-1]}: {begin}{' > '.join(services[-_LONGEST_TRAIL:])}"]


def branch(span: StoredSpan, place: Place, room_tokens: int) -> Row:
    """Print the span's line in the tree."""
    indent = "  " * place.depth
    if place.depth > room_tokens // 3:  # two spaces are a token
        indent = f"{'  ' * (room_tokens // 3)}({place.depth}) "
    tail = f" {span.duration_ms:.0f} ms{_times(place)}"
    tail += f" {span.status}" if span.status in FAILED else ""
    tail += " (parent missing)" if place.parent is None and span.parent_span_id else ""
    room = room_tokens - estimate_tokens(f"{indent}{span.service}{tail}")
    text = f"{indent}{span.service} {clip(one_line(span.operation), room)}{tail}"
    return Row(text, estimate_tokens(text), True)


def _times(place: Place) -> str:
    """Own time where others worked too, and the gap to the caller where there is one, in milliseconds."""
    own = f"own {place.own_ms:.0f}" if place.calls else ""
    gap = f"gap {place.gap_ms:.0f}" if place.gap_ms and place.gap_ms >= 0.5 else ""
    told = ", ".join(part for part in (own, gap) if part)
    return f" ({told})" if told else ""
