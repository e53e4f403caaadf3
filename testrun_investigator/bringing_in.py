"""Bring a run in before a policy investigates it: facts from Argus, logs, and the metrics beside the logs.

A policy of ours has the tools it was trained on, and `read_metrics` reads the log store. So the run's metrics
are copied there, a point for each minute. What is missing is said; it keeps nobody from looking at the rest.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Iterator, Sequence

from core.log_stores.contract import LogStore
from core.sct_logs import safe_service
from project_types import InvestigatorError, MetricSeries
from testrun_investigator.argus_run import ArgusRun
from testrun_investigator.prometheus import NAMED, Series
from testrun_investigator.toolbox import Toolbox

WANTED = ("sct-runner-events", "db-cluster", "loader-set")
MONITOR = "monitor-set"
"""Needs a Prometheus on this machine to be read."""
_WAIT_S = 3600.0
Say = Callable[[str], None]


async def brought_in(toolbox: Toolbox, run_id: str, say: Say) -> ArgusRun | None:
    """Read the run from Argus where it is set, ingest the archives that are still
    missing, and copy the metrics.
    """
    run = toolbox.facts.known(run_id)
    if toolbox.settings.argus.url:
        run = await toolbox.facts.read(run_id, 8, toolbox.deadline_s)
    done = {task.source for task in toolbox.logs.tasks.of_run(run_id) if task.state == "done"}
    wanted = (*WANTED, MONITOR) if shutil.which("prometheus") else WANTED
    for link in run.logs if run and toolbox.settings.argus.url else ():
        source = toolbox.facts.link(run_id, link.name) or ""
        if link.name.startswith(wanted) and source not in done:
            await _ingest(toolbox, run_id, link.name, source, say)
    await _metrics(toolbox, run_id, say)
    return run


async def _ingest(toolbox: Toolbox, run_id: str, name: str, source: str, say: Say) -> None:
    say(f"reading {name} ...")
    task_id = await asyncio.to_thread(toolbox.logs.ingest_logs, source, run_id)
    task = await asyncio.to_thread(toolbox.logs.tasks.wait, task_id, _WAIT_S)
    rows = task.counts.get("rows", 0) if task else 0
    say(f"  {task.state if task else 'lost'}, {rows} rows{': ' + task.error if task and task.error else ''}")


async def _metrics(toolbox: Toolbox, run_id: str, say: Say) -> None:
    """Copy the metrics worth asking about any run into its store, once."""
    if not toolbox.metrics.ready(run_id):
        return
    store = await asyncio.to_thread(toolbox.logs.open_store, run_id)
    if store.metrics():
        return
    try:
        await _copy(toolbox, run_id, store)
    except InvestigatorError as trouble:
        say(f"  without metrics: {trouble}")


async def _copy(toolbox: Toolbox, run_id: str, store: LogStore) -> None:
    whole = await asyncio.to_thread(toolbox.run_window, run_id)
    found: list[MetricSeries] = []
    for name, query in NAMED.items():
        answer = await toolbox.metrics.query(run_id, query.promql, whole, None, None, toolbox.deadline_s)
        # who reads it, or looks for "disk" or "memory", finds it by what it measures
        measured = f"{name}: {query.meaning} ({query.unit})"
        found += _series(measured, answer.series, store.services())
    await asyncio.to_thread(lambda: store.ingest(metrics=found))


def _series(name: str, series: Sequence[Series], services: Sequence[str]) -> Iterator[MetricSeries]:
    for one in series:
        owner = one.labels.get("instance", "").partition(":")[0]
        if owner and one.points:
            service = owner if owner in services else safe_service(owner)
            yield MetricSeries(service=service, name=name, points=tuple(one.points))
