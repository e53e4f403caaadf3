"""A tool that needs no database and a judge that needs no model, over the incident written by hand.

`Grep` prints every line that contains a word, with full ids. `Says` is a judge whose verdict is decided
beforehand.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from project_types import Report, Scenario, ToolInputError, ToolResult, Verdict
from tests.builders.scenarios import INCIDENT, TRACE


class Word(BaseModel):
    """What `grep` takes."""

    model_config = ConfigDict(extra="forbid")

    word: str = Field(min_length=2)


class Grep:
    """Lines of the incident that contain a word; the word 'forbidden' is refused, as a tool may."""

    name = "grep"
    description = "Print log lines that contain a word."
    arguments: type[BaseModel] = Word

    async def run(self, arguments: Any) -> ToolResult:
        """Search by plain containment."""
        if arguments.word == "forbidden":
            raise ToolInputError("this word cannot be searched; try another one")
        rows = [row for row in INCIDENT.logs if arguments.word in row.message]
        text = (
            "\n".join(f"{row.id} {row.level} {row.service} {row.message}" for row in rows)
            or f"no line holds {arguments.word!r}"
        )
        traces = frozenset(row.trace_id for row in rows if row.trace_id)
        return ToolResult(text=text, log_ids=frozenset(row.id for row in rows), trace_ids=traces)

    def resolve(self, kind: Literal["log", "trace"], shown: str) -> str | None:
        """The one id that begins with `shown`."""
        known = {row.id for row in INCIDENT.logs} if kind == "log" else {TRACE}
        found = [id_ for id_ in known if id_.startswith(shown)]
        return found[0] if len(found) == 1 else None


class Says:
    """A judge that knows its verdict beforehand and counts how often it was asked."""

    def __init__(self, correct: bool) -> None:
        self.name, self.correct, self.asked = "says", correct, 0

    async def verdict(self, scenario: Scenario, report: Report) -> Verdict:
        """The verdict decided beforehand; the service is compared."""
        self.asked += 1
        right = report.suspected_service == scenario.ground_truth.service
        return Verdict(
            correct=self.correct,
            service_correct=right,
            cause_correct=self.correct,
            reason="decided beforehand",
            judge=self.name,
        )
