"""What the small model reads in pretraining: episodes to imitate, and drills in copying.

Episodes come from stored JSONL (any policy's); every message becomes tokens and every assistant message is a
target. Drills take tool results out of an episode, give their ids fresh random digits, and ask for rows by
their words (the answer is the row's id, its words, or the report that would cite it) or for whole rows by
their ids; others ask for the trace of a kind of request, for the service at which a trace ends, and for the
service that ran short of something. What is gone by is said before a call, as the demonstrator does. Without
drills a model this small imitates the manner of an investigation and gets the ids wrong; with drills on
single results it slips from row to row once it has read several. In half of the drills rows get words that
nobody has read before, since a model that knows by heart all it copies learns to copy nothing else. In some
episodes the row they blame gets them, and half of the rows beside it, so that wordings are no sign of a
cause.

Not here: where episodes come from and how long to train (`pretrain`).
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerFast

from core.log_stores.printing import PRINTED_ROW
from core.policies.demonstrator import (
    LONGEST_QUOTE,
    answer_with,
    because_end,
    because_short,
    ran_short,
    read_found,
    trail_end,
)
from core.policies.screen import rows as shown_rows
from core.policies.scripting import Call
from core.policies.sre.reading import found_traces, trace
from training_service.vocabulary import CONTEXT_TOKENS, END

CHOICE_WEIGHT = 6.0
"""Weight of a token that names what is asked, blamed or gone by. There are a few in a hundred, among a
hundred that are copied once it is chosen, and they are what an investigation is.
"""
CHOICE = re.compile(
    r'"(?:trace_id|service|suspected_service)":"([^"]+)"' + r"|<\|assistant\|>([^<]+)<\|call\|>"
)
CONTEXT_WEIGHT = 0.15
"""Weight of a token the model only reads, against 1 for a token it must say."""

SEPARATOR = "\n\x1e\n"
"""Between tool results that get fresh ids together."""

_WORD = re.compile(r"[a-z]{3,}")
_TRACE_ID = re.compile(r"\btrace ([0-9a-f]{4,})\b")
MOST_ECHOED = 6
"""Rows that a conversation repeats at most."""

Message = dict[str, Any]


@dataclass(frozen=True)
class Document:
    """Token ids of one training sequence and the weight of each as a target; both have shape (length,)."""

    tokens: NDArray[np.int16]
    weights: NDArray[np.float16]


def report_call(row: str) -> Message:
    """The assistant message that answers with one decisive row, as it is printed."""
    return _said(answer_with(shown_rows(row)[0]))


def _said(call: Call) -> Message:
    written = json.dumps(call.arguments, separators=(",", ":"), ensure_ascii=False)
    return {
        "role": "assistant",
        "content": call.thought or None,
        "tool_calls": [{"function": {"name": call.tool, "arguments": written}}],
    }


def with_fresh_ids(text: str, rng: random.Random) -> str:
    """The same tool result with every id replaced by random hex digits of the same length, consistently."""
    found = {part for row in PRINTED_ROW.finditer(text) for part in (row["log"], row["trace"]) if part}
    found |= set(_TRACE_ID.findall(text))
    fresh = {old: _hex_digits(len(old), rng) for old in found}
    return re.sub(r"\b[0-9a-f]{4,}\b", lambda match: fresh.get(match[0], match[0]), text)


def _hex_digits(length: int, rng: random.Random) -> str:
    return "".join(rng.choice("0123456789abcdef") for _ in range(length))


def vocabulary_of(results: Iterable[Sequence[str]]) -> tuple[str, ...]:
    """The words of all rows, sorted; what strange words are made of."""
    rows = {row["message"] for episode in results for text in episode for row in PRINTED_ROW.finditer(text)}
    words = {
        word for word in re.findall(r"[a-z]{3,}", " ".join(rows)) if not set(word) <= set("abcdef")
    }  # ids are no words
    return tuple(sorted(words - {"log", "trace"}))


def with_strange_rows(text: str, words: Sequence[str], rng: random.Random) -> str:
    """The same tool result; in every other one, half of the rows say something nobody has read before."""
    if rng.random() < 0.5:
        return text
    strange = {
        row["message"]: strange_message(words, rng)
        for row in PRINTED_ROW.finditer(text)
        if rng.random() < 0.5
    }

    def said(row: re.Match[str]) -> str:
        start, end = row.start("message") - row.start(), row.end("message") - row.start()
        return row[0][:start] + strange.get(row["message"], row["message"]) + row[0][end:]

    return PRINTED_ROW.sub(said, text)


def echo(results: Sequence[str], words: Sequence[str], rng: random.Random) -> list[Message] | None:
    """A conversation that asks for rows of one tool result word by word, in another order; None when it has
    fewer than two.

    Nearly every spoken token is a copy, which is what makes a small model learn to copy at all.
    """
    text = with_strange_rows(with_fresh_ids(rng.choice(results), rng), words, rng)
    rows = list(PRINTED_ROW.finditer(text))
    if len(rows) < 2:
        return None
    chosen = rng.sample(rows, rng.randint(2, min(MOST_ECHOED, len(rows))))
    return [
        {"role": "tool", "content": text},
        {"role": "user", "content": "repeat " + " ".join(row["log"] for row in chosen)},
        {"role": "assistant", "content": "\n".join(row[0] for row in chosen)},
    ]


def disguised(
    conversation: Sequence[Message], words: Sequence[str], rng: random.Random
) -> list[Message] | None:
    """The same episode with the blamed row, and half of the rows beside it, in words
    that nobody has read before.

    None unless the row was new in the last result. A model that only ever reads known
    causes learns their wordings and nothing else.
    """
    calls = [call["function"] for message in conversation for call in message.get("tool_calls") or ()]
    results = [message["content"] for message in conversation if message["role"] == "tool"]
    if not results or not calls or calls[-1]["name"] != "return_final_answer":
        return None
    report = json.loads(calls[-1]["arguments"])
    quote = report["root_cause"].partition(": ")[2]
    shown = [row["message"] for row in PRINTED_ROW.finditer(results[-1])]
    blamed = next((message for message in shown if quote and message.startswith(quote)), None)
    if blamed is None or any(quote in text for text in results[:-1]):
        return None
    changed = {blamed, *(message for message in shown if rng.random() < 0.5)}
    words_of = {message: strange_message(words, rng) for message in sorted(changed, key=len, reverse=True)}
    text = json.dumps(list(conversation))
    for message, strange in words_of.items():  # the longest first: one may hold another
        text = text.replace(json.dumps(message)[1:-1], strange)
    disguise: list[Message] = json.loads(text)
    report["root_cause"] = f"{report['suspected_service']}: {words_of[blamed]}"[:LONGEST_QUOTE]
    disguise[-1] = _said(Call("return_final_answer", report, conversation[-1].get("content") or ""))
    return disguise


def strange_message(words: Sequence[str], rng: random.Random) -> str:
    """Four to twelve words in an order that means nothing: known ones, two known ones cut and joined, spoken
    letters, numbers.
    """
    return " ".join(_strange(words, rng) for _ in range(rng.randint(4, 12)))


def _strange(words: Sequence[str], rng: random.Random) -> str:
    kind = rng.randrange(5)
    if kind < 2:
        return rng.choice(words) + rng.choice(("", "", "", ",", ":"))
    if kind == 2:
        head, tail = rng.choice(words), rng.choice(words)
        return head[: rng.randint(2, 4)] + rng.choice(("", "", "", "_")) + tail[-rng.randint(2, 5) :]
    if kind == 3:
        spoken = "".join(
            rng.choice("bcdfghklmnprstvwz") + rng.choice("aeiou") for _ in range(rng.randint(1, 3))
        )
        return spoken + rng.choice(("", "n", "s", "r", "t", "ted", "ing", ","))
    number = rng.randrange(1, 5000)
    as_time = f"{number // 60}:{number % 60:02}"
    return rng.choice((f"{number}", f"{number} ms", f"{number} %", f"{number} MB", f"{number},", as_time))


def drill(
    results: Sequence[str], words: Sequence[str], rng: random.Random, questions: int = 8
) -> list[Message] | None:
    """A conversation that asks for rows of one to four neighbouring tool results; None when they have fewer
    than two rows.
    """
    count = min(len(results), rng.choice((1, 1, 1, 2, 2, 3, 4)))
    first = rng.randrange(len(results) - count + 1)
    text = with_strange_rows(with_fresh_ids(SEPARATOR.join(results[first : first + count]), rng), words, rng)
    rows = list(PRINTED_ROW.finditer(text))
    if len(rows) < 2:
        return None
    messages: list[Message] = [{"role": "tool", "content": part} for part in text.split(SEPARATOR)]
    for _ in range(questions):
        row = rng.choice(rows)
        clue = _clue(row, rows, rng)
        kind = rng.choice(("id", "line", "answer", "answer", "answer", "answer"))
        if kind == "id":
            messages += [
                {"role": "user", "content": f"id {clue}"},
                {"role": "assistant", "content": row["log"]},
            ]
        elif kind == "line":
            messages += [
                {"role": "user", "content": f"line {row['log']}"},
                {"role": "assistant", "content": f"{row['service']} {row['message']}"},
            ]
        else:
            messages += [
                {"role": "user", "content": f"answer {clue}"},
                report_call(row[0]),
            ]
    return messages


def trails(
    results: Sequence[str], words: Sequence[str], rng: random.Random, questions: int = 4
) -> list[Message] | None:
    """A conversation that asks for traces by what was requested, where each one ends, and what
    ran short; None when there is no result of find_traces among the results. `words` is not used:
    these results hold no prose.
    """
    lists = [text for text in results if found_traces(text)]
    if not lists:
        return None
    text = with_fresh_ids(rng.choice(lists), rng)
    messages: list[Message] = [{"role": "tool", "content": text}]
    for _ in range(questions):
        one = rng.choice(found_traces(text))
        named = rng.choice((f"{one.service} {one.operation}", " ".join(_WORD.findall(one.operation))))
        messages += [
            {"role": "user", "content": f"trace {named}"},
            _said(read_found(one)),
        ]
    trees = [(tree, found) for tree in results if (found := trace(tree))]
    for tree, found in trees[:2]:
        end = trail_end(found)
        messages += _looked_up(with_fresh_ids(tree, rng), "end", end.service, because_end(end))
    for metrics in results:
        if short := ran_short(metrics):
            messages += _looked_up(metrics, "short", short.service, because_short(short))
            break
    return messages


def _looked_up(shown: str, asked: str, service: str, thought: str) -> list[Message]:
    """A result, a question about it, and the call that asks the service in question."""
    return [
        {"role": "tool", "content": shown},
        {"role": "user", "content": asked},
        _said(Call("compare", {"service": service}, thought)),
    ]


def _clue(row: re.Match[str], rows: Sequence[re.Match[str]], rng: random.Random) -> str:
    """Four words of a row's message; half the time with its service before them, always when the words alone
    fit another row.
    """
    words = row["message"].split()
    start = rng.randrange(max(1, len(words) - 3))
    clue = " ".join(words[start : start + 4])
    alone = len({(other["service"], other["message"]) for other in rows if clue in other["message"]}) == 1
    return clue if alone and rng.random() < 0.5 else f"{row['service']} {clue}"


def documents(
    conversations: Iterable[list[Message]], tokenizer: PreTrainedTokenizerFast
) -> Iterator[Document]:
    """Tokenise conversations, dropping what exceeds the context. Targets are the assistants' messages with
    their end token.
    """
    begin, end = (tokenizer.convert_tokens_to_ids(token) for token in ("<|assistant|>", END))
    for conversation in conversations:
        text = tokenizer.apply_chat_template(conversation, tokenize=False)
        read = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        if len(read.input_ids) > CONTEXT_TOKENS:
            continue
        chosen = {
            place for found in CHOICE.finditer(text) for place in range(*found.span(found.lastindex or 0))
        }
        weights, speaking = [], False
        for token, (start, _) in zip(read.input_ids, read.offset_mapping, strict=True):
            said = CHOICE_WEIGHT if start in chosen else 1.0
            weights.append(said if speaking else CONTEXT_WEIGHT)
            if token == begin:
                speaking = True
            elif token == end:
                speaking = False
        yield Document(np.asarray(read.input_ids, dtype=np.int16), np.asarray(weights, dtype=np.float16))
