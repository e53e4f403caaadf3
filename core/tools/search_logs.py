"""The tool `search_logs`: lines of one incident that match, one row for each kind of them.

A search never takes more tokens than the episode allows; what is left out is counted, and a cursor gets it.
"nothing matches" and "no such service" are answers. What the arguments mean is `core.log_stores.query`, which
lines match is the store's.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterator
from typing import Any

from pydantic import BaseModel

from core.log_stores.contract import Count, Kind, LogQuery
from core.log_stores.printing import Row, clip, clock_text, count, estimate_tokens, one_day, printed, when
from core.log_stores.query import Asked, NoSuchService, SearchArguments, asked
from core.tools.store_tool import StoreTool, page_start
from project_types import ToolInputError, ToolResult

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
        "Search the log lines of this incident. Lines that differ only in numbers and ids are one kind: the first is shown as "
        "'time level service xCOUNT message trace ID log ID'; what differs follows the count in braces. Worst level first, then "
        "the rarest kinds. All filters are optional and narrow the result. A result that was cut gives a cursor for the rest."
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
            return self._no_such_service(given.service)
        total = self.store.count(search.query)
        if not total.lines:
            return self._nothing(search)
        if start >= total.kinds:
            return self.answer(
                f"nothing after cursor={clip(str(start), 8)}: {count(total.kinds, 'kind')} in all match"
            )
        return self._page(search, total, start, min(given.limit or _MOST_KINDS, _MOST_KINDS))

    def _no_such_service(self, name: str) -> ToolResult:
        services = self.store.services()
        by_lower = {one.lower(): one for one in services}
        lowered = name.strip().lower()[:200]
        near = [by_lower[one] for one in difflib.get_close_matches(lowered, by_lower, n=1, cutoff=0.5)]
        hint = f"did you mean {near[0]}? " if near else ""
        return self.answer(f"no service {clip(json.dumps(name), 12)}.", f"{hint}services:", *services)

    def _page(self, search: Asked, total: Count, start: int, limit: int) -> ToolResult:
        most_rows = min(limit, self.budget_tokens // _LEAST_ROW_TOKENS, total.kinds - start)
        header = self._header(search, total, start)
        longest = max(estimate_tokens(header(shown)) for shown in (most_rows, max(1, most_rows - 1)))
        room = self.budget_tokens - longest
        most = self.most(most_rows)
        shown: list[tuple[Kind, Row]] = []
        for kind in self._kinds(search.query, start, start + most_rows):
            tokens = most if shown else min(most, room - 1)
            row = printed(self.store, kind, tokens, trace=True, words=search.query.words)
            if shown and row.tokens >= room:
                break
            room -= 1 + row.tokens
            shown.append((kind, row))
        text = [header(len(shown)), *(row.text for _, row in shown)]
        seen = [kind.first for kind, row in shown if row.shows_match]
        return self.result(
            text, room, (line.id for line in seen), (line.trace_id for line in seen if line.trace_id)
        )

    def _kinds(self, query: LogQuery, start: int, end: int) -> Iterator[Kind]:
        for offset in range(start, end, _AT_ONCE):
            yield from self.store.kinds(query, offset, min(_AT_ONCE, end - offset))

    def _header(self, search: Asked, total: Count, start: int) -> Callable[[int], str]:
        searched = clip(", ".join(search.told.values()), max(12, self.budget_tokens // 5))
        text = f"{count(total.lines, 'line')} in {count(total.kinds, 'kind')} match"
        text += f" ({searched})" if searched else ""
        stretch = self.store.stretch()
        if self.budget_tokens >= _ROOMY_TOKENS and stretch and one_day(stretch):
            text += f" on {when(stretch.first_us):%Y-%m-%d}"

        def header(shown: int) -> str:
            if shown == total.kinds:
                return text
            more = f", more: cursor={start + shown}" if start + shown < total.kinds else ""
            return f"{text}, {shown} shown{f' after {start}' if start else ''}{more}"

        return header

    def _nothing(self, search: Asked) -> ToolResult:
        """Says what was searched, what would match with one filter less, and which of the words occur at all."""
        store, words = self.store, search.query.words
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
