"""The tool `read_log`: one line in full, with the lines around it.

A search cuts long messages; this shows all of one, in pieces where even a whole result has no room for it.
The neighbours are those in time, whoever wrote them.
"""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import BaseModel, Field

from core.log_stores.contract import Kind, Line
from core.log_stores.id_prefix import SHORTEST
from core.log_stores.printing import Row, clip, count, estimate_tokens, one_line, printed
from core.log_stores.query import Arguments, OptionalNumber
from core.tools.store_tool import StoreTool, page_start
from project_types import ToolInputError, ToolResult

_MOST_NEIGHBOURS = 50
_NEIGHBOURS = 3


class ReadLogArguments(Arguments):
    """Arguments of `read_log`."""

    id: Annotated[str, Field(description="The id printed after 'log'; a unique beginning of it is enough.")]
    before: Annotated[OptionalNumber, Field(description="Lines before it to show; 3 if left out.")] = None
    after: Annotated[OptionalNumber, Field(description="Lines after it to show; 3 if left out.")] = None
    cursor: Annotated[
        OptionalNumber, Field(description="Goes on inside a message that was too long for one result.")
    ] = None


class ReadLog(StoreTool):
    """Shows one line in full, and its neighbours."""

    name = "read_log"
    description = (
        "Show one log line in full and the lines around it in time, whoever wrote them. A message too "
        "long for one result gives a cursor for the rest."
    )
    arguments: type[BaseModel] = ReadLogArguments

    def answer_to(self, given: Any) -> ToolResult:
        """Show the line. Raises ToolInputError for an id too short to look up or a negative number."""
        asked, start = given.id.strip(), page_start(given.cursor)
        before, after = (self._neighbours(name, getattr(given, name)) for name in ("before", "after"))
        found = self.store.resolve("log", asked)
        if len(asked) < SHORTEST and not found:
            raise ToolInputError(
                "id: give the id printed after 'log' in a row, at least its first 4 characters"
            )
        if len(found) != 1:
            return self._unclear(asked, len(found))
        if start:
            return self._rest(self.store.around(found[0], 0, 0)[0], start)
        return self._with_neighbours(found[0], before, after)

    def _neighbours(self, name: str, number: int | None) -> int:
        if number is not None and not 0 <= number <= _MOST_NEIGHBOURS:
            raise ToolInputError(f"{name}={clip(str(number), 8)}: must be 0 to {_MOST_NEIGHBOURS}")
        return _NEIGHBOURS if number is None else number

    def _unclear(self, asked: str, found: int) -> ToolResult:
        shown = clip(json.dumps(asked), 12)
        if found:
            return self.answer(f"{found} lines begin with {shown}; give more of the id.")
        hint = "it is a trace; use read_trace." if self.resolve("trace", asked) else ""
        return self.answer(f"no line {shown} in this incident.", hint or "ids stand after 'log' in rows.")

    def _with_neighbours(self, log_id: str, before: int, after: int) -> ToolResult:
        lines = list(self.store.around(log_id, before, after))
        at = next(place for place, line in enumerate(lines) if line.id == log_id)
        head = f"log {self.store.short('log', log_id)} with {at} before and {count(len(lines) - at - 1, 'line')} after"
        # the line itself comes first, its neighbours share what it leaves
        longest = f"{head}, 99 left out, more: cursor={len(lines[at].text)}"
        room = self.budget_tokens - estimate_tokens(longest)
        spare = 0 if len(lines) == 1 else min(room // 3, 40 * (len(lines) - 1))
        whole, shown_to = self._piece(lines[at], 0, room - spare - 1)
        room -= 1 + whole.tokens
        rows = {at: whole}
        for place in sorted(range(len(lines)), key=lambda place: abs(place - at)):
            if place == at:
                continue
            row = self._row(lines[place], max(room // max(1, len(lines) - len(rows)), 20))
            if row.tokens >= room:
                break
            room -= 1 + row.tokens
            rows[place] = row
        left_out = len(lines) - len(rows)
        head += f", {left_out} left out" if left_out else ""
        head += f", more: cursor={shown_to}" if shown_to < len(lines[at].text) else ""
        seen = [lines[place] for place in rows]
        text = [head, *(rows[place].text for place in sorted(rows))]
        traces = (line.trace_id for line in seen if line.trace_id)
        return self.result(text, room, (line.id for line in seen), traces)

    def _row(self, line: Line, room: int) -> Row:
        return printed(self.store, Kind(line, 1, (line.service,)), room, trace=True)

    def _piece(self, line: Line, start: int, room: int) -> tuple[Row, int]:
        """A part of a message from a place on, with all that belongs to the row, and where it ends."""
        text = line.text[start:]
        overhead = self._row(line._replace(text=""), room).tokens
        while True:
            row = self._row(line._replace(text=one_line(text)), 1_000_000)
            if row.tokens <= room or len(text) <= 20:
                return row, start + len(text)
            # a token is at least one character long
            share = max(0.1, (room - overhead) / max(1, row.tokens - overhead))
            text = text[: max(20, min(len(text) - 1, int(len(text) * share)))]

    def _rest(self, line: Line, start: int) -> ToolResult:
        if start >= len(line.text):
            return self.answer(
                f"nothing after cursor={clip(str(start), 8)}: the message has {len(line.text)} letters"
            )
        head = f"log {self.store.short('log', line.id)} from letter {start}"
        room = self.budget_tokens - estimate_tokens(f"{head}, more: cursor={len(line.text)}") - 1
        row, end = self._piece(line, start, room)
        head += f", more: cursor={end}" if end < len(line.text) else ""
        return self.result([head, row.text], room - row.tokens, (line.id,))
