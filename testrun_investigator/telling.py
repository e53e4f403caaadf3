"""Pieces of answers: arguments checked, tasks and series in short, what is missing of a run
and which call brings it.

What a tool answers is `toolbox`, the shapes are `answers`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from project_types import Level, ToolInputError
from testrun_investigator import answers
from testrun_investigator.ingestion import Task
from testrun_investigator.prometheus import Series


def level_of(severity: str | None) -> Level | None:
    if severity is None or not severity.strip():
        return None
    names = {"CRITICAL": Level.FATAL, "WARNING": Level.WARN, "NORMAL": Level.INFO} | {
        level.name: level for level in Level if level is not Level.UNKNOWN
    }
    try:
        return names[severity.strip().upper()]
    except KeyError:
        raise ToolInputError(f"severity={severity[:40]!r}: use one of {', '.join(names)}") from None


def told(**filters: str | None) -> str:
    return ", ".join(f"{name}={value}" for name, value in filters.items() if value)


def streams_of(tasks: Sequence[Task]) -> dict[str, int]:
    """Count rows by stream over all ingestions; a file that was ingested twice counts once."""
    found: dict[str, int] = {}
    for task in {task.id: task for task in tasks}.values():
        for stream, number in task.streams.items():
            found[stream] = found.get(stream, 0) + number
    return found


def missing_and_next(
    run_id: str, facts: bool, tasks: Sequence[Task], rows: Mapping[str, int], metrics: bool
) -> tuple[list[str], list[str]]:
    """Say what is not at hand and which call brings it."""
    missing, steps = [], []
    if not facts:
        missing.append("facts of the run")
        steps.append(f"get_test_run_info(test_id='{run_id}')")
    for task in tasks:
        if task.state == "running":
            steps.append(f"get_ingestion_status(task_id='{task.id}')")
        elif task.state in ("failed", "interrupted"):
            missing.append(f"{log_name(task.source)}: {task.state}, {task.error[:160]}")
    wanted = {"event": "sct-runner-events", "node": "db-cluster", "stress": "loader-set"}
    for stream, archive in wanted.items():
        if not rows.get(stream):
            missing.append(f"rows of stream {stream}")
            steps.append(f"ingest_logs(url='<{archive}... of get_test_run_info>', run_id='{run_id}')")
    if not metrics:
        missing.append("metrics")
        steps.append(f"ingest_logs(url='<monitor-set... of get_test_run_info>', run_id='{run_id}')")
    if rows.get("event"):
        steps.append(f"query_raw_events_log(run_id='{run_id}', severity='ERROR')")
        steps.append(f"search_logs(run_id='{run_id}', min_level='ERROR')")
    return missing, steps[:6]


def log_name(source: str) -> str:
    """Return the name of a log: the last part of its path, or what Argus calls it."""
    return source.removesuffix("/download").rpartition("/")[2] or source


def task_info(task: Task) -> answers.TaskInfo:
    share = task.share
    steps = {
        "running": [f"get_ingestion_status(task_id='{task.id}', wait_s=15)"],
        "done": [f"run_overview(run_id='{task.run_id}')"],
    }.get(task.state, ["ingest_logs(...) again, or another log"])
    return answers.TaskInfo(
        task_id=task.id,
        run_id=task.run_id,
        source=log_name(task.source),
        state=task.state,
        percent=None if share is None else round(100 * share),
        file=task.file,
        rows=task.counts.get("rows", 0),
        counts=task.counts,
        streams=task.streams,
        skipped=tuple(f"{one.name}: {one.why}" for one in task.skipped[:30]),
        error=task.error,
        next=tuple(steps),
    )


def series_info(series: Series, points: bool) -> answers.SeriesInfo:
    low, high = series.lowest, series.highest
    return answers.SeriesInfo(
        labels=", ".join(f"{name}={value}" for name, value in sorted(series.labels.items())),
        usual=series.usual,
        lowest=low[1],
        lowest_at=f"{low[0]:%Y-%m-%dT%H:%M:%SZ}",
        highest=high[1],
        highest_at=f"{high[0]:%Y-%m-%dT%H:%M:%SZ}",
        last=series.points[-1][1],
        points=tuple((f"{at:%H:%M:%S}", value) for at, value in series.points) if points else (),
    )
