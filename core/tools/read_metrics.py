"""The tool `read_metrics`: the metric series that changed most, in both directions.

A change is the difference between the mean of the baseline and that of the quarter of the window's points
that is furthest from it, measured in standard deviations of the baseline. A series that never moved before is
measured by a share of its own size, so that a step from zero counts and noise does not.
"""

from __future__ import annotations

import math
import statistics
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, Field

from core.log_stores.contract import StoredSeries, Stretch
from core.log_stores.printing import Row, clip, clock_text, estimate_tokens, one_line
from core.log_stores.query import NoSuchService, OptionalText, ServiceName, known_service
from core.log_stores.times import told, widened, windows
from core.tools.store_tool import StoreTool, no_such_service, page_start
from core.tools.window_arguments import Baseline, WindowArguments
from project_types import Evidence, ToolResult

_PART = 4
_LEAST_NOISE = 0.05
"""Share of a series' usual size that counts as noise at least."""
_LEAST_OF_RANGE = 0.005
"""Share of a series' largest value that counts as noise at least."""


class ReadMetricsArguments(WindowArguments):
    """Arguments of `read_metrics`; all may be left out."""

    service: ServiceName = None
    name: Annotated[OptionalText, Field(description="Only series whose name holds this, such as cpu.")] = None
    baseline: Baseline = None


class Moved(NamedTuple):
    """A series in the window and in the baseline."""

    series: StoredSeries
    now: float
    """Mean of the quarter of the window's points that is furthest from the baseline."""
    before: float | None
    """Mean in the baseline; None when nothing was measured then."""
    most: tuple[int, float]
    """The point of the window that is furthest from the baseline: (microseconds, value)."""
    deviations: float

    @property
    def id(self) -> str:
        """As evidence names it."""
        return f"{self.series.service}/{self.series.name}"


class ReadMetrics(StoreTool):
    """Shows the metrics that changed most."""

    name = "read_metrics"
    description = (
        "Metric series that changed most between a baseline and a window, up or down: mean before -> mean of "
        "the window's most different quarter, the change in standard deviations of the baseline, and the most "
        "extreme value with its time."
    )
    arguments: type[BaseModel] = ReadMetricsArguments

    def answer_to(self, given: Any) -> ToolResult:
        """Compare. Raises ToolInputError for a window that cannot be read or a negative cursor."""
        start = page_start(given.cursor)
        now, before = windows(self.store, given.window, given.baseline, self._reach())
        try:
            service = None if given.service is None else known_service(given.service, self.store)
        except NoSuchService:
            return self.answer(*no_such_service(given.service, self.store.services()))
        series = self.store.metrics(service, given.name)
        moved = [found for one in series if (found := compared(one, now, before))]
        moved.sort(key=lambda one: (-abs(one.deviations), one.id))
        text = f"{len(moved)} series in {told(now, self.store.stretch())}"
        text += f" against {told(before, self.store.stretch())}" if before else ""
        if start >= len(moved):
            return self.answer(f"nothing after cursor={start}: {text}" if moved else f"no metrics: {text}")
        rest = moved[start : start + max(1, self.budget_tokens // 8)]
        page = self.page(self.header(text, len(moved), start), rest, len(rest), self._row)
        shown = (Evidence(kind="metric", id=one.id) for one, _ in page.shown)
        return self.result(page.lines, page.room_left, other=shown)

    def _reach(self) -> Stretch | None:
        """How far the metrics reach, which often is more than the lines."""
        ends = (one.points[place][0] for one in self.store.metrics() if one.points for place in (0, -1))
        return widened(self.store.stretch(), sorted(ends))

    def _row(self, moved: Moved, room: int) -> Row:
        at_us, value = moved.most
        tail = f" {_number(moved.now)}"
        if moved.before is not None:
            direction = "up" if moved.deviations > 0 else "down"
            tail = f" {_number(moved.before)} -> {_number(moved.now)} ({direction} {abs(moved.deviations):.1f} sd)"
        tail += f", {_number(value)} at {clock_text(at_us, self.store.stretch())}"
        tail = f" {moved.series.service}{tail}"  # behind what it is looked for by: docs/adr/0003
        left = room - estimate_tokens(tail)
        text = f"{clip(one_line(moved.series.name), left)}{tail}"
        return Row(text, estimate_tokens(text), True)


def _number(value: float) -> str:
    return f"{value:.4g}"


def compared(series: StoredSeries, now: Stretch, before: Stretch | None) -> Moved | None:
    """Return how a series moved; None when nothing was measured in the window."""
    current = _within(series.points, now)
    if not current:
        return None
    earlier = [value for _, value in _within(series.points, before)] if before else []
    values = [value for _, value in current]
    if not earlier:
        most = max(current, key=lambda point: abs(point[1]))
        return Moved(series, statistics.fmean(values), None, most, 0.0)
    usual = statistics.fmean(earlier)
    largest = max(map(abs, (*values, *earlier)))
    spread = math.sqrt(statistics.fmean((value - usual) ** 2 for value in earlier))
    noise = max(spread, _LEAST_NOISE * abs(usual), _LEAST_OF_RANGE * largest)
    furthest = sorted(current, key=lambda point: -abs(point[1] - usual))
    # a fault may fill only a part of the window, and a single point is often chance
    now_mean = statistics.fmean(value for _, value in furthest[: max(1, len(furthest) // _PART)])
    return Moved(series, now_mean, usual, furthest[0], (now_mean - usual) / noise if noise else 0.0)


def _within(points: Sequence[tuple[int, float]], stretch: Stretch) -> Sequence[tuple[int, float]]:
    """The measured points of a stretch; points are in time order."""
    first = bisect_left(points, stretch.first_us, key=lambda point: point[0])
    end = bisect_right(points, stretch.last_us, key=lambda point: point[0])
    return [point for point in points[first:end] if math.isfinite(point[1])]
