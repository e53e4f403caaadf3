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
from typing import Literal

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
    """The style a chat template teaches, unless the tokenizer's configuration declares one as `call_format`."""
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
    content, *written = text.split("<|call|>")
    calls = []
    for call in written:
        name, _, arguments = call.partition(" ")
        calls.append(Call(name, arguments))
    return Parsed(content, tuple(calls))


def _hermes(text: str) -> Parsed:
    content, *written = text.split("<tool_call>")
    calls = [_from_json(piece.partition("</tool_call>")[0].strip()) for piece in written]
    return Parsed(content.strip() if calls else content, tuple(calls))


def _mistral(text: str) -> Parsed:
    content, *written = text.split("[TOOL_CALLS]")
    calls: list[Call] = []
    for piece in written:
        if named := re.match(r"\s*([\w.-]+)\s*\[ARGS\](.*)", piece, re.DOTALL):
            calls.append(Call(named[1], named[2].strip()))
            continue
        try:
            rows = json.loads(piece)
        except ValueError:
            calls.append(_from_json(piece.strip().removeprefix("[")))
            continue
        calls += [_from_json(json.dumps(row)) for row in (rows if isinstance(rows, list) else [rows])]
    return Parsed(content.strip() if calls else content, tuple(calls))


def _llama3(text: str) -> Parsed:
    rest = text.strip().removeprefix("<|python_tag|>").strip()
    if not re.match(r'\{\s*"(name|type)"\s*:', rest):
        return Parsed(text)
    calls: list[Call] = []
    while rest.startswith("{"):
        try:
            _, end = json.JSONDecoder().raw_decode(rest)
        except ValueError:
            end = len(rest)
        calls.append(_from_json(rest[:end]))
        rest = rest[end:].lstrip("; \n")
    return Parsed(rest, tuple(calls))


def _from_json(text: str) -> Call:
    """One JSON object with a name and arguments (or parameters); a broken one keeps its text."""
    try:
        row = json.loads(text)
    except ValueError:
        row = None
    if isinstance(row, dict) and isinstance(row.get("function"), dict):
        row = row["function"]
    if isinstance(row, dict) and isinstance(row.get("name"), str):
        arguments = row.get("arguments", row.get("parameters", {}))
        return Call(
            row["name"],
            arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False),
        )
    named = re.search(r'"name"\s*:\s*"([^"\\]*)"', text)
    return Call(named[1] if named else "", text)
