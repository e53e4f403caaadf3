"""The official MCP client, and the server as a real process, for tests."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.shared.dispatcher import ProgressFnT

ROOT = Path(__file__).parents[2]
READY_S = 60.0
MODES = ("legacy", "auto")


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """This process's environment without settings of ours, and the settings given."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("ARGUS", "TESTRUN", "VICTORIA"))
    }
    return {**kept, **settings}


def stdio(settings: Mapping[str, str], folder: Path, *arguments: str) -> Any:
    """The server as an editor starts it, in a folder without a .env; other arguments start something else."""
    script = str(ROOT / "testrun_investigator/server.py")
    started = [*(arguments or ()), script]
    return stdio_client(
        StdioServerParameters(command=sys.executable, args=started, env=environment(settings), cwd=folder)
    )


@asynccontextmanager
async def http_server(settings: Mapping[str, str], folder: Path, *flags: str) -> AsyncIterator[str]:
    """The server over HTTP; gives its address."""
    command = [sys.executable, "-m", "testrun_investigator", "serve", "--http", "--port", "0", *flags]
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        env=environment({**settings, "PYTHONPATH": str(ROOT)}),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(READY_S):
            line = (await process.stdout.readline()).decode()
        yield line.removeprefix("listening on ").strip() + "/mcp"
    finally:
        process.terminate()
        await process.wait()


async def call(client: Client, tool: str, /, **arguments: Any) -> dict[str, Any]:
    """Call a tool that must succeed."""
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content[0]
    assert result.structured_content is not None
    return dict(result.structured_content)


async def refusal(client: Client, tool: str, /, **arguments: Any) -> str:
    """Call a tool that must refuse; returns what it says."""
    result = await client.call_tool(tool, arguments)
    assert result.is_error
    return str(getattr(result.content[0], "text", ""))


async def ingested(client: Client, run_id: str, *logs: str) -> None:
    """Take in the logs of a run whose names begin so."""
    info = await call(client, "get_test_run_info", test_id=run_id)
    for log in info["logs"]:
        if log["name"].startswith(logs):
            task = await call(client, "ingest_logs", url=log["name"], run_id=run_id)
            done = await ended(client, task)
            assert done["state"] == "done", done


async def ended(client: Client, task: dict[str, Any], hear: ProgressFnT | None = None) -> dict[str, Any]:
    """Wait for the end of an ingestion, however busy the machine is; one call waits 20 seconds at most."""
    asked = {"task_id": task["task_id"], "wait_s": 20}
    while True:
        result = await client.call_tool("get_ingestion_status", asked, progress_callback=hear)
        assert not result.is_error, result.content[0]
        found = dict(result.structured_content or {})
        if found["state"] != "running":
            return found
