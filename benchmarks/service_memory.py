"""How much memory the training service takes at its peak, with tiny-investigator.

A real service process does what a step of training asks of it: 64 conversations at once, turn by turn, and
then one job on the 64 stored trajectories (`trajectories.jsonl`). Then Linux says how large the process was
at its largest. Not here: how fast it is (`engine`, `gradient_step`).
"""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

from benchmarks.gradient_step import Json, stored_groups

ROOT = Path(__file__).parent.parent
MODEL = "tiny-investigator"
SECONDS = 900.0


def peak_mib(data: Path, options: Sequence[str] = (), groups: int | None = None) -> tuple[float, Json]:
    """Return the peak size of a service in MiB, and the metrics of its job.

    `data` is a fresh folder; the log is written beside it. `groups` is how many of the stored groups to use.
    Raises RuntimeError when the service does not start or the job fails.
    """
    command = [sys.executable, "-m", "training_service", "serve", "--data", str(data), *options]
    command += ["--log-file", str(data.with_suffix(".log"))]
    service = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        metrics = asyncio.run(_work(_address(service), stored_groups(groups)))
        return _largest_mib(service.pid), metrics
    finally:
        service.terminate()
        service.wait()


def _largest_mib(pid: int) -> float:
    """Return how large a process has been at its largest. Only Linux tells it of a running one."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def _address(service: subprocess.Popen[str]) -> str:
    assert service.stdout is not None
    line = service.stdout.readline()
    found = re.search(r"http://\S+", line)
    if found is None:
        raise RuntimeError(f"the service did not start; it said {line!r}")
    return found[0]


async def _work(url: str, groups: Sequence[Json]) -> Json:
    """Do the work of one training step; returns the metrics of the job."""
    rollouts = [rollout["messages_and_choices"] for group in groups for rollout in group["trajectories"]]
    headers = {"Authorization": "Bearer local"}
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(
        base_url=url, headers=headers, timeout=SECONDS, trust_env=False, limits=limits
    ) as client:
        body = {"base_model": MODEL, "project": "memory", "name": "memory"}
        model = (await client.post("/v1/preview/models", json=body)).raise_for_status().json()
        await asyncio.gather(*(_converse(client, entries) for entries in rollouts))
        return await _train(client, model["id"], groups)


async def _converse(client: httpx.AsyncClient, entries: Sequence[Json]) -> None:
    """Ask for every reply of a stored conversation, each after the stored ones before it."""
    messages: list[Any] = []
    for entry in entries:
        if "message" in entry:
            body = {"model": MODEL, "messages": messages, "max_completion_tokens": 256}
            (await client.post("/v1/chat/completions", json=body)).raise_for_status()
        messages.append(entry.get("message", entry))


async def _train(client: httpx.AsyncClient, model_id: str, groups: Sequence[Json]) -> Json:
    body = {"model_id": model_id, "trajectory_groups": list(groups)}
    job = (await client.post("/v1/preview/training-jobs", json=body)).raise_for_status().json()["id"]
    deadline = time.monotonic() + SECONDS
    events: list[Json] = []
    while not events or not events[-1]["type"].startswith(("training_ended", "training_failed")):
        if time.monotonic() > deadline:
            raise RuntimeError(f"the job did not end within {SECONDS:.0f} s")
        await asyncio.sleep(0.1)
        events = (
            (await client.get(f"/v1/preview/training-jobs/{job}/events")).raise_for_status().json()["data"]
        )
    if events[-1]["type"] == "training_failed":
        raise RuntimeError(f"the job failed: {events[-1]}")
    return next(dict(event["data"]) for event in events if event["type"] == "gradient_step")
