"""Which node of a test run is the likeliest cause: the run as an incident of its nodes, for the graph ranker.

The tools that rank and explain are those of the agent (`core.tools.ranker`), over a copy of the run in
memory. The copy is bounded: a run may have millions of lines. The test's own logs are no suspects, so they
are left out. Only lines are read. A run has no spans, and metrics made the ranking worse: nodes that do a
sick one's work move too (docs/adr/0171).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from core.log_stores.contract import IdKind, Line, LogQuery, LogStore, Stretch
from core.log_stores.memory import memory_store
from core.log_stores.sqlite import SqliteStore
from core.log_stores.times import windows
from core.sct_logs import SERVICES
from core.tools.compare import Compare
from core.tools.ranker import ranker_tools
from core.tools.store_tool import StoreTool
from project_types import Incident, Level, LogRecord, ToolInputError, Window
from testrun_investigator import answers

PARTS, LINES_OF_A_PART = 8, 1000
"""The stretch before and the one looked at are read in so many parts: so many lines of each at
most, and as many loud ones.
"""
_BEFORE_US, _AFTER_US = 180_000_000, 1_200_000_000
"""What is looked at around the first error, when no window is named."""


class Looked(NamedTuple):
    """A run as the ranker sees it."""

    incident: Incident
    cut: int
    """Parts of which only the first lines were read."""


class _Copy(SqliteStore):
    """A part of a run. An id's beginning that is unique here may not be so in the
    whole run, so none is cut.
    """

    def short(self, kind: IdKind, full: str) -> str:
        return full


def look(store: LogStore, window: str | None = None) -> Looked:
    """Return the nodes of a run, before and in a window. Without one it lies around the first error.

    Raises:
        ToolInputError: the window names no stretch, or nothing comes before it.
    """
    now, before = windows(store, window, None) if window else _around_the_first_error(store)
    if before is None:
        raise ToolInputError("window: nothing comes before it to compare with; name a later one")
    nodes = [one for one in store.services() if one not in SERVICES.values()]
    found: dict[str, Line] = {}
    cut = 0
    for part in (*_parts(before), *_parts(now)):
        for level in (Level.WARN, None):  # the loud ones by themselves: in a flood they come late
            query = LogQuery(min_level=level, start_us=part.first_us, end_us=part.last_us)
            lines = store.lines(query, 0, LINES_OF_A_PART)
            found |= {line.id: line for line in lines if line.service in nodes}
        cut += len(lines) == LINES_OF_A_PART
    return Looked(
        Incident(
            id="test-run", description="A test run failed.", time_hint=f"{_at(now.first_us):%H:%M}",
            services=tuple(nodes), logs=tuple(map(_record, found.values())),
            baseline=Window(start=_at(before.first_us), end=_at(before.last_us)),
        ),
        cut,
    )  # fmt: skip


def ranked(looked: Looked, service: str | None = None) -> str:
    """Return the ranking of the nodes, or why one of them stands where it does, with what was not seen.

    Raises:
        ConfigurationError: the extra of the ranker is not installed.
    """
    ranks, explains = ranker_tools()
    copy = memory_store(looked.incident)
    whole = _Copy(copy.file, copy.scenario_id)
    alert = {"alert": looked.incident.time_hint}
    if service is None:
        text = _told(ranks(whole, answers.USUAL_TOKENS), alert)
    else:
        text = _told(explains(whole, answers.USUAL_TOKENS // 3), alert | {"service": service})
        # which of its lines are new can be cited, also where no single reason lowers the probability
        if not text.startswith("no service"):
            text += "\n" + _told(Compare(whole, answers.USUAL_TOKENS // 2), {"service": service})
    if looked.cut:
        text += f"\nof {looked.cut} of {2 * PARTS} parts only the first {LINES_OF_A_PART} lines were read, loud ones apart"
    return text


def _told(tool: StoreTool, asked: Mapping[str, str]) -> str:
    return tool.answer_to(tool.arguments.model_validate(asked)).text


def _around_the_first_error(store: LogStore) -> tuple[Stretch, Stretch | None]:
    events = SERVICES["event"] if SERVICES["event"] in store.services() else None
    first = store.lines(LogQuery(service=events, min_level=Level.ERROR), 0, 1)
    whole = store.stretch()
    if not first or whole is None:
        raise ToolInputError("window: the run has no ERROR to look around; name a window like 05:30/05:45")
    start = max(whole.first_us, first[0].at_us - _BEFORE_US)
    now = Stretch(start, min(whole.last_us, first[0].at_us + _AFTER_US))
    return now, Stretch(whole.first_us, start - 1) if start > whole.first_us else None


def _parts(stretch: Stretch) -> Iterator[Stretch]:
    step = (stretch.last_us - stretch.first_us) // PARTS + 1
    for start in range(stretch.first_us, stretch.last_us + 1, step):
        yield Stretch(start, min(start + step - 1, stretch.last_us))


def _record(line: Line) -> LogRecord:
    fields: dict[str, Any] = {
        "id": line.id, "timestamp": _at(line.at_us) if line.has_clock else None, "service": line.service,
        "level": Level(line.level).name, "message": line.text, "trace_id": line.trace_id,
    }  # fmt: skip
    return LogRecord.model_validate(fields)


def _at(at_us: int) -> datetime:
    return datetime.fromtimestamp(at_us / 1_000_000, UTC)
