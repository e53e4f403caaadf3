"""A stored transcript as turns: what the policy called, what it was shown, and which log lines that was.

Tools print an id as its shortest unique prefix; here it is the full id again, found among the scenario's
lines or, when the scenario is not at hand, among the ids the episode says were shown. A transcript is hostile
text: nothing in it is trusted to be a call or a row unless it parses as one. Nothing is judged here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from core.log_stores.id_prefix import IdPrefixes
from core.log_stores.printing import printed_rows
from project_types import Episode
from rollout import FINAL_ANSWER, text_call


class Call(NamedTuple):
    """One call of a reply."""

    name: str
    arguments: Mapping[str, Any] | None
    """None when they are not a JSON object."""
    raw: str
    result: str
    """What it was answered with; empty when the episode ended with it."""
    shown: tuple[str, ...]
    """Full ids of the log lines in the result."""

    @property
    def failed(self) -> bool:
        """Whether it was answered with an error."""
        return self.result.startswith("error: ")


class Turn(NamedTuple):
    """One reply of the policy and what came back."""

    number: int
    """The first is 1."""
    said: str
    calls: tuple[Call, ...]
    answer: str
    """What a reply without a call was answered with."""

    @property
    def shown(self) -> frozenset[str]:
        """Full ids of the log lines this turn brought up."""
        return frozenset(id for call in self.calls for id in call.shown)

    @property
    def looked(self) -> bool:
        """Whether it called anything but the final answer."""
        return any(call.name != FINAL_ANSWER for call in self.calls)

    @property
    def failed(self) -> bool:
        """Whether one of its calls failed."""
        return any(call.failed for call in self.calls)


def turns_of(episode: Episode, ids: IdPrefixes | None = None) -> tuple[Turn, ...]:
    """The turns of an episode; `ids` are those of the scenario's log lines, where it is at hand."""
    known = ids or IdPrefixes(episode.shown_log_ids)
    turns: list[Turn] = []
    for at, message in enumerate(episode.messages):
        if message.get("role") != "assistant":
            continue
        results: list[str] = []
        for later in episode.messages[at + 1 :]:
            if later.get("role") == "assistant":
                break
            results.append(_text(later.get("content")))
        made = _calls(message)
        calls = tuple(
            _answered(call, results[n] if n < len(results) else "", known) for n, call in enumerate(made)
        )
        answer = "\n".join(results) if not made else ""
        turns.append(Turn(len(turns) + 1, _text(message.get("content")), calls, answer))
    return tuple(turns)


def _answered(call: tuple[str, str], result: str, known: IdPrefixes) -> Call:
    name, raw = call
    try:
        arguments = json.loads(raw or "{}")
    except (ValueError, RecursionError):
        arguments = None
    rows = () if result.startswith("error: ") else printed_rows(result)
    shown = tuple(full for row in rows if (full := known.full(row.id)))
    return Call(name, arguments if isinstance(arguments, dict) else None, raw, result, shown)


def _calls(message: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(name, raw arguments) of the calls in an assistant message, native or written as text."""
    made = message.get("tool_calls")
    if isinstance(made, list):
        functions = [one.get("function") for one in made if isinstance(one, dict)]
        return [
            (_text(one.get("name")), _text(one.get("arguments")))
            for one in functions
            if isinstance(one, dict)
        ]
    found = text_call(_text(message.get("content")))
    return [(found.name, found.arguments)] if found else []


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
