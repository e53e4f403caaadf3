"""How well a model copies: whether its reports cite ids that were on screen, and those that were asked for.

Each question is a drill with one row of tool results whose ids were drawn anew, so nothing can be known by
heart. Not here: what is done with the figures (`model_card`).
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from core.log_stores.printing import PRINTED_ROW
from training_service.corpus import Message, drill, vocabulary_of
from training_service.vocabulary import CALL, END

TOGETHER = 64
"""Questions asked in one batch."""
LONGEST_REPLY = 96
CITED = re.compile(r'"(?:key_log_ids|primary_trace_ids)":\["([^"]*)"\]')


class Copied(NamedTuple):
    """How reports about a row that was asked for cite ids."""

    reports: int
    right: int
    """Reports that cite the log id of that row."""
    cited: int
    """Log and trace ids in these reports."""
    valid: int
    """Ids among them that were on screen."""


class Question(NamedTuple):
    """One drill that asks for a report."""

    prompt: str
    wanted: str
    """The log id the report should cite."""
    on_screen: frozenset[str]

    def judged(self, reply: str) -> Copied:
        """Count what a reply cites."""
        ids = CITED.findall(reply)
        right = CALL in reply and self.wanted in ids
        return Copied(1, int(right), len(ids), sum(cited in self.on_screen for cited in ids))


def copy_accuracy(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    results: Sequence[Sequence[str]],
    rng: random.Random,
    count: int,
) -> Copied:
    """Ask for `count` reports at temperature 1 and count what they cite."""
    asked = _questions(tokenizer, results, rng)
    questions = [next(asked) for _ in range(count)]
    total = Copied(0, 0, 0, 0)
    for start in range(0, count, TOGETHER):
        batch = questions[start : start + TOGETHER]
        for question, reply in zip(batch, _replies(model, tokenizer, batch), strict=True):
            total = Copied(*map(sum, zip(total, question.judged(reply), strict=True)))
    return total


def _questions(
    tokenizer: PreTrainedTokenizerFast, results: Sequence[Sequence[str]], rng: random.Random
) -> Iterator[Question]:
    """Yield questions without end."""
    words = vocabulary_of(results)
    while True:
        conversation = drill(rng.choice(results), words, rng, questions=1)
        if conversation and conversation[-1].get("tool_calls"):
            yield _question(tokenizer, conversation)


def _question(tokenizer: PreTrainedTokenizerFast, conversation: Sequence[Message]) -> Question:
    arguments = json.loads(conversation[-1]["tool_calls"][0]["function"]["arguments"])
    prompt = tokenizer.apply_chat_template(conversation[:-1], tokenize=False, add_generation_prompt=True)
    shown = "\n".join(message["content"] for message in conversation if message["role"] == "tool")
    on_screen = {part for row in PRINTED_ROW.finditer(shown) for part in (row["log"], row["trace"])}
    return Question(str(prompt), arguments["key_log_ids"][0], frozenset(on_screen))


def _replies(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, questions: Sequence[Question]
) -> list[str]:
    """Sample one reply to each question."""
    tokens = tokenizer(
        [question.prompt for question in questions],
        return_tensors="pt",
        padding=True,
        padding_side="left",
        add_special_tokens=False,
    )
    made = model.generate(
        input_ids=tokens.input_ids,
        attention_mask=tokens.attention_mask,
        do_sample=True,
        temperature=1.0,
        top_k=0,
        max_new_tokens=LONGEST_REPLY,
    )
    return [tokenizer.decode(reply).split(END)[0] for reply in made[:, tokens.input_ids.shape[1] :]]
