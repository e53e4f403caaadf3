"""Calls written as text are found whole and outside thoughts; a reply that was cut inside one says so."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.text_calls import call_begun, text_call

CALL = '{"tool": "grep", "arguments": {"word": "cdn"}}'
FOUND = ("grep", {"word": "cdn"})


@pytest.mark.parametrize(
    "reply",
    [
        CALL,
        f"I will look.\n```json\n{CALL}\n```",
        f'<think>Is it {{"tool": "rm"}}?</think>{CALL}',
        f'Is it {{"tool": "rm"}}?</think>{CALL}',
        f'Not {{this}} nor {{"that": 1}} but {CALL} and no more',
        '{"arguments": {"word": "cdn"}, "tool": "grep"}',
    ],
    ids=["bare", "fenced", "a thought before", "half a thought", "other braces", "keys in another order"],
)
def test_the_call_of_a_reply_is_found(reply: str) -> None:
    found = text_call(reply)
    assert found is not None
    assert (found.name, json.loads(found.arguments)) == FOUND


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "no call",
        '{"tool": 7}',
        '{"name": "grep"}',
        '{"a": {"tool": "grep"}}',
        CALL[:-2],
        f"<think>{CALL}",
        f"{CALL} I could say.</think> No.",
    ],
    ids=[
        "empty",
        "prose",
        "no name",
        "no tool",
        "nested",
        "cut",
        "in a thought",
        "in a thought that the template opened",
    ],
)
def test_a_reply_without_a_call_has_none(reply: str) -> None:
    assert text_call(reply) is None


@pytest.mark.parametrize("arguments", ["null", "{}"])
def test_arguments_that_are_null_or_missing_are_none(arguments: str) -> None:
    for reply in (f'{{"tool": "grep", "arguments": {arguments}}}', '{"tool": "grep"}'):
        found = text_call(reply)
        assert found is not None
        assert found.arguments == "{}"


@given(st.text() | st.text(alphabet='<>/think {}"\\'))
def test_an_argument_may_hold_any_text(text: str) -> None:
    found = text_call(json.dumps({"tool": "grep", "arguments": {"word": text}}))
    assert found is not None
    assert json.loads(found.arguments) == {"word": text}


@pytest.mark.parametrize("noise", ["{", '{"a":', "[", "<think>", "</think>", '{"tool":"'])
def test_a_reply_full_of_beginnings_is_read_in_no_time(noise: str) -> None:
    began = time.process_time()
    text_call(noise * 20_000)
    call_begun(noise * 20_000)
    assert time.process_time() - began < 20


@pytest.mark.parametrize(
    ("reply", "begun"),
    [
        ("Let me think about", False),
        ("", False),
        ('{"tool": "grep", "argu', True),
        ('I look.\n```json\n{"tool": "grep", "arguments": {"word": "cd', True),
        ('<tool_call>\n{"name": "search_lo', True),
        ("[TOOL_CALLS]search_logs[ARGS]{", True),
        ("<|call|>search_logs {", True),
        ('{"name": "search_logs", "parameters": {', True),
        ('<think>Perhaps {"tool": "grep", "argu', False),
        ('<think>Perhaps {"tool": "grep"}</think> The disk', False),
        (f"{CALL} is what I want, and th", False),
        ('the set {"a", "b', False),
    ],
)
def test_a_reply_that_was_cut_had_begun_a_call_or_not(reply: str, begun: bool) -> None:
    assert call_begun(reply) is begun
