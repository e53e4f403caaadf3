"""The tool `compare`: which kinds of lines are new, rising, falling or gone, against
a time when all was well.

Counts are compared as rates, so the two windows may differ in length. A change counts when it is larger than
the chance of independent lines explains (three standard deviations of a Poisson count). Lines without a clock
of their own count at their neighbour's time.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from pydantic import BaseModel

from core.log_stores.contract import Kind, LogQuery, Stretch, Tally
from core.log_stores.kinds import Group, grouped
from core.log_stores.printing import Row, printed
from core.log_stores.query import NoSuchService, ServiceName, known_service
from core.log_stores.times import told, windows
from core.tools.store_tool import StoreTool, no_such_service, page_start
from core.tools.window_arguments import Baseline, WindowArguments
from project_types import Evidence, Level, ToolResult

_DEVIATIONS = 3.0
_LEAST_GONE = 3.0
"""Lines that must have been expected for their absence to mean something."""
_MOST_SILENT = 5


class CompareArguments(WindowArguments):
    """Arguments of `compare`; all may be left out."""

    baseline: Baseline = None
    service: ServiceName = None


class Change(NamedTuple):
    """A kind of lines whose rate changed."""

    status: str
    """new, rising, falling or gone."""
    group: Group
    """Its lines in the window; of a kind that is gone, those in the baseline."""
    now: int
    expected: float
    """Lines the window would have at the baseline's rate."""

    @property
    def strength(self) -> tuple[int, float]:
        """How much it matters: severe lines that came or rose first, then mild ones by how far they moved."""
        more = self.status in ("new", "rising")
        severe = more and self.group.level >= Level.ERROR
        rank = 2 if severe else int(self.group.level >= Level.WARN)
        return rank, abs(self.now - self.expected) / math.sqrt(self.expected + 1)


class Compare(StoreTool):
    """Compares the kinds of lines in two windows."""

    name = "compare"
    description = (
        "Compare the log lines of a window with those of a healthy baseline: kinds of lines that are new,"
        " rising, falling or gone, and services that fell silent. Rows are those of search_logs, xCOUNT "
        "is the count in the window (of a gone kind: in the baseline), in braces stands what changed."
    )
    arguments: type[BaseModel] = CompareArguments

    def answer_to(self, given: Any) -> ToolResult:
        """Compare. Raises ToolInputError for a window that cannot be read or a negative cursor."""
        start = page_start(given.cursor)
        now, before = windows(self.store, given.window, given.baseline)
        try:
            service = None if given.service is None else known_service(given.service, self.store)
        except NoSuchService:
            return self.answer(*no_such_service(given.service, self.store.services()))
        if before is None:
            return self.answer("nothing comes before this window; name a baseline, or a later window.")
        lines_now, lines_before = (self.store.tally(_lines(stretch, service)) for stretch in (now, before))
        scale = (now.last_us - now.first_us + 1) / (before.last_us - before.first_us + 1)
        changes = changed(lines_now, lines_before, scale)
        silent = fallen_silent(lines_now, lines_before, scale)
        whole = self.store.stretch()
        text = f"{told(now, whole)} against {told(before, whole)}: {_summary(changes)}"
        if silent:
            named = ", ".join(silent[:_MOST_SILENT]) + (", ..." if len(silent) > _MOST_SILENT else "")
            text += f"; silent now: {named}"
        if not lines_before:
            return self.answer(f"no lines in the baseline {told(before, whole)}; name another one.")
        if start >= len(changes):
            return self.answer(text + (f"; nothing after cursor={start}" if start else ""))
        return self._page(text, changes, start, silent[:_MOST_SILENT])

    def _page(self, text: str, changes: Sequence[Change], start: int, silent: Sequence[str]) -> ToolResult:
        rest = changes[start : start + max(1, self.budget_tokens // 8)]
        page = self.page(self.header(text, len(changes), start), rest, len(rest), self._row)
        lines = self.store.at([change.group.first for change, _ in page.shown])
        absent = (Evidence(kind="absence", id=service) for service in silent)
        traces = (line.trace_id for line in lines if line.trace_id)
        return self.result(page.lines, page.room_left, (line.id for line in lines), traces, absent)

    def _row(self, change: Change, room: int) -> Row:
        (line,) = self.store.at([change.group.first])
        note = change.status
        if change.status in ("rising", "falling"):
            note += f", {change.expected:.1f} expected"
        if change.status == "gone":
            note += f", {change.expected:.1f} expected, none now"
        return printed(
            self.store, Kind(line, change.group.times, change.group.services, (note,)), room, trace=True
        )


def _lines(stretch: Stretch, service: str | None) -> LogQuery:
    return LogQuery(service=service, start_us=stretch.first_us, end_us=stretch.last_us)


def changed(now: Iterable[Tally], before: Iterable[Tally], scale: float) -> list[Change]:
    """Return the kinds that changed, those that matter most first; `scale` is
    window over baseline in length.
    """
    then = {(one.kind, one.service): one for one in before}
    by_status: dict[str, list[Tally]] = {}
    expected: dict[tuple[int, str], float] = {}
    for one in now:
        key = (one.kind, one.service)
        was = then.pop(key, None)
        expected[key] = was.times * scale if was else 0.0
        if status := _status(one.times, expected[key], known=was is not None):
            by_status.setdefault(status, []).append(one)
    for key, was in then.items():
        expected[key] = was.times * scale
        if expected[key] >= _LEAST_GONE:
            by_status.setdefault("gone", []).append(was)
    changes = []
    for status, tallies in by_status.items():
        for group in grouped(tallies).groups:
            usual = sum(expected.get((group.kind, service), 0.0) for service in group.services)
            changes.append(Change(status, group, 0 if status == "gone" else group.times, usual))
    return sorted(changes, key=lambda one: (*(-part for part in one.strength), one.group.first))


def _status(times: int, expected: float, *, known: bool) -> str:
    if not known:
        return "new"
    moved = (times - expected) / math.sqrt(expected + 1)
    if abs(moved) < _DEVIATIONS:
        return ""
    return "rising" if moved > 0 else "falling"


def fallen_silent(now: Iterable[Tally], before: Iterable[Tally], scale: float) -> list[str]:
    """Return the services that wrote before and no longer do, the one that wrote most first."""
    writing = {one.service for one in now}
    lines: dict[str, int] = {}
    for one in before:
        lines[one.service] = lines.get(one.service, 0) + one.times
    found = [name for name, times in lines.items() if name not in writing and times * scale >= _LEAST_GONE]
    return sorted(found, key=lambda name: (-lines[name], name))


def _summary(changes: Sequence[Change]) -> str:
    counts = dict.fromkeys(("new", "rising", "falling", "gone"), 0)
    for change in changes:
        counts[change.status] += 1
    parts = [f"{number} {status}" for status, number in counts.items() if number]
    return f"{', '.join(parts)} of kinds of lines" if parts else "no kind of lines changed"
