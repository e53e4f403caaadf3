"""What the tools answer: plain data with few fields, sized by tokens, honest about what was cut.

Every answer that leaves the server goes through `cleaned`, which takes secrets out of each of its texts. How
an answer is found is `toolbox`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from core.log_stores.contract import Line
from core.log_stores.token_budget import clip, estimate_tokens
from core.redaction import redact
from project_types import Frozen, Level

USUAL_TOKENS = 3_000
MOST_TOKENS = 18_000
"""Clients refuse or spill results over about 25,000 tokens."""
ROW_TOKENS = 250
_LEVELS = {level.value: level.name for level in Level}
Answer = TypeVar("Answer", bound=Frozen)


class LogRow(Frozen):
    """A row of a log."""

    id: str
    """Cite it with this."""
    time: str
    level: str
    service: str
    message: str


class LogRows(Frozen):
    """Rows in time order."""

    run_id: str
    searched: str
    matched: int
    rows: tuple[LogRow, ...]
    cut: int
    """Rows that match, come later and are not shown."""
    next_offset: int | None = None
    """Ask again with this offset for the next page."""
    logs_until: str = ""
    """The last moment that any log of the run speaks of."""
    note: str = ""


class Text(Frozen):
    """An answer in words."""

    run_id: str
    text: str
    logs_until: str = ""
    """The last moment that any log of the run speaks of."""
    note: str = ""


class NemesisInfo(Frozen):
    """A disruption that the test made on purpose."""

    name: str
    target: str
    status: str
    start: str
    end: str
    error: str = ""


class EventInfo(Frozen):
    """An event as Argus shows it."""

    time: str
    severity: str
    type: str
    node: str
    message: str


class LogInfo(Frozen):
    """A log that was collected. Give its name to ingest_logs."""

    name: str
    ingested: bool


class RunInfo(Frozen):
    """What Argus knows of a run."""

    run_id: str
    test: str
    job: str
    status: str
    start: str
    end: str
    scylla_version: str
    packages: Mapping[str, str]
    cluster: Mapping[str, Any]
    nodes: tuple[str, ...]
    nemeses: tuple[NemesisInfo, ...]
    event_counts: Mapping[str, int]
    first_events: tuple[EventInfo, ...]
    failed_results: tuple[str, ...]
    comments: tuple[str, ...]
    logs: tuple[LogInfo, ...]
    missing: tuple[str, ...] = ()
    """What Argus did not answer, and why."""
    next: tuple[str, ...] = ()


class TaskInfo(Frozen):
    """An ingestion."""

    task_id: str
    run_id: str
    source: str
    state: str
    percent: int | None
    file: str
    rows: int
    counts: Mapping[str, int]
    streams: Mapping[str, int]
    skipped: tuple[str, ...]
    error: str = ""
    next: tuple[str, ...] = ()


class Overview(Frozen):
    """What is at hand for a run, what is missing, and what to call next."""

    run_id: str
    status: str
    time_range: str
    rows: Mapping[str, int]
    """Rows by stream."""
    services: tuple[str, ...]
    ingestions: tuple[str, ...]
    metrics: str
    findings: tuple[str, ...]
    similar: tuple[str, ...]
    missing: tuple[str, ...]
    next: tuple[str, ...]


class SeriesInfo(Frozen):
    """A time series in short."""

    labels: str
    usual: float
    lowest: float
    lowest_at: str
    highest: float
    highest_at: str
    last: float
    points: tuple[tuple[str, float], ...] = ()


class MetricsAnswer(Frozen):
    """A range query's answer, the series that moved furthest first."""

    run_id: str
    query: str
    unit: str
    range: str
    """The time that was asked about: always that of the run, or a part of it."""
    step_s: int
    series: tuple[SeriesInfo, ...]
    cut: int
    note: str = ""


class PassageInfo(Frozen):
    """A part of a page of the knowledge base."""

    place: str
    title: str
    heading: str
    text: str
    score: float


class Instructions(Frozen):
    """What the knowledge base says."""

    topic: str
    passages: tuple[PassageInfo, ...]
    note: str = ""


class FindingInfo(Frozen):
    """A finding, whether its rows still hold, and why it is offered."""

    finding_id: str
    run_id: str
    at: str
    cause: str
    service: str
    fault_type: str
    confidence: float | None
    versions: Mapping[str, str]
    evidence: tuple[LogRow, ...]
    next_actions: tuple[str, ...]
    checked: str
    why_similar: str = ""


class Findings(Frozen):
    """Findings, the newest or the most similar first."""

    findings: tuple[FindingInfo, ...]
    cut: int = 0
    note: str = ""


def log_row(line: Line, clock: str) -> LogRow:
    """Return a line as a row; a long message is cut with a mark."""
    return LogRow(
        id=line.id,
        time=clock,
        level=_LEVELS[line.level],
        service=line.service,
        message=clip(line.text, ROW_TOKENS),
    )


def that_fit(rows: Iterable[Answer], budget_tokens: int) -> list[Answer]:
    """Return the first rows that fit, at least one."""
    kept: list[Answer] = []
    left = min(budget_tokens, MOST_TOKENS)
    for row in rows:
        left -= estimate_tokens(row.model_dump_json())
        if left < 0 and kept:
            break
        kept.append(row)
    return kept


def cleaned(answer: Answer, secrets: Mapping[str, str]) -> Answer:
    """Return the answer with every secret in its texts masked. `secrets`: more values by name."""
    environment = {**os.environ, **secrets}
    return type(answer).model_validate(_cleaned(answer.model_dump(), environment))


def _cleaned(value: Any, environment: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return redact(value, environment) if len(value) > 7 else value
    if isinstance(value, dict):
        return {key: _cleaned(one, environment) for key, one in value.items()}
    if isinstance(value, Sequence):
        return type(value)(_cleaned(one, environment) for one in value)  # type: ignore[call-arg]
    return value
