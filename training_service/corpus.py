"""What the small model reads in pretraining: episodes to imitate, and drills in copying.

Episodes come from stored JSONL (any policy's); every message becomes tokens and every assistant message is a target. Drills
take tool results out of an episode, give their ids fresh random digits, and ask for rows by their words (the answer is the
row's id, its words, or the report that would cite it) or for whole rows by their ids. Without drills a model this small imitates
the manner of an investigation and gets the ids wrong; with drills on single results it slips from row to row once it has read
several. Some episodes are disguised: the row they blame gets words that nobody has read before.

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

from training_service.vocabulary import CONTEXT_TOKENS, END

CONTEXT_WEIGHT = 0.15
"""Weight of a token the model only reads, against 1 for a token it must say."""

ROW = re.compile(
    r"^(?P<time>\d\d:\d\d:\d\d) (?P<level>[A-Z]+) (?P<service>\S+) (?:x(?P<count>\d+) )?"
    r"(?P<message>.+?)(?: trace (?P<trace>[0-9a-f]{4,}))? log (?P<id>[0-9a-f]{4,})$",
    re.MULTILINE,
)
"""A row as `search_logs` prints it."""

SEPARATOR = "\n\x1e\n"
"""Between tool results that get fresh ids together."""

Message = dict[str, Any]


@dataclass(frozen=True)
class Document:
    """Token ids of one training sequence and the weight of each as a target; both have shape (length,)."""

    tokens: NDArray[np.int16]
    weights: NDArray[np.float16]


def report_call(service: str, message: str, log_id: str, trace_id: str | None) -> Message:
    """The assistant message that answers with one decisive row; the demonstrator and the drills share its shape."""
    arguments: dict[str, Any] = {"suspected_service": service, "root_cause": f"{service}: {message}"}
    if trace_id:
        arguments["primary_trace_ids"] = [trace_id]
    arguments["key_log_ids"] = [log_id]
    return _call("return_final_answer", json.dumps(arguments, separators=(",", ":"), ensure_ascii=False))


def _call(name: str, arguments: str) -> Message:
    return {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": name, "arguments": arguments}}]}


def with_fresh_ids(text: str, rng: random.Random) -> str:
    """The same tool result with every id replaced by random hex digits of the same length, consistently."""
    found = {part for row in ROW.finditer(text) for part in (row["id"], row["trace"]) if part}
    fresh = {old: "".join(rng.choice("0123456789abcdef") for _ in old) for old in found}
    return re.sub(r"\b[0-9a-f]{4,}\b", lambda match: fresh.get(match[0], match[0]), text)


def echo(results: Sequence[str], rng: random.Random) -> list[Message] | None:
    """A conversation that asks for rows of one tool result word by word, in another order; None when it has fewer than two.

    Nearly every spoken token is a copy, which is what makes a small model learn to copy at all.
    """
    text = with_fresh_ids(rng.choice(results), rng)
    rows = list(ROW.finditer(text))
    if len(rows) < 2:
        return None
    chosen = rng.sample(rows, rng.randint(2, len(rows)))
    return [
        {"role": "tool", "content": text},
        {"role": "user", "content": "repeat " + " ".join(row["id"] for row in chosen)},
        {"role": "assistant", "content": "\n".join(row[0] for row in chosen)},
    ]


def disguised(conversation: Sequence[Message], rng: random.Random) -> list[Message] | None:
    """The same episode with the blamed row in words that nobody has read before; None unless it was new in the last result.

    A model that only ever reads known causes learns their wordings and nothing else. Here what is blamed has one thing in common:
    it is unlike everything that systems usually write.
    """
    calls = [call["function"] for message in conversation for call in message.get("tool_calls") or ()]
    results = [message["content"] for message in conversation if message["role"] == "tool"]
    if not results or not calls or calls[-1]["name"] != "return_final_answer":
        return None
    blamed = json.loads(calls[-1]["arguments"])["root_cause"].partition(": ")[2]
    rows = [row["message"] for row in ROW.finditer(results[-1])]
    if blamed not in rows or blamed not in calls[-1]["arguments"] or any(blamed in text for text in results[:-1]):
        return None
    known = re.findall(r"[a-z]{2,}", " ".join(rows)) or ["something"]
    text = " ".join(_strange(known, rng) for _ in range(rng.randint(4, 12)))
    return json.loads(json.dumps(list(conversation)).replace(json.dumps(blamed)[1:-1], text))  # type: ignore[no-any-return]


def _strange(known: Sequence[str], rng: random.Random) -> str:
    """A word of other rows, a number, or letters that can be spoken."""
    kind = rng.randrange(4)
    if kind == 0:
        return rng.choice(known)
    if kind == 1:
        return f"{rng.randrange(1, 5000)}{rng.choice(('', ' ms', ' %', ' MB', ','))}"
    spoken = "".join(rng.choice("bcdfghklmnprstvwz") + rng.choice("aeiou") for _ in range(rng.randint(1, 3)))
    return spoken + rng.choice(("", "n", "s", "r", "t", "ted", "ing", ","))


def drill(results: Sequence[str], rng: random.Random, questions: int = 8) -> list[Message] | None:
    """A conversation that asks for rows of one to four neighbouring tool results; None when they have fewer than two rows."""
    count = min(len(results), rng.choice((1, 1, 1, 2, 2, 3, 4)))
    first = rng.randrange(len(results) - count + 1)
    text = with_fresh_ids(SEPARATOR.join(results[first : first + count]), rng)
    rows = list(ROW.finditer(text))
    if len(rows) < 2:
        return None
    messages: list[Message] = [{"role": "tool", "content": part} for part in text.split(SEPARATOR)]
    for _ in range(questions):
        row = rng.choice(rows)
        clue = _clue(row, rows, rng)
        kind = rng.choice(("id", "line", "answer", "answer", "answer", "answer"))
        if kind == "id":
            messages += [{"role": "user", "content": f"id {clue}"}, {"role": "assistant", "content": row["id"]}]
        elif kind == "line":
            messages += [
                {"role": "user", "content": f"line {row['id']}"},
                {"role": "assistant", "content": f"{row['service']} {row['message']}"},
            ]
        else:
            messages += [
                {"role": "user", "content": f"answer {clue}"},
                report_call(row["service"], row["message"], row["id"], row["trace"]),
            ]
    return messages


def _clue(row: re.Match[str], rows: Sequence[re.Match[str]], rng: random.Random) -> str:
    """Four words of a row's message; half the time with its service before them, always when the words alone fit another row."""
    words = row["message"].split()
    start = rng.randrange(max(1, len(words) - 3))
    clue = " ".join(words[start : start + 4])
    alone = len({(other["service"], other["message"]) for other in rows if clue in other["message"]}) == 1
    return clue if alone and rng.random() < 0.5 else f"{row['service']} {clue}"


def documents(conversations: Iterable[list[Message]], tokenizer: PreTrainedTokenizerFast) -> Iterator[Document]:
    """Tokenise conversations, dropping what exceeds the context. Targets are the assistants' messages with their end token."""
    begin, end = (tokenizer.convert_tokens_to_ids(token) for token in ("<|assistant|>", END))
    for conversation in conversations:
        text = tokenizer.apply_chat_template(conversation, tokenize=False)
        ids = tokenizer(text, add_special_tokens=False).input_ids
        if len(ids) > CONTEXT_TOKENS:
            continue
        weights, speaking = [], False
        for token in ids:
            weights.append(1.0 if speaking else CONTEXT_WEIGHT)
            if token == begin:
                speaking = True
            elif token == end:
                speaking = False
        yield Document(np.asarray(ids, dtype=np.int16), np.asarray(weights, dtype=np.float16))
