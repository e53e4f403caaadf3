"""`demo`: a whole investigation on a generated run, in the terminal, with real
output and without any account.

It writes a run as SCT would, serves it from a stand-in of Argus on loopback, and walks the five steps of an
investigation through the same tools that an assistant gets over MCP. Nothing leaves this machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from core.command_line import printable
from project_types import ConfigurationError
from testrun_investigator.demo_runs.packing import TRUTH, write_runs
from testrun_investigator.demo_runs.plots import plots
from testrun_investigator.demo_runs.stand_in import TOKEN, StandIn, served
from testrun_investigator.settings import read_settings
from testrun_investigator.toolbox import Toolbox

Say = Callable[[str], None]
_NODE = re.compile(r"\bnode=(\S+)")


def command(arguments: argparse.Namespace) -> int:
    """Show the investigation."""
    if arguments.plot not in plots():
        raise ConfigurationError(f"--plot {arguments.plot}: is unknown; known: {', '.join(plots())}")
    if arguments.keep:
        asyncio.run(show(arguments.keep, arguments.plot, arguments.seed, _say))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(show(Path(folder), arguments.plot, arguments.seed, _say))
    return 0


def _say(text: str) -> None:
    print(printable(text), flush=True)


async def show(folder: Path, plot: str, seed: int, say: Say) -> None:
    """Write, serve and investigate a run; everything lies below `folder`."""
    say(f"Writing a test run (plot and seed: {plot} {seed}) as SCT and Argus would give it out ...")
    (run,) = write_runs(folder / "runs", (plot,), seed)
    with served(StandIn(folder / "runs")) as url:
        environment = {"ARGUS_URL": url, "ARGUS_TOKEN": TOKEN, "TESTRUN_CACHE_DIR": str(folder / "cache")}
        toolbox = Toolbox(read_settings(environment, folder))
        try:
            await _steps(toolbox, run.name, say)
        finally:
            toolbox.close()
    truth = json.loads((run / TRUTH).read_text(encoding="utf-8"))
    say(f"\nWhat really happened (the assistant never sees this):\n  {truth['cause']}")


async def _steps(toolbox: Toolbox, run_id: str, say: Say) -> None:
    say(f"\n1. get_test_run_info(test_id='{run_id}')")
    info = await toolbox.answer("get_test_run_info", lambda: toolbox.get_test_run_info(run_id))
    say(f"   {info.status}, Scylla {info.scylla_version}, {info.start} to {info.end}")
    for nemesis in info.nemeses:
        say(f"   nemesis {nemesis.name} on {nemesis.target}: {nemesis.status}")
    say("\n2. events by severity, and the logs that were collected")
    say("   " + ", ".join(f"{severity}: {number}" for severity, number in info.event_counts.items()))
    say("   " + ", ".join(log.name for log in info.logs))
    say("\n3. ingest_logs(url=<each log>, run_id)")
    for log in info.logs:
        await _ingest(toolbox, log.name, run_id, say)
    say("\n4. query_raw_events_log(severity='ERROR'), query_actions_log(), compare(), query_metrics()")
    first = await _events(toolbox, run_id, say)
    await _actions(toolbox, run_id, first, say)
    await _metrics(toolbox, run_id, say)
    topic = first.message[:200]
    say(f"\n5. get_investigation_instructions(topic='{topic[:70]}...')")
    advice = await toolbox.get_investigation_instructions(topic)
    for passage in advice.passages:
        say(f"   {passage.place} {passage.heading} ({passage.score:.2f})")
    say("\nsave_finding(cause, service, log_ids=[the first error])")
    said = f"First error of the run: {first.message[:160]}"
    node = _NODE.search(first.message)
    blamed = node[1] if node else "unknown"
    saved = await toolbox.answer(
        "save_finding", lambda: toolbox.save_finding(run_id, said, blamed, [first.id], author="demo")
    )
    say(f"   kept as finding {saved.finding_id}, blamed {saved.service}; its row {saved.checked}")


async def _ingest(toolbox: Toolbox, name: str, run_id: str, say: Say) -> None:
    begun = await toolbox.ingest_logs(name, run_id)
    done = await toolbox.get_ingestion_status(begun.task_id, wait_s=20)
    counts = ", ".join(f"{number} {what}" for what, number in done.counts.items() if what != "lines")
    say(f"   {name}: {done.state}, {counts}")


async def _events(toolbox: Toolbox, run_id: str, say: Say) -> Any:
    found = await toolbox.query_logs_by_stream(run_id, "event", 5, severity="ERROR")
    for row in found.rows:
        say(f"   {row.time} {row.message[:150]}")
    say(f"   {found.matched} match, {found.cut} more")
    return found.rows[0]


async def _actions(toolbox: Toolbox, run_id: str, first: Any, say: Say) -> None:
    say(f"   What did the test do until {first.time[11:16]}?")
    actions = await toolbox.query_logs_by_stream(run_id, "action", 200, end_time=first.time)
    for row in actions.rows[-3:]:
        say(f"   {row.time} {row.message[:150]}")
    say("   Which lines are new since then?")
    compared = await toolbox.compare(run_id, window=first.time[11:16])
    for line in compared.text.splitlines()[:5]:
        say(f"   {line[:170]}")


async def _metrics(toolbox: Toolbox, run_id: str, say: Say) -> None:
    if not toolbox.metrics.ready(run_id):
        say("   no metrics: they need Prometheus (apt-get install prometheus)")
        return
    for name in ("disk_free", "load"):
        found = await toolbox.query_metrics(run_id, name=name, limit=1)
        for one in found.series:
            say(
                f"   {name}: {one.labels} usually {one.usual:.4g} {found.unit}, {one.lowest:.4g} to {one.highest:.4g}"
            )
