"""The agent's tools `rank_services` and `explain_service`: the ranker over what a log store shows the agent.

They see the rows, spans and metrics that the other tools see, and no declared calls. What a reason rests on
is printed as rows, spans and series, so that it can be cited. `log_search_tools` offers them where
`EpisodeConfig.ranker` is on.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BaseModel, Field

from core.log_stores.contract import Kind, Line, LogQuery, LogStore, StoredSeries, StoredSpan
from core.log_stores.printing import Row, estimate_tokens, one_line, printed
from core.log_stores.query import Arguments, NoSuchService, OptionalText, known_service
from core.tools.store_tool import StoreTool, no_such_service
from graph_rca.explain import Reason, reasons
from graph_rca.graph import InsufficientEvidence
from graph_rca.rank import Ranked, ranked
from project_types import Evidence, Incident, Level, LogRecord, MetricSeries, Span, ToolResult, Window

MOST_RANKED = 8
"""Services that `rank_services` names."""
_EXPLAINED = 6
"""Reasons that `explain_service` gives."""

Alert = Annotated[
    OptionalText, Field(description="What is wrong as you were told it, with the time; it may be left out.")
]


def incident_of(store: LogStore, alert: str = "") -> Incident:
    """Return what a store holds as an incident. `alert` is its description, and holds its time."""
    healthy = store.baseline()
    return Incident(
        id="incident", description=alert or "Something is wrong.", time_hint=alert, services=tuple(store.services()),
        logs=tuple(map(_record, store.lines(LogQuery()))), spans=tuple(map(_span, store.spans())),
        metrics=tuple(map(_series, store.metrics())),
        baseline=Window(start=_at(healthy.first_us), end=_at(healthy.last_us)) if healthy else None,
    )  # fmt: skip


def _record(one: Line) -> LogRecord:
    return LogRecord.model_validate({
        "id": one.id, "timestamp": _at(one.at_us) if one.has_clock else None, "service": one.service,
        "level": Level(one.level).name, "message": one.text, "trace_id": one.trace_id,
    })  # fmt: skip


def _span(one: StoredSpan) -> Span:
    fields = {**one._asdict(), "start": _at(one.start_us)}
    del fields["start_us"]
    return Span.model_validate(fields)


def _series(one: StoredSeries) -> MetricSeries:
    points = [(_at(at), value) for at, value in one.points]
    return MetricSeries.model_validate({"service": one.service, "name": one.name, "points": points})


def _at(at_us: int) -> datetime:
    return datetime.fromtimestamp(at_us / 1e6, UTC)


class RankArguments(Arguments):
    """Arguments of `rank_services`."""

    alert: Alert = None


class ExplainArguments(Arguments):
    """Arguments of `explain_service`."""

    service: Annotated[str, Field(description="The service; a unique beginning of its name is enough.")]
    alert: Alert = None


class RankerTool(StoreTool):
    """What both have in common: a ranking, made once for an alert."""

    def __init__(self, store: LogStore, budget_tokens: int) -> None:
        super().__init__(store, budget_tokens)
        self._kept: tuple[str, Ranked] | None = None

    def ranking(self, alert: str | None) -> Ranked:
        """Return the ranking. Raises InsufficientEvidence."""
        text = alert or ""
        if self._kept is None or self._kept[0] != text:
            self._kept = text, ranked(incident_of(self.store, text))
        return self._kept[1]

    def answer_to(self, given: Any) -> ToolResult:
        """Answer, or say that there is nothing to rank by."""
        try:
            return self.told(given)
        except InsufficientEvidence as refusal:
            return self.answer(str(refusal))

    def told(self, given: Any) -> ToolResult:
        """Answer. Raises InsufficientEvidence."""
        raise NotImplementedError

    def fitting(self, head: Sequence[str], rows: Sequence[tuple[str, Evidence | None]]) -> ToolResult:
        """Print as many rows as the budget allows; only what was printed counts as seen."""
        room = self.budget_tokens - sum(estimate_tokens(line) + 1 for line in head)
        lines, seen = list(head), []
        for text, evidence in rows:
            room -= estimate_tokens(text) + 1
            if room < 0:
                break
            lines.append(text)
            seen += [evidence] if evidence else []
        logs = [one.id for one in seen if one.kind == "log"]
        return self.result(lines, 0, logs, other=[one for one in seen if one.kind != "log"])


class RankServices(RankerTool):
    """Names the likeliest root causes."""

    name = "rank_services"
    description = (
        "Rank services by how likely each is the root cause, from logs, spans and metrics together, with the way the "
        "trouble takes to the users. It can be wrong: check its first services with explain_service and the other tools."
    )
    arguments: type[BaseModel] = RankArguments

    def told(self, given: Any) -> ToolResult:
        """Rank. Raises InsufficientEvidence."""
        found = self.ranking(given.alert)
        graph = found.graph
        head = [f"{len(graph.services)} services, the likeliest root cause first"]
        head += [f"missing: {'; '.join(graph.missing)}"] if graph.missing else []
        head.append(f"way to the users: {' -> '.join(found.path())}")
        rows = [
            f"{number}. {graph.services[place]} {100 * found.probabilities[place]:.0f} %"
            for number, place in enumerate(found.order[:MOST_RANKED], 1)
        ]
        return self.fitting(head, [(one_line(row), None) for row in rows])


class ExplainService(RankerTool):
    """Says what a service's rank rests on."""

    name = "explain_service"
    description = (
        "Say why a service is ranked where it is: how far its probability falls without its metrics, logs or traces, "
        "or without one call, with the rows, spans and series behind each reason."
    )
    arguments: type[BaseModel] = ExplainArguments

    def told(self, given: Any) -> ToolResult:
        """Explain. Raises InsufficientEvidence."""
        try:
            name = known_service(given.service, self.store)
        except NoSuchService:
            return self.answer(*no_such_service(given.service, self.store.services()))
        found = self.ranking(given.alert)
        place = found.graph.services.index(name)
        share, rank = 100 * found.probabilities[place], found.order.index(place) + 1
        why = reasons(found, place, _EXPLAINED)
        rows = [row for reason in why for row in self._rows(reason)]
        head = f"{name}: rank {rank} of {len(found.order)}, {share:.0f} %"
        return self.fitting([head], rows or [("nothing that is taken away lowers its probability", None)])

    def _rows(self, reason: Reason) -> list[tuple[str, Evidence | None]]:
        told = one_line(f"-{100 * reason.drop:.0f} points without {reason.what}: {reason.text}")
        return [(told, None), *((self._row(one), one) for one in reason.evidence)]

    def _row(self, one: Evidence) -> str:
        if one.kind != "log":
            return one_line(f"  {one.kind} {one.id}")
        (line,) = self.store.around(one.id, 0, 0)
        row: Row = printed(self.store, Kind(line, 1, (line.service,)), self.most(9), trace=True)
        return row.text
