"""What the tools of one episode have in common: a store, a budget of tokens, pages and cursors.

A tool is bound to one incident when it is made, so no argument can reach another one.
"""

from __future__ import annotations

import asyncio
import difflib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import BaseModel

from core.log_stores.contract import IdKind, LogStore
from core.log_stores.printing import Row
from core.log_stores.scenario_rows import FIRST_OCCURRENCE
from core.log_stores.token_budget import as_room_allows, clip, estimate_tokens
from project_types import Evidence, ToolInputError, ToolResult

Item = TypeVar("Item")


@dataclass(frozen=True)
class Page(Generic[Item]):
    """What one result has room for."""

    lines: Sequence[str]
    """The header, and a line for each item."""
    shown: Sequence[tuple[Item, Row]]
    room_left: int


class StoreTool:
    """A tool over a log store. A subclass says what it is called and what it answers."""

    name: str
    description: str
    arguments: type[BaseModel]

    def __init__(self, store: LogStore, budget_tokens: int) -> None:
        self.store, self.budget_tokens = store, budget_tokens

    async def run(self, arguments: Any) -> ToolResult:
        """Answer. Raises ToolInputError for arguments that make no sense."""
        given = self.arguments.model_validate(arguments)
        if self.store.remote:  # other episodes go on meanwhile
            return await asyncio.to_thread(self.answer_to, given)
        return self.answer_to(given)

    def answer_to(self, given: Any) -> ToolResult:
        """Answer checked arguments."""
        raise NotImplementedError

    def resolve(self, kind: IdKind, shown: str) -> str | None:
        """The full id that `shown` (an id or a unique prefix of one) stands for in this incident, or None."""
        found = self.store.resolve(kind, shown)
        return found[0].removesuffix(FIRST_OCCURRENCE) if len(found) == 1 else None

    def most(self, rows: int) -> int:
        """The tokens one of so many rows may take: a long one leaves room for others, unless it is alone."""
        return max(self.budget_tokens // 3, 40) if rows > 1 else self.budget_tokens

    def header(self, text: str, total: int, start: int) -> Callable[[int], str]:
        """The first line of a result, for any number of rows shown: how many there
        are, and how to get the rest.
        """

        def header(shown: int) -> str:
            if shown == total:
                return text
            more = f", more: cursor={start + shown}" if start + shown < total else ""
            return f"{text}, {shown} shown{f' after {start}' if start else ''}{more}"

        return header

    def page(
        self,
        header: Callable[[int], str],
        items: Iterable[Item],
        most_rows: int,
        print_one: Callable[[Item, int], Row],
    ) -> Page[Item]:
        """Print as many items as the budget allows, at least one.

        Args:
            header: the first line of the result, given how many rows are shown.
            items: what to print, in order; only as many are taken as are needed.
            most_rows: how many items there are.
            print_one: prints an item within a number of tokens.
        """
        longest = max(estimate_tokens(header(shown)) for shown in (most_rows, max(1, most_rows - 1)))
        room, most = self.budget_tokens - longest, self.most(most_rows)
        shown: list[tuple[Item, Row]] = []
        for item in items:
            row = print_one(item, most if shown else min(most, room - 1))
            if shown and row.tokens >= room:
                break
            room -= 1 + row.tokens
            shown.append((item, row))
        return Page([header(len(shown)), *(row.text for _, row in shown)], shown, room)

    def answer(self, *parts: str) -> ToolResult:
        """A result that shows no row."""
        return ToolResult(text=as_room_allows(parts, self.budget_tokens))

    def result(
        self,
        lines: Sequence[str],
        room_left: int,
        log_ids: Iterable[str] = (),
        trace_ids: Iterable[str] = (),
        other: Iterable[Evidence] = (),
    ) -> ToolResult:
        """The lines. When one row breaks the budget, because of very long names, it is cut and nothing is
        claimed as shown.
        """
        text = "\n".join(lines)
        if room_left < 0:
            return ToolResult(text=clip(text, self.budget_tokens))
        logs = frozenset(id.removesuffix(FIRST_OCCURRENCE) for id in log_ids)
        return ToolResult(text=text, log_ids=logs, trace_ids=frozenset(trace_ids), other=frozenset(other))


def no_such_service(name: str, services: Sequence[str]) -> list[str]:
    """What to answer, in parts, when a service is asked for that is not there."""
    by_lower = {one.lower(): one for one in services}
    lowered = name.strip().lower()[:200]
    near = [by_lower[one] for one in difflib.get_close_matches(lowered, by_lower, n=1, cutoff=0.5)]
    hint = f"did you mean {near[0]}? " if near else ""
    return [f"no service {clip(json.dumps(name), 12)}.", f"{hint}services:", *services]


def page_start(cursor: int | None) -> int:
    """The place a cursor stands for. Raises ToolInputError for a negative one."""
    if cursor is not None and cursor < 0:
        raise ToolInputError(
            f"cursor={clip(str(cursor), 8)}: use the number that an earlier result gave as cursor="
        )
    return cursor or 0
