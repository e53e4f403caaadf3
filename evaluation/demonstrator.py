"""A scripted investigator that works only with the tools: the one the small model first imitates, and a careful twin.

It reads printed rows as anybody would: a row that names another service is a clue that leads there, a row that does not
may be the cause. It has no list of causes and never sees the ground truth, so it cannot tell a decisive line from a red
herring. `HASTY` is deliberately mediocre: it stops early, wanders off, and blames what it happens to have on screen, which leaves
the choice of what to look at and what to believe to be learnt from reward. `CAREFUL` follows every clue before it answers.

Not here: the trivial rules that read the whole data set (`baselines`).
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from log_search_tools import PrintedRow, printed_rows
from project_types import ChatReply, Message, ToolCall


@dataclass(frozen=True)
class Manner:
    """How an investigator behaves; all numbers are probabilities."""

    hasty: float
    """Answers now, after each result."""
    wander: float
    """Looks at any service instead of following a clue."""
    trace: float
    """Opens a trace of a row on screen."""
    page: float
    """Asks for the next page of its last search, when there is one."""
    gullible: float
    """Blames any row it has seen instead of one that names no other service."""
    max_calls: int


HASTY = Manner(hasty=0.22, wander=0.2, trace=0.2, page=0.15, gullible=0.3, max_calls=5)
CAREFUL = Manner(hasty=0.0, wander=0.0, trace=0.1, page=0.1, gullible=0.0, max_calls=6)


@dataclass
class Investigator:
    """One episode of a scripted investigator; a `project_types.Chat`."""

    rng: random.Random
    manner: Manner
    services: tuple[str, ...] = ()
    seen: list[PrintedRow] = field(default_factory=list)
    searched: list[str] = field(default_factory=list)
    opened: set[str] = field(default_factory=set)
    last_search: dict[str, Any] = field(default_factory=dict)
    calls: int = 0

    async def __call__(self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]]) -> ChatReply:
        """Read the newest result, then call a tool or answer."""
        newest = str(messages[-1]["content"] or "")
        if not self.calls:
            self.services = _services(newest)
            call = self._first_search()
        else:
            fresh = printed_rows(newest)
            self.seen += fresh
            call = self._next(newest, fresh)
        self.calls += 1
        arguments = json.dumps(call[1], separators=(",", ":"), ensure_ascii=False)
        return ChatReply(tool_calls=(ToolCall(id=f"call-{self.calls}", name=call[0], arguments=arguments),), finish_reason="tool_calls")

    def _first_search(self) -> tuple[str, dict[str, Any]]:
        level = self.rng.choices(("WARN", "ERROR"), (0.7, 0.3))[0]
        return self._search({"min_level": level})

    def _search(self, arguments: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        self.last_search = arguments
        return "search_logs", arguments

    def _next(self, newest: str, fresh: Sequence[PrintedRow]) -> tuple[str, dict[str, Any]]:
        manner, chance = self.manner, self.rng.random
        clues = self._clues(fresh) or self._clues(self.seen)
        out_of_calls = self.calls >= manner.max_calls
        if self.seen and (out_of_calls or chance() < manner.hasty):
            return self._answer()
        traces = [row.trace_id for row in self.seen if row.trace_id and row.trace_id not in self.opened]
        if traces and chance() < manner.trace:
            trace = self.rng.choice(traces)
            self.opened.add(trace)
            return "read_trace", {"trace_id": trace}
        cursor = _cursor(newest)
        if cursor and "cursor" not in self.last_search and chance() < manner.page:
            return self._search({**self.last_search, "cursor": cursor})
        if chance() < manner.wander and (unread := [name for name in self.services if name not in self.searched]):
            clues = [self.rng.choice(unread)]
        if clues:
            service = self.rng.choice(clues)
            self.searched.append(service)
            return self._search({"service": service})
        if self.seen:
            return self._answer()
        return self._search({})

    def _clues(self, rows: Sequence[PrintedRow]) -> list[str]:
        """Services that rows of other services name and that were not searched yet."""
        named = (name for row in rows for name in self.services if name != row.service and name in row.message.split())
        return [name for name in dict.fromkeys(named) if name not in self.searched]

    def _answer(self) -> tuple[str, dict[str, Any]]:
        def names_another(row: PrintedRow) -> bool:
            return any(name != row.service and name in row.message.split() for name in self.services)

        quiet = [row for row in self.seen if not names_another(row) and row.service in self.searched[-2:]]
        quiet = quiet or [row for row in self.seen if not names_another(row)]
        rows = self.seen if self.rng.random() < self.manner.gullible or not quiet else quiet
        row = self.rng.choice(rows)
        report: dict[str, Any] = {
            "key_log_ids": [row.id],
            "suspected_service": row.service,
            "root_cause": f"{row.service}: {row.message}",
        }
        if row.trace_id:
            report["primary_trace_ids"] = [row.trace_id]
        return "return_final_answer", report


def _services(briefing: str) -> tuple[str, ...]:
    """The names on the `services:` line of the briefing."""
    for line in briefing.splitlines():
        if line.lower().startswith("services:"):
            return tuple(line.split(":", 1)[1].replace(",", " ").split())
    return ()


def _cursor(result: str) -> int | None:
    head = result.split("\n", 1)[0]
    digits = head.rsplit("cursor=", 1)[1].split()[0] if "cursor=" in head else ""
    return int(digits) if digits.isdigit() else None
