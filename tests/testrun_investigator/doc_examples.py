"""The examples of docs/mcp_server.md: each tool called on a generated run, with its answer.

`python -m tests.testrun_investigator.doc_examples` writes them into the page; a test compares.
"""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
from pathlib import Path
from typing import Any

from mcp import Client

from testrun_investigator.demo_runs.generator import run_id
from testrun_investigator.demo_runs.packing import write_runs
from testrun_investigator.demo_runs.stand_in import TOKEN, StandIn, served
from testrun_investigator.mcp_server import make_server
from testrun_investigator.settings import read_settings
from testrun_investigator.toolbox import Toolbox

PAGE = Path(__file__).parents[2] / "docs/mcp_server.md"
MARK = "<!-- examples -->\n"
RUN = run_id("disk-full", 1)
LOG = f"sct-runner-events-{RUN[:8]}.tar.zst"
Calls = tuple[tuple[str, dict[str, Any]], ...]
Example = tuple[str, dict[str, Any], str]
"""Tool, arguments, answer."""
CALLS: Calls = (
    ("get_test_run_info", {"test_id": RUN, "events": 1}),
    ("ingest_logs", {"url": LOG, "run_id": RUN}),
    ("get_ingestion_status", {"task_id": "TASK", "wait_s": 15}),
    ("run_overview", {"run_id": RUN}),
    ("query_logs_by_stream", {"run_id": RUN, "stream": "action", "limit": 2}),
    ("query_actions_log", {"run_id": RUN, "keywords": "Finished", "limit": 2}),
    ("query_raw_events_log", {"run_id": RUN, "severity": "ERROR", "limit": 1}),
    ("search_logs", {"run_id": RUN, "keywords": "space left"}),
    ("compare", {"run_id": RUN, "window": "12:33/12:40"}),
    ("read_trace", {"run_id": RUN, "trace_id": "9f1c"}),
    ("query_metrics", {"run_id": RUN, "name": "disk_free", "limit": 1}),
    ("get_investigation_instructions", {"topic": "No space left on device", "limit": 1}),
    ("save_finding", {"run_id": RUN, "cause": "The volume of node 4 was full.", "service": "db-node-4", "log_ids": ["FIRST"]}),
    ("list_findings", {"run_id": RUN}),
)  # fmt: skip
RANKER_CALLS: Calls = (
    ("rank_services", {"run_id": RUN}),
    ("rank_services", {"run_id": RUN, "service": f"longevity-demo-db-node-{RUN[:8]}-4"}),
)
"""What a server answers whose TESTRUN_RANKER is yes. It has logs of the nodes."""


async def answers() -> list[Example]:
    """Call every tool, also those of a server with the ranker."""
    with tempfile.TemporaryDirectory() as folder:
        write_runs(Path(folder) / "runs", ("disk-full",))
        with served(StandIn(Path(folder) / "runs")) as url:
            found = await _of_server(url, Path(folder), CALLS)
            return found + await _of_server(url, Path(folder), RANKER_CALLS, TESTRUN_RANKER="yes")


async def _of_server(url: str, folder: Path, calls: Calls, **settings: str) -> list[Example]:
    environment = {"ARGUS_URL": url, "ARGUS_TOKEN": TOKEN, "TESTRUN_CACHE_DIR": f"{folder}/cache", **settings}
    toolbox = Toolbox(read_settings(environment, folder))
    toolbox.deadline_s = 300  # the knowledge base is indexed here for the first time
    toolbox.library._wait_s = 300
    try:
        async with Client(make_server(toolbox)) as client:
            return await _called(client, calls)
    finally:
        toolbox.close()


async def _called(client: Client, calls: Calls) -> list[Example]:
    found: list[Example] = []
    known: dict[str, str] = {}
    for tool, arguments in calls:
        if needed := {"query_metrics": "monitor-set", "rank_services": "db-cluster"}.get(tool):
            await _ingest(client, needed)
        given = json.loads(re.sub("TASK|FIRST", lambda name: known.get(name[0], "?"), json.dumps(arguments)))
        result = await client.call_tool(tool, given)
        content = result.structured_content
        text = (
            json.dumps(content, indent=1, ensure_ascii=False)
            if content and not result.is_error
            else str(result.content)
        )
        if tool == "ingest_logs" and content:
            known["TASK"] = content["task_id"]
        if tool == "query_raw_events_log" and content:
            known["FIRST"] = content["rows"][0]["id"]
        found.append((tool, arguments, settled(text)))
    return found


async def _ingest(client: Client, archive: str) -> None:
    task = await client.call_tool("ingest_logs", {"url": f"{archive}-{RUN[:8]}.tar.zst", "run_id": RUN})
    content = task.structured_content or {}
    if "task_id" in content:
        await client.call_tool("get_ingestion_status", {"task_id": content["task_id"], "wait_s": 20})


def settled(text: str) -> str:
    """Return an answer without what differs between two times."""
    text = re.sub(rf"{RUN[:8]}-[0-9a-f]{{10}}", "TASK", text)
    text = re.sub(r'"finding_id": "[0-9a-f]{12}"', '"finding_id": "FINDING"', text)
    text = re.sub(r'"at": "[^"]*"', '"at": "2026-11-26T02:40:00+00:00"', text)
    text = re.sub(r'"score": [\d.]+', '"score": 0.5', text)
    return re.sub(r"[0-9a-f]{12}(: The volume)", r"FINDING\1", text)


def rendered(found: list[Example]) -> str:
    """Return the examples as Markdown."""
    parts = []
    for tool, arguments, text in found:
        given = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
        parts.append(f"### {tool}\n\n```python\n{tool}({given})\n```\n\n```json\n{text}\n```\n")
    return "\n" + "\n".join(parts)


def main() -> None:
    """Write the examples into the page."""
    head = PAGE.read_text(encoding="utf-8").partition(MARK)[0]
    PAGE.write_text(head + MARK + rendered(asyncio.run(answers())), encoding="utf-8")


if __name__ == "__main__":
    main()
