"""Can the cause be found with the tools? A search that always picks the best clue, and what it costs in
calls.

The seeker starts with `search_logs(min_level=WARN)` and with the services that the description names, and may
look at any service that a shown line comes from or names, two pages each. Its cheapest way to an evidence
line proves that a way exists, and hardly any agent finds a cheaper one. It uses the real tools on the real
database; it knows the ground truth, so it is no policy.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from log_search_tools import log_tools
from project_types import EpisodeConfig, LogRecord, Scenario, Tool

PAGES = 2
"""Pages of one search that a patient agent reads."""


@dataclass
class Reach:
    """What the search for one scenario found. Costs are calls, the last one included; None: not found."""

    first_evidence: int | None = None
    by_id: dict[str, int | None] = field(default_factory=dict)
    culprit_page: int | None = None
    """The page of `search_logs(service=<culprit>)` that first shows an evidence line, from 1."""

    def worst(self) -> int | None:
        """Calls for the evidence line that is hardest to reach."""
        costs = [cost for cost in self.by_id.values() if cost is not None]
        return max(costs) if len(costs) == len(self.by_id) and costs else None


async def reach(scenario: Scenario, database: Path, config: EpisodeConfig) -> Reach:
    """Follow the clues of one scenario through the tools. Raises DatabaseError when the database lacks it."""
    return await _Seeker(scenario, database, config).seek()


class _Seeker:
    def __init__(self, scenario: Scenario, database: Path, config: EpisodeConfig) -> None:
        tools: dict[str, Tool] = {tool.name: tool for tool in log_tools(database, scenario.id, config)}
        self.scenario, self.search = scenario, tools["search_logs"]
        self.rows = {row.id: row for row in scenario.logs}
        self.evidence = set(scenario.ground_truth.evidence_log_ids)
        self.found = Reach(by_id=dict.fromkeys(scenario.ground_truth.evidence_log_ids))
        self.known: dict[str, int] = {}
        """Calls spent until a line or the description has shown the service."""

    async def seek(self) -> Reach:
        for service in named(self.scenario.description, self.scenario.services):
            self.known[service] = 0
        await self._read(0, min_level="WARN")
        waiting = [(cost, service) for service, cost in self.known.items()]
        heapq.heapify(waiting)
        searched: set[str] = set()
        while waiting:
            cost, service = heapq.heappop(waiting)
            if service in searched or cost > self.known[service]:
                continue
            searched.add(service)
            page = await self._read(cost, service=service)
            if service == self.scenario.ground_truth.service:
                self.found.culprit_page = page
            for other, price in self.known.items():
                if other not in searched:
                    heapq.heappush(waiting, (price, other))
        await self._narrow()
        return self.found

    async def _read(self, spent: int, **arguments: Any) -> int | None:
        """Read two pages of a search; returns the first page that shows evidence."""
        found: int | None = None
        for page in range(1, PAGES + 1):
            result = await self.search.run(self.search.arguments(**arguments))
            for row in sorted((self.rows[row_id] for row_id in result.log_ids), key=lambda row: row.id):
                found = self._note(row, spent + page, page, found)
            cut = re.search(r"cursor=(\d+)", result.text)
            if not cut:
                break
            arguments["cursor"] = int(cut[1])
        return found

    def _note(self, row: LogRecord, cost: int, page: int, found: int | None) -> int | None:
        for service in (row.service, *named(row.message, self.scenario.services)):
            self.known[service] = min(cost, self.known.get(service, cost))
        if row.id not in self.evidence:
            return found
        self._cheaper(row.id, cost)
        self.found.first_evidence = min(cost, self.found.first_evidence or cost)
        return found or page

    def _cheaper(self, row_id: str, cost: int) -> None:
        before = self.found.by_id[row_id]
        self.found.by_id[row_id] = cost if before is None else min(before, cost)

    async def _narrow(self) -> None:
        """Lines that a group hides: once the culprit is known, one search of the second in which they were
        written.
        """
        culprit = self.scenario.ground_truth.service
        if culprit not in self.known:
            return
        for row_id in self.evidence:
            written = self.rows[row_id].timestamp
            if written is None:
                continue
            second = written.replace(microsecond=0)
            arguments = {"service": culprit, "start_time": second.isoformat(), "end_time": second.isoformat()}
            result = await self.search.run(self.search.arguments(**arguments))
            if row_id in result.log_ids:
                self._cheaper(row_id, self.known[culprit] + 1)


def named(text: str, services: Iterable[str]) -> list[str]:
    """The services whose whole name stands in a text."""
    words = set(re.findall(r"[\w-]+(?:\.[\w-]+)*", text)) | set(re.findall(r"[\w-]+", text))
    return [service for service in services if service in words]
