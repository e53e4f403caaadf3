"""A Ray cluster of several nodes on this machine, whose processes can be killed like machines are.

A node is everything that carries its mark in the environment: the raylet, its agents, its workers.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.builders.commands import eventually

MARK = "RAY_TEST_NODE"
RAY = Path(sys.executable).parent / "ray"
SMALL = ("--num-cpus=2", "--object-store-memory=100000000", "--min-worker-port=0", "--max-worker-port=0")
STARTED = "Ray runtime started"
TRIES = 4
"""A node that needs longer than Ray's 30 s gives up; a busy machine is no bug."""


class RayCluster:
    """The cluster, as a context manager. Its token is in `environment`."""

    def __init__(self, nodes: int) -> None:
        self._count = nodes
        self._folder = Path(tempfile.mkdtemp(prefix="r", dir="/tmp"))  # Ray's sockets need a short path
        self.environment = os.environ | {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_USAGE_STATS_ENABLED": "0",
        }
        self.address = f"127.0.0.1:{free_port()}"
        self.nodes: list[str] = []
        """The mark of each node but the first, which cannot be lost."""
        self._head = ""

    def __enter__(self) -> Self:
        port = self.address.rpartition(":")[2]
        temp = f"--temp-dir={self._folder / 's'}"
        self._head = self._start("--head", f"--port={port}", temp, "--include-dashboard=false")
        for _ in range(self._count - 1):
            self.add_node()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for mark in [*self.nodes, self._head]:
            kill_all(mark)
        shutil.rmtree(self._folder, ignore_errors=True)

    def add_node(self) -> None:
        """Add a node and wait until it runs."""
        self.nodes.append(self._start(f"--address={self.address}"))

    def kill_node(self) -> None:
        """Kill every process of the node that was added first."""
        kill_all(self.nodes.pop(0))

    def kill_worker(self) -> bool:
        """Kill one worker, whichever node it is on; False when there is none yet."""
        for mark in [*self.nodes, self._head]:
            for process in marked(mark):
                if command(process).startswith("ray::RolloutWorker"):
                    kill(process)
                    return True
        return False

    def _start(self, *flags: str) -> str:
        for _ in range(TRIES):
            mark = secrets.token_hex(8)
            log = self._folder / f"{mark}.log"
            with log.open("wb") as out:
                process = subprocess.Popen(
                    [str(RAY), "start", "--block", "--disable-usage-stats", *SMALL, *flags],
                    env=self.environment | {MARK: mark},
                    stdout=out,
                    stderr=out,
                    start_new_session=True,
                )
            eventually(lambda: STARTED in log.read_text() or process.poll() is not None)  # noqa: B023 - awaited here
            if STARTED in log.read_text():
                return mark
            kill_all(mark)
        raise TimeoutError(f"no node started: {log.read_text()[-2000:]}")


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        return int(place.getsockname()[1])


def marked(mark: str) -> list[int]:
    """Return the processes that carry a mark."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"{MARK}={mark}\0".encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
        except OSError:  # it has ended meanwhile
            continue
    return found


def command(process: int) -> str:
    """Return what a process calls itself; empty when it has ended."""
    try:
        return Path(f"/proc/{process}/cmdline").read_text()
    except OSError:
        return ""


def kill(process: int) -> None:
    """SIGKILL one process, which may have ended meanwhile."""
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)


def kill_all(mark: str) -> None:
    """SIGKILL every process that carries a mark, until none is left."""
    while found := [process for process in marked(mark) if command(process)]:
        for process in found:
            kill(process)
