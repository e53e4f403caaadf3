"""Generated text becomes content and calls, in each family's way of writing them; nothing a model writes
raises.
"""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training_service.call_parsing import STYLES, Call, Parsed, Style, detect_style, opening, parse

SEARCH = Call("search_logs", '{"keywords": "x"}')
READ = Call("read_trace", '{"trace_id": "9b"}')

WELL_WRITTEN: dict[str, tuple[Style, str, Parsed]] = {
    "investigator": ("investigator", '<|call|>search_logs {"keywords": "x"}', Parsed("", (SEARCH,))),
    "investigator, two and a word before": (
        "investigator",
        'I look.<|call|>search_logs {"keywords": "x"}<|call|>read_trace {"trace_id": "9b"}',
        Parsed("I look.", (SEARCH, READ)),
    ),
    "hermes": (
        "hermes",
        '<tool_call>\n{"name": "search_logs", "arguments": {"keywords": "x"}}\n</tool_call>',
        Parsed("", (SEARCH,)),
    ),
    "hermes, two and a thought before": (
        "hermes",
        'Hm.\n<tool_call>{"name": "search_logs", "arguments": {"keywords": "x"}}</tool_call>\n'
        '<tool_call>{"name": "read_trace", "arguments": "{\\"trace_id\\": \\"9b\\"}"}</tool_call>',
        Parsed("Hm.", (SEARCH, READ)),
    ),
    "llama 3": ("llama3", '{"name": "search_logs", "parameters": {"keywords": "x"}}', Parsed("", (SEARCH,))),
    "llama 3, two": (
        "llama3",
        '<|python_tag|>{"name": "search_logs", "parameters": {"keywords": "x"}}; '
        '{"name": "read_trace", "parameters": {"trace_id": "9b"}}',
        Parsed("", (SEARCH, READ)),
    ),
    "llama 3, function type": (
        "llama3",
        '{"type": "function", "function": {"name": "search_logs", "parameters": {"keywords": "x"}}}',
        Parsed("", (SEARCH,)),
    ),
    "mistral": (
        "mistral",
        '[TOOL_CALLS][{"name": "search_logs", "arguments": {"keywords": "x"}}]',
        Parsed("", (SEARCH,)),
    ),
    "mistral, newer": (
        "mistral",
        'Ok [TOOL_CALLS]search_logs[ARGS]{"keywords": "x"}',
        Parsed("Ok", (SEARCH,)),
    ),
    "hermes, the closing tag in an argument": (
        "hermes",
        '<tool_call>\n{"name": "search_logs", "arguments": {"keywords": "saw </tool_call> in log"}}\n</tool_call>',
        Parsed("", (Call("search_logs", '{"keywords": "saw </tool_call> in log"}'),)),
    ),
    "hermes, the opening tag in an argument": (
        "hermes",
        '<tool_call>{"name": "search_logs", "arguments": {"keywords": "saw <tool_call> in log"}}</tool_call>',
        Parsed("", (Call("search_logs", '{"keywords": "saw <tool_call> in log"}'),)),
    ),
    "hermes, drafted in a thought": (
        "hermes",
        '<think>First <tool_call>{"name": "read_trace", "arguments": {}}</tool_call>?</think>\n'
        '<tool_call>{"name": "search_logs", "arguments": {"keywords": "x"}}</tool_call>',
        Parsed(
            '<think>First <tool_call>{"name": "read_trace", "arguments": {}}</tool_call>?</think>', (SEARCH,)
        ),
    ),
    "hermes, drafted in a thought that the template opened": (
        "hermes",
        'First <tool_call>{"name": "read_trace", "arguments": {}}</tool_call>?</think>'
        '<tool_call>{"name": "search_logs", "arguments": {"keywords": "x"}}</tool_call>',
        Parsed('First <tool_call>{"name": "read_trace", "arguments": {}}</tool_call>?</think>', (SEARCH,)),
    ),
    "hermes, the end of a thought in an argument": (
        "hermes",
        '<tool_call>{"name": "search_logs", "arguments": {"keywords": "a </think> tag"}}</tool_call>',
        Parsed("", (Call("search_logs", '{"keywords": "a </think> tag"}'),)),
    ),
    "hermes, the tag named in a thought": (
        "hermes",
        "<think>The form is <tool_call>...</tool_call>.</think>\nNothing to do.",
        Parsed("<think>The form is <tool_call>...</tool_call>.</think>\nNothing to do."),
    ),
    "hermes, a thought that never ends": (
        "hermes",
        '<think>I could <tool_call>{"name": "search_logs", "arguments": {}}</tool_call>',
        Parsed('<think>I could <tool_call>{"name": "search_logs", "arguments": {}}</tool_call>'),
    ),
    "hermes, null arguments": (
        "hermes",
        '<tool_call>{"name": "search_logs", "arguments": null}</tool_call>',
        Parsed("", (Call("search_logs", "{}"),)),
    ),
    "hermes, no arguments": (
        "hermes",
        '<tool_call>{"name": "search_logs"}</tool_call>',
        Parsed("", (Call("search_logs", "{}"),)),
    ),
    "investigator, the tag in an argument": (
        "investigator",
        '<|call|>search_logs {"keywords": "saw <|call|> in log"}',
        Parsed("", (Call("search_logs", '{"keywords": "saw <|call|> in log"}'),)),
    ),
    "mistral, the tag in an argument": (
        "mistral",
        '[TOOL_CALLS][{"name": "search_logs", "arguments": {"keywords": "[TOOL_CALLS]"}}]',
        Parsed("", (Call("search_logs", '{"keywords": "[TOOL_CALLS]"}'),)),
    ),
    "mistral, newer, the tag in an argument": (
        "mistral",
        '[TOOL_CALLS]search_logs[ARGS]{"keywords": "[TOOL_CALLS]"}[TOOL_CALLS]read_trace[ARGS]{"trace_id": "9b"}',
        Parsed("", (Call("search_logs", '{"keywords": "[TOOL_CALLS]"}'), READ)),
    ),
    "plain text": ("plain", '{"name": "search_logs"}', Parsed('{"name": "search_logs"}')),
    "no call, investigator": ("investigator", "It was the disk.", Parsed("It was the disk.")),
    "no call, hermes": ("hermes", " It was the disk.\n", Parsed(" It was the disk.\n")),
    "no call, llama 3": ("llama3", 'the object {"name": 1}', Parsed('the object {"name": 1}')),
}

