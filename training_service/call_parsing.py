"""From the text a model wrote to content and tool calls, for the ways of writing calls that models are
taught.

    investigator   <|call|>search_logs {"keywords": "timeout"}                       the shipped model
    hermes         <tool_call>{"name": ..., "arguments": {...}}</tool_call>          Qwen 2.5 and 3, Hermes
    llama3         {"name": ..., "parameters": {...}}                                Llama 3.1 and later
    mistral        [TOOL_CALLS][{"name": ..., "arguments": {...}}]                   Mistral, also NAME[ARGS]{...}
    plain          no calls; everything is content

A call that was begun and is not well formed still comes back as a call, with the text as it stands for
arguments, so that whoever runs the tools sees a malformed call rather than an odd answer. Nothing here raises
on any text.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

from core.text_calls import json_value, marked

Style = Literal["investigator", "hermes", "llama3", "mistral", "plain"]
STYLES: tuple[Style, ...] = ("investigator", "hermes", "llama3", "mistral", "plain")

OPENINGS: dict[Style, tuple[str, str]] = {
    "investigator": ("<|call|>", "<|call|>{name} "),
    "hermes": ("<tool_call>\n", '<tool_call>\n{{"name": "{name}", "arguments": '),
    "llama3": ('{"name": "', '{{"name": "{name}", "parameters": '),
    "mistral": ('[TOOL_CALLS][{"name": "', '[TOOL_CALLS][{{"name": "{name}", "arguments": '),
}
"""How a call begins: of any tool, and of the one named. A required call is required by writing this into the
prompt.
"""


@dataclass(frozen=True)
class Call:
    """A call as written; `arguments` is JSON text when the model wrote well."""

    name: str
    arguments: str


@dataclass(frozen=True)
class Parsed:
    """What a reply says."""

    content: str
    calls: tuple[Call, ...] = ()


def detect_style(template: str, declared: str | None = None) -> Style:
    """The style a chat template teaches, unless the tokenizer's configuration
    declares one as `call_format`.
    """
    if declared is not None:
        for style in STYLES:
            if style == declared:
                return style
        raise ValueError(f"call_format {declared!r} is not one of {', '.join(STYLES)}")
    if "<|call|>" in template:
        return "investigator"
    if "<tool_call>" in template:
        return "hermes"
    if "[TOOL_CALLS]" in template:
        return "mistral"
    if '"parameters": ' in template and "<|start_header_id|>" in template:
        return "llama3"
    return "plain"


def opening(style: Style, name: str | None) -> str:
    """The text a required call begins with. Empty when the style has no calls."""
    if style not in OPENINGS:
        return ""
    anyone, named = OPENINGS[style]
    return named.format(name=name) if name else anyone


def parse(style: Style, text: str) -> Parsed:
    """Split a reply into content and calls."""
    if style == "investigator":
        return _investigator(text)
    if style == "hermes":
        return _hermes(text)
    if style == "mistral":
        return _mistral(text)
    if style == "llama3":
        return _llama3(text)
    return Parsed(text)


def _investigator(text: str) -> Parsed:
    content, pieces = _split(text, "<|call|>")
    calls = []
    for piece in pieces:
        name, _, arguments = piece.partition(" ")
        calls.append(Call(name, arguments))
    return Parsed(content, tuple(calls))


def _hermes(text: str) -> Parsed:
    content, pieces = _split(text, "<tool_call>")
    calls = tuple(_from_json(_without_end(piece, "</tool_call>")) for piece in pieces)
    return Parsed(content.strip() if calls else content, calls)


def _mistral(text: str) -> Parsed:
    content, pieces = _split(text, "[TOOL_CALLS]")
    calls: list[Call] = []
    for piece in pieces:
        if named := re.match(r"\s*([\w.-]+)\s*\[ARGS\](.*)", piece, re.DOTALL):
            calls.append(Call(named[1], named[2].strip()))
            continue
        try:
            rows, _ = json_value(piece.strip())
        except ValueError:
            calls.append(_from_json(piece.strip().removeprefix("[")))
            continue
        calls += [_from_json(json.dumps(row)) for row in (rows if isinstance(rows, list) else [rows])]
    return Parsed(content.strip() if calls else content, tuple(calls))


def _split(text: str, tag: str) -> tuple[str, list[str]]:
    """What stands before the first call, and what stands behind the tag of each.

    A tag in a thought or inside the JSON of a call begins no call.
    """
    starts = [one.start for one in marked(text, re.compile(re.escape(tag)))]
    bounds = pairwise([*starts, len(text)])
    return text[: starts[0]] if starts else text, [text[start + len(tag) : end] for start, end in bounds]


def _without_end(piece: str, tag: str) -> str:
    """A piece up to the tag that ends its call; one inside its JSON is an argument."""
    piece = piece.strip()
    try:
        return piece[: json_value(piece)[1]]
    except ValueError:
        return piece.partition(tag)[0].strip()


def _llama3(text: str) -> Parsed:
    rest = text.strip().removeprefix("<|python_tag|>").strip()
    if not re.match(r'\{\s*"(name|type)"\s*:', rest):
        return Parsed(text)
    calls: list[Call] = []
    while rest.startswith("{"):
        try:
            _, end = json_value(rest)
        except ValueError:
            end = len(rest)
        calls.append(_from_json(rest[:end]))
        rest = rest[end:].lstrip("; \n")
    return Parsed(rest, tuple(calls))


def _from_json(text: str) -> Call:
    """One JSON object with a name and arguments (or parameters); a broken one keeps its text."""
    try:
        row, _ = json_value(text)
    except ValueError:
        row = None
    if isinstance(row, dict) and isinstance(row.get("function"), dict):
        row = row["function"]
    if isinstance(row, dict) and isinstance(row.get("name"), str):
        given = (row[key] for key in ("arguments", "parameters") if row.get(key) is not None)
        arguments: Any = next(given, {})
        written = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
        return Call(row["name"], written)
    named = re.search(r'"name"\s*:\s*"([^"\\]*)"', text)
    return Call(named[1] if named else "", text)
