"""From written conversations to token sequences: demonstrations, and answers of which one is better.

A reply is encoded on its own behind its prompt, as it is when it is sampled, so that training and serving see
the same tokens. Only what the assistant writes counts, its end token included. Text in messages is data here
too (`chat_format`). Not here: trajectories that were sampled, which carry their own tokens (`sequences`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from training_service.chat_format import ChatFormat, Message
from training_service.engine import TrainingError
from training_service.sequences import TokenSequence


class TokenPair(NamedTuple):
    """Two answers to one prompt."""

    chosen: TokenSequence
    rejected: TokenSequence


def demonstration(chat: ChatFormat, example: Mapping[str, Any]) -> TokenSequence:
    """Return a conversation `{messages, tools?}` in which every reply of the assistant is to be learnt.

    Raises TrainingError for a conversation without a reply, and for a template that rewrites earlier turns.
    """
    messages, tools = example["messages"], example.get("tools") or []
    sequence = TokenSequence()
    done = ""
    for place, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        prompt = chat.render(messages[:place], tools, reply=True)
        whole = chat.render(messages[: place + 1], tools, reply=False)
        if not prompt.startswith(done) or not whole.startswith(prompt):
            raise TrainingError(
                "the chat template rewrites earlier turns; use a template that only appends to a conversation"
            )
        reply, after = chat.split_end(whole[len(prompt) :])
        sequence.append(chat.encode(prompt[len(done) :]), None)
        written = chat.encode(reply)
        sequence.append(written, [math.nan] * len(written))
        sequence.append(chat.encode(after), None)
        done = whole
    if not sequence.sampled_count:
        raise TrainingError(
            "a demonstration has no message of the assistant; there is nothing to learn from it"
        )
    return sequence


def pair(chat: ChatFormat, row: Mapping[str, Any]) -> TokenPair:
    """Return the sequences of a pair `{messages, chosen, rejected, tools?}`; the answers are texts."""
    chosen, rejected = (
        answer(chat, row["messages"], row[key], row.get("tools") or []) for key in TokenPair._fields
    )
    return TokenPair(chosen, rejected)


def answer(
    chat: ChatFormat, messages: Sequence[Message], text: str, tools: Sequence[Message] = ()
) -> TokenSequence:
    """Return a prompt and the one answer to it, of which only the answer counts."""
    said = {"role": "assistant", "content": text}
    sequence = demonstration(chat, {"messages": [*_read_only(messages), said], "tools": list(tools)})
    first = len(chat.encode(chat.render(messages, tools, reply=True)))
    sequence.sampled = [place >= first and sampled for place, sampled in enumerate(sequence.sampled)]
    return sequence


def _read_only(messages: Sequence[Message]) -> list[dict[str, Any]]:
    return [dict(message) for message in messages]
