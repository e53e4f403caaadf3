"""Which experiments are asked for: a question in Python as a condition in SQL, and the orders of a page.

`JOINED` is what every question is asked of. The tables are `tables`, the answers `store`.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, Literal

from failure_analysis.records import (
    ExperimentType,
    FailureCategory,
    InvestigationKind,
    Severity,
    Status,
)
from failure_analysis.stored_rows import milliseconds, plain
from project_types import Frozen

JOINED = "experiments e LEFT JOIN episodes p USING (id) LEFT JOIN failures f USING (id) LEFT JOIN templates t USING (signature)"

SEARCHED = (
    "e.name", "e.run", "e.scenario_id", "e.fault_type", "p.question", "p.answer", "p.blamed", "f.kind",
    "f.category",
    "f.error_message", "f.root_cause", "f.fix", "t.template",
)  # fmt: skip
"""Columns that a search looks at."""

Order = Literal["newest", "oldest", "severity", "reward", "turns"]
ORDERS: dict[Order, str] = {
    "newest": "e.at_ms DESC, e.id",
    "oldest": "e.at_ms, e.id",
    "severity": "CASE f.severity WHEN 'critical' THEN 0 WHEN 'high' THEN 1 WHEN 'medium' THEN 2 WHEN 'low' THEN 3 ELSE 4 END, "
    "e.at_ms DESC, e.id",
    "reward": "p.reward, e.id",
    "turns": "p.turns DESC, e.id",
}
Column = Literal[
    "type", "status", "run", "split", "sampling", "step", "policy", "fault_type", "topology", "ending", "kind"
]


_COLUMNS = (
    "run", "split", "sampling", "step", "policy", "scenario_id", "sample", "fault_type", "topology",
)  # fmt: skip


class Wanted(Frozen):
    """Which experiments; what is left out is not asked. Everything given must hold."""

    types: tuple[ExperimentType, ...] = ()
    statuses: tuple[Status, ...] = ()
    categories: tuple[FailureCategory, ...] = ()
    severities: tuple[Severity, ...] = ()
    kinds: tuple[InvestigationKind, ...] = ()
    signature: str | None = None
    run: str | None = None
    split: str | None = None
    sampling: str | None = None
    step: int | None = None
    policy: str | None = None
    scenario_id: str | None = None
    sample: int | None = None
    fault_type: str | None = None
    topology: str | None = None
    ending: str | None = None
    correct: bool | None = None
    since: datetime | None = None
    until: datetime | None = None
    text: str | None = None
    """Occurs in one of the columns SEARCHED; case does not matter."""
    also: tuple[str, ...] = ()
    """Ids of experiments in whose transcripts the text occurs (`transcript_search`)."""

    @property
    def tried(self) -> Wanted:
        """What was tried, failed or not: the same without what only failures have."""
        return self.model_copy(
            update={"categories": (), "severities": (), "kinds": (), "signature": None, "statuses": ()}
        )

    def sql(self) -> tuple[str, list[Any]]:
        """A condition over JOINED, and its parameters."""
        parts, values = ["1"], list[Any]()
        lists = {"e.type": self.types, "e.status": self.statuses, "f.category": self.categories}
        for column, choices in (lists | {"f.severity": self.severities, "f.kind": self.kinds}).items():
            if choices:
                parts.append(f"{column} IN ({','.join('?' * len(choices))})")
                values += map(str, choices)
        same = {"f.signature": self.signature, "p.ending": self.ending, "p.correct": self.correct}
        for name in _COLUMNS:
            same[f"e.{name}"] = getattr(self, name)
        for column, value in same.items():
            if value is not None:
                parts.append(f"{column} = ?")
                values.append(value)
        for sign, moment in ((">=", self.since), ("<", self.until)):
            if moment is not None:
                parts.append(f"e.at_ms {sign} ?")
                values.append(milliseconds(moment))
        if self.text:
            searched = [f"instr(lower(replace({column}, '_', ' ')), ?) > 0" for column in SEARCHED]
            parts.append(f"({' OR '.join(searched)} OR e.id IN (SELECT value FROM json_each(?)))")
            values += [self.text.lower().replace("_", " ")] * len(SEARCHED) + [json.dumps(self.also)]
        return " AND ".join(parts), [plain(value) for value in values]


EVERYTHING = Wanted()
