"""A simulated incident whose rows, requests and spans have their ids: what a scenario and its reports are
written from.

Rows and requests are looked up by identity. Drawing them is `compose`.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from chaos.layouts import Line, access, laid_out
from chaos.noise import EventRow
from chaos.rows import Row
from chaos.sampling import Sample
from chaos.stage import Candidate, Stage
from chaos.topologies import Node
from chaos.traffic import OK, FlowRun, Op, Traffic

STATUS = {0: "ok", 1: "error", 2: "timeout"}


@dataclass
class Draft:
    """An incident before it becomes a dictionary."""

    stage: Stage
    traffic: Traffic
    guilty: Candidate | None
    rows: list[Row]
    events: list[EventRow]
    sample: Sample
    origin: datetime
    """Start of the incident window."""
    rng: random.Random
    row_ids: dict[int, str] = field(default_factory=dict)
    trace_ids: dict[tuple[int, int], str] = field(default_factory=dict)
    span_ids: dict[tuple[int, int, int], str] = field(default_factory=dict)

    names: dict[str, str] = field(init=False)
    """Service key → shown name."""
    _minutes: dict[int, str] = field(default_factory=dict)
    _messages: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.names, self._skew_ms = self.stage.world.names, self.stage.world.skew_ms
        self._first_ms = round(self.origin.timestamp() * 1000)
        for row in self.rows:
            self.row_ids[id(row)] = f"{self.rng.getrandbits(48):012x}"
        for run in self.traffic.runs:
            for index in self.sample.of(run):
                self.trace_ids[run.number, index] = f"{self.rng.getrandbits(64):016x}"
                for node in run.flow.nodes:
                    self.span_ids[run.number, index, node.index] = f"{self.rng.getrandbits(32):08x}"

    # ------------------------------------------------------------------------------------------------- times

    def moment(self, at_ms: float, service: str | None = None) -> datetime:
        """A window time as the clock of a service shows it."""
        off = self._skew_ms.get(service, 0.0) if service else 0.0
        return self.origin + timedelta(milliseconds=round(at_ms + off))

    def stamp(self, at_ms: float, service: str | None = None) -> str:
        """A window time as UTC text with milliseconds."""
        off = self._skew_ms.get(service, 0.0) if service else 0.0
        minute, rest_ms = divmod(self._first_ms + round(at_ms + off), 60_000)
        if minute not in self._minutes:
            self._minutes[minute] = f"{datetime.fromtimestamp(60 * minute, UTC):%Y-%m-%dT%H:%M:}"
        return f"{self._minutes[minute]}{rest_ms / 1000:06.3f}Z"

    def clock(self, at_ms: float) -> str:
        """A window time as HH:MM."""
        return self.moment(at_ms).strftime("%H:%M")

    # -------------------------------------------------------------------------------------------------- rows

    def text(self, row: Row) -> str:
        """What a row says, without its layout."""
        if row.candidate is None:
            return row.text
        return row.text.replace("{clock}", self.clock(self.stage.candidates[row.candidate].start_ms))

    def message(self, row: Row) -> str:
        """A row as its service's logger lays it out, the same each time."""
        if id(row) not in self._messages:
            habit, at = self.stage.world.habits[row.service], self.moment(row.at_ms, row.service)
            line = Line(self.names[row.service], row.level, self.text(row), at)
            own = access(line, row.op) if _is_access(row, habit.style) else laid_out(line, habit.layout)
            self._messages[id(row)] = own
        return self._messages[id(row)]

    def row(self, row: Row) -> dict[str, Any]:
        """A row as its file has it."""
        known: dict[str, Any] = {
            "id": self.row_ids[id(row)],
            "timestamp": self.stamp(row.at_ms, row.service),
            "service": self.names[row.service],
            "level": row.level,
            "message": self.message(row),
        }
        if trace := self.trace_of(row):
            known["trace_id"] = trace
            if row.run and row.node and self.recorded(row.run.ops[row.node.index], row.index):
                known["span_id"] = self.span_ids[row.run.number, row.index, row.node.index]
        if row.pod is not None:
            known["attributes"] = {"pod": f"{self.names[row.service]}-{row.pod}"}
        return known

    def trace_of(self, row: Row) -> str | None:
        """The id of the trace that a row belongs to, if its spans are kept."""
        return self.trace_ids.get((row.run.number, row.index)) if row.run else None

    # ------------------------------------------------------------------------------------------------- spans

    def recorded(self, op: Op, index: int) -> bool:
        """Whether a call of a kept request has a span."""
        return bool(op.status[index] >= OK) and op.node.service not in self.stage.world.blind

    def spans(self) -> list[dict[str, Any]]:
        """The spans of every kept request."""
        found = []
        for run in self.traffic.runs:
            for index in sorted(self.sample.of(run)):
                for op in run.ops.values():
                    found += self._spans_of(run, op, index)
        return found

    def _spans_of(self, run: FlowRun, op: Op, index: int) -> list[dict[str, Any]]:
        """The span of one call, and those of attempts before it."""
        found = []
        start = float(op.start[index])
        seen = self.recorded(op, index)
        blind = op.node.service in self.stage.world.blind
        if op.stub[index] and not blind:
            took = float(op.stub_ms[index])
            status = "timeout" if op.stub_late[index] else "error"
            found.append(self._span(run, index, op.node, start - took, took, status, self._extra_id()))
        for attempt in range(min(3, int(op.tries[index]) - 1) if seen else 0):
            early = start - 8.0 * (attempt + 1)
            found.append(self._span(run, index, op.node, early, 6.0, "error", self._extra_id()))
        if seen:
            status = STATUS[int(op.status[index])]
            own = self.span_ids[run.number, index, op.node.index]
            found.append(self._span(run, index, op.node, start, float(op.ms[index]), status, own))
        return found

    def _extra_id(self) -> str:
        return f"{self.rng.getrandbits(32):08x}"

    def _span(
        self, run: FlowRun, index: int, node: Node, start: float, ms: float, status: str, span_id: str
    ) -> dict[str, Any]:
        known: dict[str, Any] = {"trace_id": self.trace_ids[run.number, index], "span_id": span_id}
        above = node.parent
        while above and not self.recorded(run.ops[above.index], index):
            above = above.parent
        if above:
            known["parent_span_id"] = self.span_ids[run.number, index, above.index]
        return {
            **known,
            "service": self.names[node.service],
            "operation": node.call.operation,
            "start": self.stamp(start, node.service),
            "duration_ms": round(ms, 1),
            "status": status,
        }


def _is_access(row: Row, style: int) -> bool:
    """Whether an entry service writes the row as a web server would."""
    return bool(row.op) and row.node is not None and row.node.parent is None and style % 2 == 0
