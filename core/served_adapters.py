"""A client of `python -m alignment serve`: what an adapter says of a log, and what a reward
model thinks of an answer.

`ALIGNMENT_URL` and `ALIGNMENT_TOKEN` say where that service is; without them it is looked for on this
machine. The caller decides what a failure means: every one is a CallError. Not here: the service
itself (`alignment.serving`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from core.model_calls import CallError, Problem
from project_types import JudgeError, Message, Report

DEFAULT_URL, DEFAULT_TOKEN = "http://127.0.0.1:8400", "local"
PROBLEMS = {401: Problem.KEY, 403: Problem.KEY, 404: Problem.NAME, 422: Problem.REQUEST}


def _from_environment(name: str, default: str) -> str:
    return os.environ.get(name) or default


@dataclass(frozen=True)
class ServedAdapters:
    """The service at one address."""

    url: str = field(default_factory=lambda: _from_environment("ALIGNMENT_URL", DEFAULT_URL))
    token: str = field(
        default_factory=lambda: _from_environment("ALIGNMENT_TOKEN", DEFAULT_TOKEN), repr=False
    )
    timeout_s: float = 60.0

    async def triage(self, log: str, adapter: str) -> dict[str, Any]:
        """Return what an adapter says of a log (`alignment.triage.Explained` as JSON). Raises CallError."""
        return await self._post("triage", {"log": log, "adapter": adapter})

    async def scores(
        self, adapter: str, messages: Sequence[Message], answers: Sequence[str]
    ) -> tuple[str, list[float]]:
        """Return the reward model that answered, and the reward of each answer to one
        prompt. Raises CallError.
        """
        body = {"adapter": adapter, "messages": list(messages), "answers": list(answers)}
        reply = await self._post("score", body)
        try:
            return str(reply["adapter"]), [float(value) for value in reply["scores"]]
        except (KeyError, TypeError, ValueError) as trouble:
            raise CallError(Problem.UNREADABLE, f"{self.url}: unreadable scores ({trouble!r})") from trouble

    async def _post(self, what: str, body: Mapping[str, Any]) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self.token}"}
        try:
            async with httpx.AsyncClient(timeout=self.timeout_s, trust_env=False) as client:
                reply = await client.post(f"{self.url.rstrip('/')}/v1/{what}", json=body, headers=headers)
        except httpx.TimeoutException as trouble:
            raise CallError(
                Problem.SLOW, f"{self.url} gave no reply within {self.timeout_s:g} s"
            ) from trouble
        except (httpx.HTTPError, httpx.InvalidURL) as trouble:
            raise CallError(
                Problem.DOWN,
                f"{self.url}: no server answers; start it: python -m alignment serve --port 8400",
            ) from trouble
        return self._read(reply)

    def _read(self, reply: httpx.Response) -> dict[str, Any]:
        if reply.status_code != 200:
            problem = PROBLEMS.get(reply.status_code, Problem.DOWN)
            raise CallError(problem, f"{self.url}: HTTP {reply.status_code}: {reply.text[:300]}")
        try:
            found = reply.json()
        except json.JSONDecodeError as trouble:
            raise CallError(Problem.UNREADABLE, f"{self.url}: the reply is no JSON") from trouble
        if not isinstance(found, dict):
            raise CallError(Problem.UNREADABLE, f"{self.url}: the reply is no object")
        return found


def question(messages: Sequence[Message]) -> list[Message]:
    """Return what an episode was asked: its first system and user message, as reward
    models of reports read them.
    """
    asked = [message for message in messages if message["role"] in ("system", "user")][:2]
    return [{"role": message["role"], "content": str(message["content"])} for message in asked]


def said(report: Report) -> str:
    """Return a report as the answer that reward models read."""
    return report.model_dump_json(exclude_none=True)


@dataclass(frozen=True)
class ServedScore:
    """A reward model behind the service as the `score` of an investigation. It needs no truth."""

    name: str
    """NAME@vN of the reward model."""
    service: ServedAdapters = field(default_factory=ServedAdapters)

    async def score(self, messages: Sequence[Message], report: Report) -> float:
        """Return the reward of a report. Raises JudgeError instead of guessing."""
        try:
            _, (value,) = await self.service.scores(self.name, question(messages), [said(report)])
        except (CallError, ValueError) as trouble:
            raise JudgeError(f"reward model {self.name}: {trouble}") from trouble
        return value
