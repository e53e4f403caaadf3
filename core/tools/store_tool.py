"""What the tools of one episode have in common: a store, a budget of tokens, pages and cursors.

A tool is bound to one incident when it is made, so no argument can reach another one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import BaseModel

from core.log_stores.contract import IdKind, LogStore
from core.log_stores.scenario_rows import FIRST_OCCURRENCE
from core.log_stores.token_budget import as_room_allows, clip
from project_types import Evidence, ToolInputError, ToolResult


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


def page_start(cursor: int | None) -> int:
    """The place a cursor stands for. Raises ToolInputError for a negative one."""
    if cursor is not None and cursor < 0:
        raise ToolInputError(
            f"cursor={clip(str(cursor), 8)}: use the number that an earlier result gave as cursor="
        )
    return cursor or 0
