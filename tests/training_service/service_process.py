"""A training service in a process of its own, on a real socket, with the scripted engine or another one."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx

ROOT = Path(__file__).parents[2]
READY_S = 120.0
Json = dict[str, Any]


class ServiceProcess:
    """`with ServiceProcess(folder) as service: service.http.get("/health")`; `kill` and `start` again at
    will.
    """

    def __init__(
        self, data: Path, *options: str, module: str = "tests.fakes.engine", token: str = "local"
    ) -> None:
        self.data, self.log = data, data.with_suffix(".log")
        self._token = token
        self._command = [
            sys.executable,
            "-m",
            module,
            "serve",
            "--data",
            str(data),
            "--min-free-mib",
            "1",
            *options,
        ]

    def __enter__(self) -> ServiceProcess:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, trouble: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def start(self, *more: str) -> None:
        """Start it, with further options, and wait until it says where it listens."""
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self._command, *more], stdout=subprocess.PIPE, stderr=log, env=environment, cwd=ROOT
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline().decode()
        found = re.fullmatch(r"listening on (http://[0-9.]+:\d+)\n", line)
        assert found, f"not ready: {line!r}\n{self.log.read_text()}"
        self.url = found[1]
        self.http = client(self.url, self._token)

    def kill(self) -> None:
        """SIGKILL: nothing gets a chance to tidy up."""
        self.process.kill()
        self._reap()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to end and return its exit code."""
        self.process.send_signal(number)
        self.process.wait(60)
        return self._reap()

    def _reap(self) -> int:
        self.http.close()
        code = self.process.wait(60)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code

    # ------------------------------------------------------------------------------------------------ common
    # requests

    def register(self, name: str, **more: Any) -> Json:
        body = {
            "project": "tests",
            "name": name,
            "base_model": "tiny-investigator",
            "return_existing": True,
        } | more
        return done(self.http.post("/v1/preview/models", json=body))

    def submit(self, model_id: str, config: Json | None = None, **script: Any) -> str:
        """A job for the scripted engine; returns its id."""
        body = {"model_id": model_id, "trajectory_groups": [group(**script)], "experimental_config": config}
        return str(done(self.http.post("/v1/preview/training-jobs", json=body))["id"])

    def events(self, job: str, **query: Any) -> list[Json]:
        rows: list[Json] = done(self.http.get(f"/v1/preview/training-jobs/{job}/events", params=query))[
            "data"
        ]
        return rows

    def ended(self, job: str) -> Json:
        """Wait for the last event of a job."""
        wait_until(
            lambda: (
                self.events(job, order="desc", limit=1)[:1]
                and self.events(job, order="desc", limit=1)[0]["type"] in ENDS
            )
        )
        return self.events(job, order="desc", limit=1)[0]

    def train(self, model_id: str, **script: Any) -> Json:
        return self.ended(self.submit(model_id, **script))

    def steps(self, model_id: str, **query: Any) -> list[int]:
        rows = done(
            self.http.get(f"/v1/preview/models/{model_id}/checkpoints", params={"limit": 100} | query)
        )["data"]
        return [row["step"] for row in rows]

    def ask(self, model: str, content: str = "hello", **more: Any) -> httpx.Response:
        body = {"model": model, "messages": [{"role": "user", "content": content}]} | more
        return self.http.post("/v1/chat/completions", json=body)

    def answer(self, model: str, **more: Any) -> str:
        return str(done(self.ask(model, **more))["choices"][0]["message"]["content"])


ENDS = ("training_ended", "training_failed")


def client(url: str, token: str) -> httpx.Client:
    return httpx.Client(
        base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=60, trust_env=False
    )


def done(response: httpx.Response) -> Json:
    """The body of a success."""
    assert response.is_success, response.text
    body: Json = response.json()
    return body


def refusal(response: httpx.Response) -> tuple[int, str]:
    """Status and message of an error, which is always JSON in OpenAI's shape."""
    assert response.is_error, response.text
    error = response.json()["error"]
    assert {"message", "type", "code"} <= set(error)
    return response.status_code, error["message"]


def group(**script: Any) -> Json:
    """One trajectory group; `script` steers the scripted engine."""
    choice = {
        "index": 0,
        "finish_reason": "stop",
        "message": {"role": "assistant", "content": "a"},
        "logprobs": None,
    }
    trajectory = {"messages_and_choices": [{"role": "user", "content": "q"}, choice], "reward": 1.0}
    return {"trajectories": [trajectory], "metadata": script}


def wait_until(condition: Callable[[], object], within_s: float = 60.0) -> None:
    """Poll until the condition holds."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "what the test waits for did not happen"
        time.sleep(0.02)
