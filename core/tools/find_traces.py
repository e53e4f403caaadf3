"""The tool `find_traces`: the worst trace of each kind of request, to read with `read_trace`.

A kind of request is the operation of a trace's root and, because gateways have one for all, the first one of
another service. Failing traces come before slow ones. Without `service` a trace is known by its root; with
it, by the slowest span of that service.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, BeforeValidator, Field

from core.log_stores.contract import StoredSpan, Stretch
from core.log_stores.printing import Row, clip, clock_text, count, estimate_tokens, one_line
from core.log_stores.query import NoSuchService, OptionalText, ServiceName, blank_is_none, known_service
from core.log_stores.span_times import quantile
from core.log_stores.times import stretch_named, told, widened
from core.tools.store_tool import StoreTool, no_such_service, page_start
from core.tools.window_arguments import WindowArguments
from project_types import FAILED, Evidence, ToolInputError, ToolResult


class FindTracesArguments(WindowArguments):
    """Arguments of `find_traces`; all may be left out."""

    min_duration: Annotated[
        Annotated[float, Field(ge=0)] | None,
        BeforeValidator(blank_is_none),
        Field(description="Only traces that took so many milliseconds."),
    ] = None
    service: ServiceName = None
    failed: Annotated[
        bool | None,
        BeforeValidator(blank_is_none),
        Field(description="true: only traces with a failing span."),
    ] = None


class FoundTrace(NamedTuple):
    """A trace: its root, the span it is known by, how long it took, what failed in it."""

    root: StoredSpan
    request: StoredSpan
    """The first span of another service; the root where there is none."""
    known_by: StoredSpan
    duration_ms: float
    spans: int
    failing: Sequence[StoredSpan]

    @property
    def badness(self) -> tuple[bool, float]:
        """Failing before slow."""
        return bool(self.failing), self.known_by.duration_ms


class FindTraces(StoreTool):
    """Finds traces that failed or took long."""

    name = "find_traces"
    description = (
        "Find traces by duration, service or failure, one row for each kind of request: its worst trace "
        "with start, duration, root operation, spans, what failed, and how many traces are alike. Failing"
        " ones first, then the slowest. Read one with read_trace."
    )
    arguments: type[BaseModel] = FindTracesArguments

    def answer_to(self, given: Any) -> ToolResult:
        """Search. Raises ToolInputError for a window that cannot be read or a negative cursor."""
        start = page_start(given.cursor)
        try:
            service = None if given.service is None else known_service(given.service, self.store)
        except NoSuchService:
            return self.answer(*no_such_service(given.service, self.store.services()))
        spans = self.store.spans()
        window = self._window(given.window, spans)
        found = [trace for trace in traces(spans, service) if _wanted(trace, given, window)]
        kinds = _by_request(found)
        text = f"{count(len(found), 'trace')} of {count(len(kinds), 'kind')} of requests"
        text += f" in {told(window, self.store.stretch())}" if window else ""
        if start >= len(kinds):
            return self.answer(f"nothing after cursor={start}: {text}" if kinds else f"no traces: {text}")
        rest = kinds[start : start + max(1, self.budget_tokens // 8)]
        page = self.page(self.header(text, len(kinds), start), rest, len(rest), self._row)
        worst = [alike[0] for alike, _ in page.shown]
        seen = {span.span_id for trace in worst for span in (trace.root, trace.known_by)}
        shown = (Evidence(kind="span", id=span_id) for span_id in seen)
        return self.result(page.lines, page.room_left, (), (trace.root.trace_id for trace in worst), shown)

    def _window(self, text: OptionalText, spans: Sequence[StoredSpan]) -> Stretch | None:
        whole = widened(self.store.stretch(), [span.start_us for span in spans])
        if text is not None and whole is None:
            raise ToolInputError("window: nothing in this incident has a clock; leave it out")
        return None if text is None or whole is None else stretch_named("window", text, whole)

    def _row(self, alike: Sequence[FoundTrace], room: int) -> Row:
        worst = alike[0]
        head = f"{clock_text(worst.root.start_us, self.store.stretch())} {worst.duration_ms:.0f} ms {worst.root.service}"
        tail = f" trace {self.store.short('trace', worst.root.trace_id)}"  # behind what it is known by: docs/adr/0003
        if worst.request is not worst.root:
            tail += f" > {worst.request.service} {clip(one_line(worst.request.operation), 24)}"
        tail += f", {count(worst.spans, 'span')}"
        if worst.known_by is not worst.root:
            tail += f", {worst.known_by.service} {worst.known_by.duration_ms:.0f} ms"
        if worst.failing:
            first = worst.failing[-1]
            named = clip(one_line(f"{first.service} {first.operation} {first.status}"), 16)
            tail += f", {len(worst.failing)} failed: {named}"
        if len(alike) > 1:
            usual = quantile(sorted(trace.known_by.duration_ms for trace in alike), 0.5)
            tail += f", {len(alike)} alike, p50 {usual:.0f} ms"
        left = room - estimate_tokens(f"{head} {tail}")
        text = f"{head} {clip(one_line(worst.root.operation), left)}{tail}"
        return Row(text, estimate_tokens(text), True)


def _wanted(trace: FoundTrace, given: FindTracesArguments, window: Stretch | None) -> bool:
    """Whether a trace has what is asked for; what is not asked for does not matter."""
    return (
        (window is None or window.first_us <= trace.root.start_us <= window.last_us)
        and (given.min_duration is None or trace.known_by.duration_ms >= given.min_duration)
        and (given.failed is None or bool(trace.failing) == given.failed)
    )


def traces(spans: Iterable[StoredSpan], service: str | None) -> list[FoundTrace]:
    """Return all traces, or those that a service has a span in."""
    by_trace: dict[str, list[StoredSpan]] = {}
    for span in spans:
        by_trace.setdefault(span.trace_id, []).append(span)
    found = []
    for members in by_trace.values():
        own = [span for span in members if span.service == service] if service else members
        if not own:
            continue
        root = _root(members)
        known_by = max(own, key=lambda span: span.duration_ms) if service else root
        end_us = max(span.start_us + span.duration_ms * 1000 for span in members)
        duration_ms = (end_us - min(span.start_us for span in members)) / 1000
        failing = [span for span in own if span.status in FAILED]
        request = next((span for span in members if span.service != root.service), root)
        found.append(FoundTrace(root, request, known_by, duration_ms, len(members), failing))
    return found


def _root(spans: Sequence[StoredSpan]) -> StoredSpan:
    """The earliest span that has no parent, or the earliest of all."""
    return next((span for span in spans if not span.parent_span_id), spans[0])


def _by_request(found: Iterable[FoundTrace]) -> list[list[FoundTrace]]:
    """Traces of one kind of request together, the worst first, among them and within them."""
    kinds: dict[tuple[tuple[str, str], ...], list[FoundTrace]] = {}
    for trace in sorted(found, key=lambda one: one.badness, reverse=True):
        asked = trace.root, trace.request
        key = tuple((span.service, span.operation) for span in asked)
        kinds.setdefault(key, []).append(trace)
    return list(kinds.values())
