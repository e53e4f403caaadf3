"""The tool `search_logs`: lines of one incident that match, one row for each kind of them.

A search never takes more tokens than the episode allows; what is left out is counted, and a cursor gets it.
"nothing matches" and "no such service" are answers. What the arguments mean is `core.log_stores.query`, which
lines match is the store's.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

from pydantic import BaseModel

from core.log_stores.contract import Count, Kind, LogQuery
from core.log_stores.printing import clip, clock_text, count, one_day, printed, when
from core.log_stores.query import Asked, NoSuchService, SearchArguments, asked
from core.tools.store_tool import StoreTool, no_such_service, page_start
from project_types import Level, ToolInputError, ToolResult

_MOST_KINDS = 1000
_LEAST_ROW_TOKENS = 8
"""No row takes less: an id, a time, a level, a service."""
_ROOMY_TOKENS = 400
"""From this budget on a search says its date even when the incident has only one."""
_AT_ONCE = 12
"""Kinds asked of the store at a time, until the page is full."""


class SearchLogs(StoreTool):
    """Finds log lines of one incident and shows one of each kind."""

    name = "search_logs"
    description = (
        "Search the log lines of this incident. Lines that differ only in numbers and ids are one kind: "
        "the first is shown as 'time level service xCOUNT message trace ID log ID'; what differs follows "
        "the count in braces. Worst level first, then the rarest kinds. All filters are optional and "
        "narrow the result. A result that was cut gives a cursor for the rest."
    )
    arguments: type[BaseModel] = SearchArguments

    def answer_to(self, given: Any) -> ToolResult:
        """Search. Raises ToolInputError for a level, a time, a limit, a cursor or keywords it cannot use."""
        start = page_start(given.cursor)
        if given.limit is not None and given.limit < 1:
            raise ToolInputError(
                f"limit={clip(str(given.limit), 8)}: must be 1 or more; leave it out to see all that fits"
            )
        try:
            search = asked(given, self.store)
        except NoSuchService:
            return self.answer(*no_such_service(given.service, self.store.services()))
        total = self.store.count(search.query)
        if not total.lines:
            return self._nothing(search)
        if start >= total.kinds:
            return self.answer(
                f"nothing after cursor={clip(str(start), 8)}: {count(total.kinds, 'kind')} in all match"
            )
        return self._page(search, total, start, min(given.limit or _MOST_KINDS, _MOST_KINDS))

    def _page(self, search: Asked, total: Count, start: int, limit: int) -> ToolResult:
        most_rows = min(limit, self.budget_tokens // _LEAST_ROW_TOKENS, total.kinds - start)
        words = search.query.words
        page = self.page(
            self.header(self._found(search, total), total.kinds, start),
            self._kinds(search.query, start, start + most_rows),
            most_rows,
            lambda kind, room: printed(self.store, kind, room, trace=True, words=words),
        )
        seen = [kind.first for kind, row in page.shown if row.shows_match]
        traces = (line.trace_id for line in seen if line.trace_id)
        return self.result(page.lines, page.room_left, (line.id for line in seen), traces)

    def _kinds(self, query: LogQuery, start: int, end: int) -> Iterator[Kind]:
        for offset in range(start, end, _AT_ONCE):
            yield from self.store.kinds(query, offset, min(_AT_ONCE, end - offset))

    def _found(self, search: Asked, total: Count) -> str:
        searched = clip(", ".join(search.told.values()), max(12, self.budget_tokens // 5))
        text = f"{count(total.lines, 'line')} in {count(total.kinds, 'kind')} match"
        text += f" ({searched})" if searched else ""
        if hidden := self._without_level(search):
            text += f", {count(hidden, 'line')} without a level left out"
        stretch = self.store.stretch()
        if self.budget_tokens >= _ROOMY_TOKENS and stretch and one_day(stretch):
            text += f" on {when(stretch.first_us):%Y-%m-%d}"
        return text

    def _without_level(self, search: Asked) -> int:
        """How many lines `min_level` left out because nobody knows how severe they are."""
        if search.query.min_level is None or not self._has_unknown:
            return 0
        tallies = self.store.tally(search.without("min_level"))
        return sum(one.times for one in tallies if one.level == Level.UNKNOWN)

    @cached_property
    def _has_unknown(self) -> bool:
        return any(one.level == Level.UNKNOWN for one in self.store.tally(LogQuery()))

    def _nothing(self, search: Asked) -> ToolResult:
        """Says what was searched, what would match with one filter less, and which
        of the words occur at all.
        """
        store, words = self.store, search.query.words
        if not search.told:
            return self.answer("this incident has no lines; look at its traces, spans or metrics.")
        searched = ", ".join(search.told.values())
        parts = [clip(f"no lines match ({searched}).", self.budget_tokens // 2)]
        for name in search.told if len(search.told) > 1 else ():
            if lines := store.count(search.without(name)).lines:
                parts.append(f"without {name}: {count(lines, 'line')}.")
        for word in words if len(words) > 1 else ():
            lines = store.count(LogQuery(words=(word,))).lines
            parts.append(f"{clip(word, 6)}: {count(lines, 'line')}.")
        for word in words:
            if trace := self.resolve("trace", word):
                parts.append(f"{store.short('trace', trace)} is a trace; use read_trace.")
        if stretch := store.stretch():
            first, last = (clock_text(at_us, stretch) for at_us in stretch)
            parts.append(f"lines run from {first} to {last}.")
        return self.answer(*parts)
