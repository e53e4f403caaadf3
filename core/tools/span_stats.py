"""The tool `span_stats`: how many spans each operation has, how many failed, and where the time goes.

Durations include what a span waited for; own time does not, and neither does the gap between a caller
and the call as its callee saw it. What grew against the baseline comes first, by milliseconds that
nobody further down explains.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, Field

from core.log_stores.contract import Stretch
from core.log_stores.printing import Row, clip, count, estimate_tokens, one_line
from core.log_stores.query import NoSuchService, OptionalText, ServiceName, known_service
from core.log_stores.span_times import TimedSpan, quantile, timed_spans
from core.log_stores.times import told, widened, windows
from core.tools.store_tool import StoreTool, no_such_service, page_start
from core.tools.window_arguments import Baseline, WindowArguments
from project_types import FAILED, ToolResult

_TAIL = 0.1
_FAILURE_MS = 1000.0
"""A failure that was not there before weighs as much as so many milliseconds."""


class SpanStatsArguments(WindowArguments):
    """Arguments of `span_stats`; all may be left out."""

    service: ServiceName = None
    operation: Annotated[OptionalText, Field(description="Only operations whose name holds this.")] = None
    baseline: Baseline = None


class Spread(NamedTuple):
    """Half of the values are no larger than p50, 95 % no larger than p95; milliseconds."""

    p50: float
    p95: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """From values in any order; 0 for none."""
        ordered = sorted(values)
        return cls(quantile(ordered, 0.5), quantile(ordered, 0.95))

    @property
    def weight(self) -> float:
        """What it counts for: the usual value; a tail of few slow spans is mostly chance."""
        return self.p50 + _TAIL * self.p95


class Stats(NamedTuple):
    """The spans of one operation in one window."""

    spans: int
    failed: float
    """Share that failed."""
    took: Spread
    own: Spread
    """How long the spans worked themselves."""
    gap: Spread
    """How long the calls were under way."""
    slowest: str
    """The trace of the slowest span."""


class Operation(NamedTuple):
    """One operation of a service, in the window and in the baseline."""

    service: str
    name: str
    now: Stats
    before: Stats | None

    @property
    def growth_ms(self) -> float:
        """Milliseconds by which it grew for reasons of its own, failures included."""
        own, gap, failed = self.now.own.weight, self.now.gap.weight, self.now.failed
        if self.before:
            own -= self.before.own.weight
            gap -= self.before.gap.weight
            failed -= self.before.failed
        return max(own, gap) + _FAILURE_MS * failed


class SpanStats(StoreTool):
    """Says how long operations take and how often they fail."""

    name = "span_stats"
    description = (
        "Statistics of spans by service and operation in a window: count, share failed, p50/p95 of the "
        "duration, of the own time (callees left out) and of the gap between caller and callee, in ms, and "
        "the same before. What grew most by itself comes first; the trace is the slowest one."
    )
    arguments: type[BaseModel] = SpanStatsArguments

    def answer_to(self, given: Any) -> ToolResult:
        """Count. Raises ToolInputError for a window that cannot be read or a negative cursor."""
        start = page_start(given.cursor)
        spans = self.store.spans()
        reach = widened(self.store.stretch(), [span.start_us for span in spans])
        now, before = windows(self.store, given.window, given.baseline, reach)
        try:
            service = None if given.service is None else known_service(given.service, self.store)
        except NoSuchService:
            return self.answer(*no_such_service(given.service, self.store.services()))
        found = operations(timed_spans(self.store), now, before, service, given.operation or "")
        text = f"{count(len(found), 'operation')} in {told(now, self.store.stretch())}"
        text += f" against {told(before, self.store.stretch())}" if before else ""
        if start >= len(found):
            return self.answer(f"nothing after cursor={start}: {text}" if found else f"no spans: {text}")
        rest = found[start : start + max(1, self.budget_tokens // 8)]
        page = self.page(self.header(text, len(found), start), rest, len(rest), self._row)
        return self.result(
            page.lines, page.room_left, trace_ids=(operation.now.slowest for operation, _ in page.shown)
        )

    def _row(self, operation: Operation, room: int) -> Row:
        before = operation.before
        tail = f" {_told(operation.now)}"
        tail += f" (before: {_told(before)})" if before else " (new)"
        tail += f" trace {self.store.short('trace', operation.now.slowest)}"
        left = room - estimate_tokens(f"{operation.service}{tail}")
        text = f"{operation.service} {clip(one_line(operation.name), left)}{tail}"
        return Row(text, estimate_tokens(text), True)


def _told(stats: Stats) -> str:
    failed = f" failed {100 * stats.failed:.0f} %" if stats.failed else ""
    own = f" own {stats.own.p50:.0f}/{stats.own.p95:.0f}" if stats.own != stats.took else ""
    gap = f" gap {stats.gap.p50:.0f}/{stats.gap.p95:.0f}" if stats.gap.p95 >= 0.5 else ""
    return f"x{stats.spans}{failed} {stats.took.p50:.0f}/{stats.took.p95:.0f} ms{own}{gap}"


def operations(
    spans: Iterable[TimedSpan], now: Stretch, before: Stretch | None, service: str | None, operation: str
) -> list[Operation]:
    """Return the operations that have spans in the window, what grew most first."""
    windows_of: dict[tuple[str, str], tuple[list[TimedSpan], list[TimedSpan]]] = {}
    wanted = operation.casefold()
    for one in spans:
        span = one.span
        if (service and span.service != service) or (wanted and wanted not in span.operation.casefold()):
            continue
        both = windows_of.setdefault((span.service, span.operation), ([], []))
        if now.first_us <= span.start_us <= now.last_us:
            both[0].append(one)
        elif before and before.first_us <= span.start_us <= before.last_us:
            both[1].append(one)
    found = [
        Operation(*key, stats(current), stats(earlier) if earlier else None)
        for key, (current, earlier) in windows_of.items()
        if current
    ]
    return sorted(found, key=lambda one: (-one.growth_ms, one.service, one.name))


def stats(spans: Sequence[TimedSpan]) -> Stats:
    """Return the statistics of at least one span."""
    failed = sum(one.span.status in FAILED for one in spans)
    slowest = max(spans, key=lambda one: one.span.duration_ms)
    return Stats(
        len(spans),
        failed / len(spans),
        Spread.of(one.span.duration_ms for one in spans),
        Spread.of(one.own_ms for one in spans),
        Spread.of(one.gap_ms for one in spans if one.gap_ms is not None),
        slowest.span.trace_id,
    )
