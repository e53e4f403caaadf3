"""The server as a real process, over stdio and over HTTP, with the official client in both protocol modes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from mcp import Client

from testrun_investigator.client_files import FILES, contents, write
from testrun_investigator.demo_runs.stand_in import TOKEN, StandIn
from tests.fakes.file_server import Page, file_server
from tests.testrun_investigator.conftest import RUN_ID
from tests.testrun_investigator.mcp_client import MODES, ROOT, call, environment, http_server, ingested, stdio

pytestmark = pytest.mark.slow


@pytest.fixture
def settings(argus_server: StandIn, tmp_path: Path) -> dict[str, str]:
    pages = tmp_path / "pages"
    pages.mkdir()
    (pages / "disk-space.md").write_text((ROOT / "knowledge_base/disk-space.md").read_text())
    return {
        "ARGUS_URL": argus_server.base + "/",
        "ARGUS_TOKEN": TOKEN,
        "TESTRUN_CACHE_DIR": str(tmp_path / "cache"),
        "RAG_KNOWLEDGE_BASE_DIR": str(pages),
    }


async def investigated(client: Client) -> str:
    await ingested(client, RUN_ID, "sct-runner")
    errors = await call(client, "query_raw_events_log", run_id=RUN_ID, severity="ERROR", limit=1)
    return str(errors["rows"][0]["message"])


@pytest.mark.parametrize("mode", MODES)
async def test_a_run_is_investigated_over_stdio(settings: dict[str, str], tmp_path: Path, mode: Any) -> None:
    async with Client(stdio(settings, tmp_path), mode=mode) as client:
        assert len((await client.list_tools()).tools) == 14
        assert "No space left" in await investigated(client)
        advice = await call(client, "get_investigation_instructions", topic="disk full")
        assert advice["passages"][0]["place"].startswith("disk-space.md")


@pytest.mark.parametrize("mode", MODES)
async def test_two_clients_investigate_over_http_at_once(
    settings: dict[str, str], tmp_path: Path, mode: Any
) -> None:
    async with http_server(settings, tmp_path) as url:

        async def one() -> str:
            async with Client(url, mode=mode) as client:
                return await investigated(client)

        said = await asyncio.gather(one(), one())
    assert said[0] == said[1]


async def test_over_http_host_origin_and_token_are_checked(settings: dict[str, str], tmp_path: Path) -> None:
    asked = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
    wrong: tuple[dict[str, str], ...] = (
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Bearer let-me-in-please", "Host": "evil.example.com"},
        {"Authorization": "Bearer let-me-in-please", "Origin": "https://evil.example.com"},
    )
    settings |= {"TESTRUN_SERVER_TOKEN": "let-me-in-please"}
    async with http_server(settings, tmp_path) as url, httpx.AsyncClient(trust_env=False) as client:
        codes = [(await client.post(url, json=asked, headers=headers)).status_code for headers in wrong]
        right = await client.post(url, json=asked, headers={"Authorization": "Bearer let-me-in-please"})
    assert codes == [401, 401, 403, 403]
    assert right.status_code not in (401, 403)


def test_another_host_without_a_token_is_refused(settings: dict[str, str], tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "testrun_investigator",
        "serve",
        "--http",
        "--host",
        "0.0.0.0",
        "--port",
        "0",
    ]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env=environment({**settings, "PYTHONPATH": str(ROOT)}),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "TESTRUN_SERVER_TOKEN" in done.stderr


async def test_two_servers_share_one_cache(settings: dict[str, str], tmp_path: Path) -> None:
    async with Client(stdio(settings, tmp_path)) as first, Client(stdio(settings, tmp_path)) as second:
        await ingested(first, RUN_ID, "sct-runner")
        rows = [(await call(one, "query_actions_log", run_id=RUN_ID))["rows"] for one in (first, second)]
        assert rows[0] == rows[1]
        advice = [
            await call(one, "get_investigation_instructions", topic="disk full") for one in (first, second)
        ]
        assert advice[0] == advice[1]


async def test_a_server_killed_during_an_ingestion_goes_on_after_a_restart(
    settings: dict[str, str], tmp_path: Path
) -> None:
    release = threading.Event()
    with file_server() as files:
        text = b"".join(b"2026-05-17T04:44:00Z n !INFO | row %d\n" % number for number in range(40_000))
        files.pages["/n/system.log"] = Page(text, kind="text/plain", hold=release)
        settings |= {"TESTRUN_PRIVATE_HOSTS": files.host}
        url = f"{files.url}/n/system.log"
        marker = tmp_path / "pid"
        killable = stdio(settings, tmp_path, "-c", KILLABLE, str(marker))
        task_id = ""
        with suppress(Exception):  # whatever the client makes of a server that is gone
            async with Client(killable, read_timeout_seconds=20) as client:
                task_id = (await call(client, "ingest_logs", url=url, run_id=RUN_ID))["task_id"]
                while not (await call(client, "get_ingestion_status", task_id=task_id, wait_s=0.1))["rows"]:
                    pass
                os.kill(int(marker.read_text()), signal.SIGKILL)
                await client.call_tool("run_overview", {"run_id": RUN_ID})
        release.set()
        async with Client(stdio(settings, tmp_path)) as client:
            state = await call(client, "get_ingestion_status", task_id=task_id)
            assert state["state"] == "interrupted"
            await call(client, "ingest_logs", url=url, run_id=RUN_ID)
            done = await call(client, "get_ingestion_status", task_id=task_id, wait_s=20)
            assert done["state"] == "done"
            overview = await call(client, "query_logs_by_stream", run_id=RUN_ID, stream="node", limit=1)
            assert overview["matched"] == 40_000


KILLABLE = """
import os, runpy, sys
open(sys.argv[1], "w").write(str(os.getpid()))
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


async def test_a_session_of_an_assistant_is_stored_as_an_episode(
    settings: dict[str, str], tmp_path: Path
) -> None:
    from core.episode_store.episodes import read_episodes

    async with Client(stdio(settings, tmp_path)) as client:
        await ingested(client, RUN_ID, "sct-runner")
        errors = await call(client, "query_raw_events_log", run_id=RUN_ID, severity="ERROR", limit=1)
        await call(
            client,
            "save_finding",
            run_id=RUN_ID,
            cause="Disk full.",
            service="db",
            log_ids=[errors["rows"][0]["id"]],
        )
        await call(client, "query_actions_log", run_id=RUN_ID)
    episodes = list(read_episodes(tmp_path / "cache/sessions/episodes.jsonl"))
    assert [str(one.outcome.ending) for one in episodes] == ["answered", "out_of_turns"]
    assert episodes[0].report is not None
    assert episodes[0].report.root_cause == "Disk full."
    assert episodes[0].outcome.cited_seen == 1
    shown = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "evaluation", "show", str(tmp_path / "cache/sessions"), RUN_ID],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert "Disk full." in shown.stdout, shown.stderr


async def test_the_files_for_editors_start_the_server(settings: dict[str, str], tmp_path: Path) -> None:
    from mcp import StdioServerParameters
    from mcp.client.stdio import stdio_client

    write(tmp_path, sys.executable)
    (server,) = json.loads((tmp_path / ".mcp.json").read_text())["mcpServers"].values()
    parameters = StdioServerParameters(
        command=server["command"], args=server["args"], env=environment(settings), cwd=ROOT
    )
    async with Client(stdio_client(parameters)) as client:
        assert len((await client.list_tools()).tools) == 14
    assert sorted(contents()) == sorted(FILES)
