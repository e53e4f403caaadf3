"""A simulated incident whose rows, requests and spans have their ids: what a scenario and its reports are
written from.

Ids are looked up by the identity of the object they belong to. Drawing them is `compose`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from chaos.simulate import Request, Row, Simulation


@dataclass
class Draft:
    """An incident before it becomes a dictionary."""

    run: Simulation
    rows: list[Row]
    sampled: list[Request]
    row_ids: dict[int, str]
    trace_ids: dict[int, str]
    span_ids: dict[int, str]
    origin: datetime

    def stamp(self, at_ms: float) -> str:
        """A window time as UTC text with milliseconds."""
        return (
            (self.origin + timedelta(milliseconds=round(at_ms)))
            .isoformat(timespec="milliseconds")
            .replace("+00:00", "Z")
        )

    def clock(self, at_ms: float) -> str:
        """A window time as HH:MM."""
        return (self.origin + timedelta(milliseconds=at_ms)).strftime("%H:%M")
