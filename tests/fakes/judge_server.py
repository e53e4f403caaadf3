"""A fake LLM judge on a real loopback socket: an OpenAI-compatible server that answers every report with one
verdict.

`judge_server("ok", {...})` replies with the given JSON object as its text; the other modes are the bad days
of `openai_server.bad_day`. A function of the request's body may decide the verdict instead. It knows nothing
of the judge's prompt.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from tests.fakes.openai_server import Mode, OpenAIServer, bad_day, say

Decision = Mapping[str, Any] | Callable[[dict[str, Any]], Mapping[str, Any]]


def judge_server(mode: Mode, decision: Decision, *, late_s: float = 0.2) -> OpenAIServer:
    """A server that judges as `decision` says, on a day as `mode` says; start it with `with`."""
    if mode == "ok" and callable(decision):
        decide = decision
        return OpenAIServer(lambda body: say(json.dumps(decide(body))))
    verdict = decision({}) if callable(decision) else decision
    return OpenAIServer(bad_day(mode, say(json.dumps(verdict)), late_s))
