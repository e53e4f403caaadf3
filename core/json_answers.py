"""Ask a model for one JSON object: an LLM judge for its ruling, the failure analyzer for its explanation.

The strictest response format that a server takes is found once and then kept. So is whether the model lets
its temperature be set. The text that comes back is untrusted; `json_in` finds the one object in it and parses
nothing. Not here: what the object must hold, and what a missing answer means.
"""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

from pydantic import BaseModel

from core.model_calls import Caller, CallError, Patience, Problem, load_litellm

Messages = list[dict[str, str]]


class Said(NamedTuple):
    """A model's text and what it cost in US dollars."""

    text: str
    cost_usd: float
    whole: bool
    """Whether it came to its end by itself, rather than by a length limit."""


class JsonAnswers:
    """One model behind litellm that is asked for objects of one schema, at temperature 0 where it takes one.

    `options` (api_base, api_key, max_tokens, ...) are passed on to litellm.
    """

    def __init__(
        self, model: str, schema: type[BaseModel], timeout_s: float, patience: Patience, **options: Any
    ) -> None:
        # Imported here, so that no time limit of a question holds the seconds of a first import.
        self._litellm = load_litellm()
        self._caller = Caller(self._send, timeout_s, patience)
        named = {"name": schema.__name__.lower().lstrip("_"), "strict": True}
        self._formats: list[dict[str, Any] | None] = [
            {"type": "json_schema", "json_schema": {**named, "schema": schema.model_json_schema()}},
            {"type": "json_object"},
            None,
        ]
        """Response formats, strictest first; one that the server refused is gone."""
        self._fixed = {"model": model, "timeout": timeout_s, "num_retries": 0, "max_retries": 0, **options}
        self._sampling: dict[str, Any] = {"temperature": 0}
        self.calls = 0
        """Requests sent, repeated ones included."""

    async def ask(self, messages: Messages) -> Said:
        """Ask with the strictest format the server takes. Raises CallError."""
        while True:
            response_format, sampling = self._formats[0], self._sampling
            try:
                return await self._caller.ask(self._request(messages), _said)
            except CallError as trouble:
                if trouble.problem is not Problem.REQUEST:
                    raise
                if "temperature" in sampling and re.search(r"\btemperature\b", str(trouble)):
                    self._sampling = {}
                elif response_format is not None:
                    # Another question may have found this out meanwhile; then nothing is left to remove.
                    self._formats = [one for one in self._formats if one is not response_format]
                else:
                    raise

    async def _send(self, **request: Any) -> Any:
        self.calls += 1
        return await self._litellm.acompletion(**request)

    def _request(self, messages: Messages) -> dict[str, Any]:
        return {
            **self._fixed,
            **self._sampling,
            "messages": messages,
            "response_format": self._formats[0],
            "drop_params": True,
        }


def _said(completion: Any) -> Said:
    choice = completion.choices[0]
    cost = getattr(completion, "_hidden_params", {}).get("response_cost")
    return Said(choice.message.content or "", float(cost or 0.0), choice.finish_reason != "length")


FENCED = re.compile(r"```(?:json)?\s*(?P<inside>.*?)\s*```", re.DOTALL | re.IGNORECASE)


def json_in(text: str) -> str:
    """Return the one JSON object that a reply is: bare, in one fence, or behind a thought.

    Nothing else may stand around the object. A second object inside the fence stays there, so that it is as
    unreadable as it was.
    """
    text = text.strip().lstrip("\ufeff").strip()
    if not text.startswith(("{", "```")):  # an object may hold the tag in one of its texts
        text = text.rpartition("</think>")[2].strip()
    fenced = FENCED.fullmatch(text)
    return fenced["inside"] if fenced else text


def only_object_in(text: str) -> dict[str, Any]:
    """Return the one JSON object in a reply, whatever words stand around it. Raises ValueError.

    For a reader that checks what the object says. Two objects that differ are as good as none.
    """
    text = text.rpartition("</think>")[2] or text
    decoder, found, at = json.JSONDecoder(), list[dict[str, Any]](), text.find("{")
    while at >= 0:
        try:
            value, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            end = at + 1
        else:
            if value not in found:
                found.append(value)
        at = text.find("{", end)
    if len(found) != 1:
        raise ValueError(f"{len(found) or 'no'} JSON objects in the reply")
    return found[0]
