"""Can the cause be found with the tools? A search that always picks the best clue, and what it costs in
calls.

The seeker starts with warnings and errors, in all and about the time that people name, with the worst trace,
and with the services that the description names. It may read the trace of any row it was shown. It may search
any service that a row or a span showed it: two pages of all its rows, or those about that time. Its cheapest
way to an evidence row proves that a way exists, and hardly any agent finds a cheaper one. It uses the real
tools on the real database. It knows the ground truth, so it is no policy. Evidence that is no row, such as a
slow span, is not looked for.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from log_search_tools import log_tools
from project_types import EpisodeConfig, LogRecord, Scenario, Tool, ToolResult

PAGES = 2
"""Pages of one search that a patient agent reads."""
BEFORE_MIN, AFTER_MIN = 10, 6
"""Minutes around the time that people name; they notice late, or remember badly."""


@dataclass
class Reach:
    """What the search for one scenario found. Costs are calls, the last one included; None: not found."""

    first_evidence: int | None = None
    by_id: dict[str, int | None] = field(default_factory=dict)
    culprit: int | None = None
    """Calls until a tool shows anything of the culprit, or names it."""
    culprit_page: int | None = None
    """The page of `search_logs(service=<culprit>)` that first shows an evidence row, from 1."""

    def worst(self) -> int | None:
        """Calls for the evidence row that is hardest to reach."""
        costs = [cost for cost in self.by_id.values() if cost is not None]
        return max(costs) if len(costs) == len(self.by_id) and costs else None


async def reach(scenario: Scenario, database: Path, config: EpisodeConfig) -> Reach:
    """Follow the clues of one scenario through the tools. Raises DatabaseError when the database lacks it."""
    return await _Seeker(scenario, database, config).seek()


Clue = tuple[str, str]
"""('service', name) or ('trace', id)."""


class _Seeker:
    def __init__(self, scenario: Scenario, database: Path, config: EpisodeConfig) -> None:
        tools: dict[str, Tool] = {tool.name: tool for tool in log_tools(database, scenario.id, config)}
        self.scenario, self.search, self.read_trace = scenario, tools["search_logs"], tools["read_trace"]
        self.rows = {row.id: row for row in scenario.logs}
        self.spans = {span.span_id: span.service for span in scenario.spans}
        self.evidence = set(scenario.ground_truth.evidence_log_ids)
        self.found = Reach(by_id=dict.fromkeys(scenario.ground_truth.evidence_log_ids))
        self.about = _about(scenario.time_hint)
        self.known: dict[Clue, int] = {}
        """Calls spent until something has shown the clue."""

    async def seek(self) -> Reach:
        for service in named(self.scenario.description, self.scenario.services):
            self.known["service", service] = 0
        for level in ("WARN", "ERROR"):
            await self._search(0, min_level=level)
            await self._search(0, min_level=level, **self.about)
        await self._follow(("trace", "worst"), 0)
        waiting = [(cost, clue) for clue, cost in self.known.items()]
        heapq.heapify(waiting)
        followed: set[Clue] = set()
        while waiting:
            cost, clue = heapq.heappop(waiting)
            if clue in followed or cost > self.known[clue]:
                continue
            followed.add(clue)
            await self._follow(clue, cost)
            for other, price in self.known.items():
                if other not in followed:
                    heapq.heappush(waiting, (price, other))
        self.found.culprit = self.known.get(("service", self.scenario.ground_truth.service))
        await self._narrow()
        return self.found

    async def _follow(self, clue: Clue, cost: int) -> None:
        kind, name = clue
        if kind == "trace":
            result = await self.read_trace.run(self.read_trace.arguments(trace_id=name))
            self._note_all(result, cost + 1)
            return
        page = await self._search(cost, service=name)
        if name == self.scenario.ground_truth.service:
            self.found.culprit_page = page
        await self._search(cost, service=name, **self.about)

    async def _search(self, spent: int, **arguments: Any) -> int | None:
        """Read two pages of a search; returns the first page that shows evidence."""
        found: int | None = None
        for page in range(1, PAGES + 1):
            result = await self.search.run(self.search.arguments(**arguments))
            if self._note_all(result, spent + page) and found is None:
                found = page
            cut = re.search(r"cursor=(\d+)", result.text)
            if not cut:
                break
            arguments["cursor"] = int(cut[1])
        return found

    def _note_all(self, result: ToolResult, cost: int) -> bool:
        """Remember what a result shows; returns whether evidence is among it."""
        shown = [self.rows[row_id] for row_id in result.log_ids if row_id in self.rows]  # events are no rows
        for trace in result.trace_ids:
            self._learn(("trace", trace), cost)
        for one in result.other:
            if one.id in self.spans:
                self._learn(("service", self.spans[one.id]), cost)
        decisive = [self._note(row, cost) for row in shown]  # every row is noted
        return any(decisive)

    def _note(self, row: LogRecord, cost: int) -> bool:
        for service in (row.service, *named(row.message, self.scenario.services)):
            self._learn(("service", service), cost)
        if row.id not in self.evidence:
            return False
        self._cheaper(row.id, cost)
        return True

    def _learn(self, clue: Clue, cost: int) -> None:
        self.known[clue] = min(cost, self.known.get(clue, cost))

    def _cheaper(self, row_id: str, cost: int) -> None:
        before = self.found.by_id[row_id]
        self.found.by_id[row_id] = cost if before is None else min(before, cost)
        self.found.first_evidence = min(cost, self.found.first_evidence or cost)

    async def _narrow(self) -> None:
        """Rows that a group hides: once the culprit is known, one search of the moment of each."""
        culprit = self.scenario.ground_truth.service
        if ("service", culprit) not in self.known:
            return
        for row_id in self.evidence:
            moment = self.rows[row_id].timestamp
            if moment is None:
                continue
            arguments = {"service": culprit, "start_time": moment.isoformat(), "end_time": moment.isoformat()}
            result = await self.search.run(self.search.arguments(**arguments))
            if row_id in result.log_ids:
                self._cheaper(row_id, self.known["service", culprit] + 1)


def _about(hint: str) -> dict[str, str]:
    """Arguments of a search about the time that people name; none where they name no time of day."""
    clock = re.search(r"\d\d:\d\d", hint)
    if not clock:
        return {}
    at = datetime.strptime(clock[0], "%H:%M")
    window = {"start_time": at - timedelta(minutes=BEFORE_MIN), "end_time": at + timedelta(minutes=AFTER_MIN)}
    if window["start_time"].date() != window["end_time"].date():
        return {}  # around midnight the clock alone does not say which day is meant
    return {name: f"{moment:%H:%M}" for name, moment in window.items()}


def named(text: str, services: Iterable[str]) -> list[str]:
    """The services whose whole name stands in a text."""
    words = set(re.findall(r"[\w-]+(?:\.[\w-]+)*", text)) | set(re.findall(r"[\w-]+", text))
    return [service for service in services if service in words]