BEGUN_BADLY: dict[str, tuple[Style, str, Call]] = {
    "investigator, cut": (
        "investigator",
        '<|call|>search_logs {"keywords": ',
        Call("search_logs", '{"keywords": '),
    ),
    "investigator, nothing after": ("investigator", "<|call|>", Call("", "")),
    "investigator, no arguments": ("investigator", "<|call|>search_logs", Call("search_logs", "")),
    "hermes, cut": (
        "hermes",
        '<tool_call>\n{"name": "search_logs", "arguments": {"keyw',
        Call("search_logs", '{"name": "search_logs", "arguments": {"keyw'),
    ),
    "hermes, no name": ("hermes", '<tool_call>{"arguments": {}}</tool_call>', Call("", '{"arguments": {}}')),
    "llama 3, cut": (
        "llama3",
        '{"name": "search_logs", "para',
        Call("search_logs", '{"name": "search_logs", "para'),
    ),
    "mistral, cut": (
        "mistral",
        '[TOOL_CALLS][{"name": "search_logs", "arg',
        Call("search_logs", '{"name": "search_logs", "arg'),
    ),
}


@pytest.mark.parametrize(("style", "text", "expected"), WELL_WRITTEN.values(), ids=WELL_WRITTEN.keys())
def test_well_written_replies_are_split(style: Style, text: str, expected: Parsed) -> None:
    assert parse(style, text) == expected


@pytest.mark.parametrize(("style", "text", "expected"), BEGUN_BADLY.values(), ids=BEGUN_BADLY.keys())
def test_a_call_that_was_begun_comes_back_as_it_stands(style: Style, text: str, expected: Call) -> None:
    assert parse(style, text).calls == (expected,)


PIECES = st.sampled_from(
    [
        "<|call|>",
        "<think>",
        "</think>",
        "[" * 5000,
        '{"a":' * 5000,
        "<tool_call>",
        "</tool_call>",
        "[TOOL_CALLS]",
        "[ARGS]",
        "<|python_tag|>",
        '{"name": ',
        '"a"',
        "{",
        "}",
        "[",
        ";",
        "x",
        " ",
    ]
)


@given(st.sampled_from(STYLES), st.lists(PIECES | st.text(max_size=5)).map("".join))
def test_no_text_raises_and_every_part_is_text(style: Style, text: str) -> None:
    said = parse(style, text)
    assert isinstance(said.content, str)
    assert all(isinstance(part, str) for call in said.calls for part in (call.name, call.arguments))


@given(
    st.sampled_from(["hermes", "mistral", "investigator"]),
    st.text() | st.lists(PIECES).map("".join).filter(lambda text: len(text) < 1000),
)
def test_arguments_may_hold_any_text_marks_included(style: Style, text: str) -> None:
    arguments = json.dumps({"keywords": text}, ensure_ascii=False)
    closing = {"investigator": "", "hermes": "}</tool_call>", "mistral": "}]"}[style]
    said = parse(style, opening(style, "search_logs") + arguments + closing)
    assert [(call.name, json.loads(call.arguments)) for call in said.calls] == [
        ("search_logs", {"keywords": text})
    ]


@pytest.mark.parametrize("style", [style for style in STYLES if style != "plain"])
def test_a_forced_opening_completed_well_parses_as_a_call_of_that_tool(style: Style) -> None:
    closing = {"investigator": "", "hermes": "}</tool_call>", "llama3": "}", "mistral": "}]"}[style]
    said = parse(style, opening(style, "search_logs") + '{"keywords": "x"}' + closing)
    assert said == Parsed("", (SEARCH,))
    assert parse(style, opening(style, None)).calls or style == "llama3"


@pytest.mark.parametrize(
    ("template", "style"),
    [
        ("...<|call|>{{ name }}...", "investigator"),
        ("{{- '<tool_call>\\n' }}", "hermes"),
        ("[TOOL_CALLS]", "mistral"),
        ("<|start_header_id|> '\"parameters\": '", "llama3"),
        ("{{ message.content }}", "plain"),
    ],
)
def test_the_style_is_read_from_the_template(template: str, style: Style) -> None:
    assert detect_style(template) == style


def test_a_declared_style_wins_and_an_unknown_one_is_refused() -> None:
    assert detect_style("<tool_call>", "plain") == "plain"
    with pytest.raises(ValueError, match="is not one of investigator, hermes"):
        detect_style("", "sparrow")


def test_arguments_survive_as_json() -> None:
    call = parse("hermes", '<tool_call>{"name": "f", "arguments": {"q": "ü \\" }"}}</tool_call>').calls[0]
    assert json.loads(call.arguments) == {"q": 'ü " }'}
