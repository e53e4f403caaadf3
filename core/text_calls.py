"""Calls that a model wrote as text: found outside its thoughts, whole, with whatever their arguments hold.

A thought is what stands in <think> tags, or before a closing tag whose opening the chat template wrote. A
call that is drafted in one is no call. A tag inside the JSON of a call is data, so JSON is read as JSON and
never cut at a tag. Nothing here raises on any text. Not here: the marks of each family of models
(`training_service.call_parsing`).
"""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

from project_types import ToolCall

OPEN, CLOSE = "<think>", "</think>"
MOST_OBJECTS = 500
"""Objects of one reply that are looked at; a reply full of braces must not cost much."""
HEADER = re.compile(r"\s*(?:[\w.-]+\s*(?:\[ARGS\]\s*)?)?")
"""What may stand between the mark of a call and its JSON: a name."""
OBJECT = re.compile(r"\{")
BEGUN = re.compile(
    r"<tool_call>|\[TOOL_CALLS\]|<\|call\|>|<\|python_tag\|>|<function=|\{\s*\"(?:tool|name|arguments)\"\s*:"
)
"""How a call begins, in plain text and in the families of models whose server hands the text on as it is."""


class Marked(NamedTuple):
    """A mark, outside thoughts, and the JSON behind it."""

    start: int
    body: int
    """Where the JSON begins, or would."""
    end: int
    """Where it ends; `body` when it cannot be read."""
    value: Any
    """What it says; None when it cannot be read."""


def marked(text: str, mark: re.Pattern[str]) -> list[Marked]:
    """Every place outside thoughts where `mark` stands, a brace that begins the JSON or a tag before it."""
    found: list[Marked] = []
    tags = re.compile(f"{OPEN}|{CLOSE}|{mark.pattern}")
    at, thought = 0, False
    while tag := tags.search(text, at):
        if tag.group() == OPEN:
            closed = text.find(CLOSE, tag.end())
            at, thought = (closed + len(CLOSE) if closed >= 0 else len(text)), True
        elif tag.group() == CLOSE:
            if not thought:  # the template wrote the opening tag, so that all of this was thought
                found.clear()
            at, thought = tag.end(), True
        else:
            found.append(_read(text, tag))
            at = max(tag.end(), found[-1].end)
        if len(found) >= MOST_OBJECTS:
            break
    return found


def _read(text: str, tag: re.Match[str]) -> Marked:
    header = None if tag.group().startswith("{") else HEADER.match(text, tag.end())
    body = header.end() if header else tag.start()
    try:
        value, end = json_value(text, body)
    except ValueError:
        return Marked(tag.start(), body, body, None)
    return Marked(tag.start(), body, end, value)


def json_value(text: str, start: int = 0) -> tuple[Any, int]:
    """The JSON value that begins at `start`, and where it ends. Raises ValueError when there is none."""
    try:
        return json.JSONDecoder().raw_decode(text, start)
    except RecursionError as trouble:
        raise ValueError("nested too deeply") from trouble


def text_call(content: str) -> ToolCall | None:
    """The first `{"tool": ..., "arguments": ...}` object in a reply, fenced or not; thoughts are skipped."""
    for one in marked(content, OBJECT):
        if isinstance(one.value, dict) and isinstance(one.value.get("tool"), str):
            arguments = json.dumps(one.value.get("arguments") or {})
            return ToolCall(id="text", name=one.value["tool"], arguments=arguments)
    return None


def call_begun(content: str) -> bool:
    """Whether a reply that was cut ends in a call that had begun."""
    found = marked(content, BEGUN)
    return bool(found) and found[-1].value is None
