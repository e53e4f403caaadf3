"""The training service as a child process: start it, know when it is ready, restart it once, stop it.

A training run owns one for hours, and `embedded:NAME` one for an evaluation. The child gets its own process
group, so that Ctrl-C in a terminal reaches its owner only. Its output goes to a log file, and it ends with
its owner, however that one dies (`--parent-pid`). Knows no model and no protocol beyond the line the service
prints when it listens and GET /health.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Sequence
from http.client import HTTPException
from pathlib import Path
from typing import Any

from core.files import is_held
from core.serving.listening import LISTENING
from project_types import InvestigatorError

ROOT = Path(__file__).parents[2]
_POLL_S = 0.05
_STOP_S = 20.0
_LARGEST_HEALTH = 1 << 20


class ServiceError(InvestigatorError):
    """The service did not start, or died more often than it may; the text shows the end of its log."""


class ChildService:
    """One child process that serves `folder`. `url` is where it listens, the same after a restart.

    `token` is what its clients must send. `ready_s` bounds its start, and `free_s` the wait for a service
    that still holds the folder.
    """

    def __init__(
        self,
        folder: Path,
        log: Path,
        *,
        options: Sequence[str] = (),
        token: str = "local",
        ready_s: float = 300.0,
        free_s: float = 300.0,
        say: Callable[[str], None] = print,
        module: str = "training_service",
    ) -> None:
        self.folder, self.log = folder, log
        self.url = ""
        self.restarts = 0
        self._options, self._token, self._say, self._module = tuple(options), token, say, module
        self._ready_s, self._free_s = ready_s, free_s
        self._port = "0"
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Start it and wait until it is healthy. Raises ServiceError when it ends first or takes longer than
        `ready_s`.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        await self._folder_is_free()
        start = self._spawn()
        try:
            async with asyncio.timeout(self._ready_s):
                while not (await self._listening(start) and await self.healthy()):
                    if not self.alive():
                        raise ServiceError(f"the training service ended while starting:\n{self.last_words()}")
                    await asyncio.sleep(_POLL_S)
        except TimeoutError as trouble:
            raise ServiceError(
                f"the training service was not ready within {self._ready_s:.0f} s; see {self.log}"
            ) from trouble

    async def watch(self, every_s: float = 10.0, patience_s: float = 90.0) -> None:
        """Kill the child when it runs but has not answered for `patience_s`, so that its clients fail and it
        can be restarted.
        """
        loop = asyncio.get_running_loop()
        answered = loop.time()
        while True:
            await asyncio.sleep(every_s)
            if not self.alive() or await self.healthy(timeout_s=min(patience_s, 30.0)):
                answered = loop.time()
            elif loop.time() - answered > patience_s and self._process is not None:
                self._say(f"the training service has not answered for {patience_s:.0f} s and is killed")
                self._process.kill()

    async def _folder_is_free(self) -> None:
        """Wait for the service of a run that was killed a moment ago: it is saving what it can, and holds the
        lock.
        """
        lock = self.folder / "lock"
        deadline = asyncio.get_running_loop().time() + self._free_s
        while lock.exists() and is_held(lock):
            if asyncio.get_running_loop().time() > deadline:
                raise ServiceError(
                    f"{lock}: process {lock.read_text() or '?'} still serves this folder; stop it and try again, "
                    "or reach it with --base-url"
                )
            await asyncio.sleep(_POLL_S)

    def _spawn(self) -> int:
        """Start the child; returns where its part of the log begins."""
        command = [sys.executable, "-m", self._module, "serve", "--data", str(self.folder)]
        command += ["--port", self._port, "--parent-pid", str(os.getpid()), *self._options]
        with self.log.open("ab") as output:
            start = output.tell()
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=self._environment(),
            )
        return start

    def _environment(self) -> dict[str, str]:
        """This process's, without the key of a service elsewhere. What runs offline says so."""
        kept = {name: value for name, value in os.environ.items() if name != "WANDB_API_KEY"}
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        return kept | {
            "HF_HUB_OFFLINE": "1",
            "PYTHONUNBUFFERED": "1",
            "PYTHONPATH": path,
            "TRAINING_SERVICE_TOKEN": self._token,
        }

    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.poll() is None

    async def healthy(self, timeout_s: float = 10.0) -> bool:
        """Whether it answers GET /health in time."""
        return bool(self.url) and await asyncio.to_thread(health, self.url, timeout_s) is not None

    async def restart(self, most: int = 1) -> None:
        """Start it again on the same port, and say so. Raises ServiceError after `most` restarts."""
        words = self.last_words()
        if self.restarts >= most:
            raise ServiceError(f"the training service died again (see {self.log}):\n{words}")
        self.restarts += 1
        await self.stop()
        self._say(
            f"the training service died and is started again (its log is {self.log}); its last words:\n{words}"
        )
        await self.start()

    async def stop(self) -> None:
        """End it, politely first. Does nothing when it has ended."""
        process = self._process
        if process is None:
            return
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            if not await asyncio.to_thread(_ended, process):
                os.killpg(process.pid, signal.SIGKILL)
                await asyncio.to_thread(process.wait)

    @property
    def pid(self) -> int:
        """Process id of the child, for tests and messages. Raises ServiceError when it was never started."""
        if self._process is None:
            raise ServiceError("the training service has not been started")
        return self._process.pid

    def last_words(self, lines: int = 8) -> str:
        """The end of its log."""
        text = self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""
        return "\n".join(f"  {line}" for line in text.splitlines()[-lines:]) or "  (it said nothing)"

    async def _listening(self, start: int) -> bool:
        with self.log.open("rb") as written:
            written.seek(start)
            found = LISTENING.search(written.read().decode(errors="replace"))
        if found is None:
            return False
        self.url, self._port = found[1], found[2]
        return True


def health(url: str, timeout_s: float = 10.0) -> dict[str, Any] | None:
    """Return what GET /health of the service at `url` says, None when it does not answer so in time."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(f"{url}/health", timeout=timeout_s) as reply:
            said = json.loads(reply.read(_LARGEST_HEALTH)) if reply.status == 200 else None
    except (OSError, HTTPException, ValueError):  # no answer, half of one, text that is no JSON
        return None
    return said if isinstance(said, dict) else None


def _ended(process: subprocess.Popen[bytes]) -> bool:
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        return False
    return True
