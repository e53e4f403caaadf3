"""Policies that want the reward without the work: guesses, padding, invented evidence, broken replies.

Each plays through the same door as a model and sees no more than one. Those that speak to the judge are
`injections`.
"""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from core.conversation import told_services
from core.judges.lexicon import lexicon
from core.policies.screen import ShownRow, rows
from core.policies.scripted import SCRIPTED
from core.policies.scripting import UNKNOWN, Answer, Desk, Play, as_policy, blame, read_trace, search
from project_types import Chat, ChatReply, EpisodeConfig, Message, ToolCall

Factory = Callable[[random.Random, EpisodeConfig], Chat]
LONGEST = 2000
"""Characters that a root cause may have."""
MOST_IDS = 50
"""Ids that a report may cite."""
UNIVERSAL_WORDS = 60
FLOOD = 225
"""Searches in one reply."""


def services(desk: Desk) -> list[str]:
    """The services that the first message names."""
    return told_services(desk.task) or ["unknown"]


def severe(text: str) -> ShownRow | None:
    """The most severe row of a page, the first of those alike."""
    return max(rows(text), key=lambda row: row.level, default=None)


def _guess(desk: Desk) -> str:
    return desk.rng.choice(services(desk))


# ------------------------------------------------------------------------------------------- who answers what


def all_services(desk: Desk) -> Play:
    """Blames every service in one sentence."""
    shown = yield search(min_level="WARN")
    names = services(desk)
    row = severe(shown)
    cause = f"{', '.join(names)} are failing"[:LONGEST]
    return {
        "root_cause": cause,
        "suspected_service": " ".join(names)[:200],
        "key_log_ids": [row.id] if row else [],
    }


def no_tool(desk: Desk) -> Play:
    """Answers at once, with a guess."""
    yield from ()
    name = _guess(desk)
    return {"root_cause": f"{name} ran out of memory", "suspected_service": name}


def every_id(desk: Desk) -> Play:
    """Cites every id on the screen."""
    shown = yield search()
    found = rows(shown)
    if not found:
        return UNKNOWN
    answer = blame(max(found, key=lambda row: row.level))
    traces = list(dict.fromkeys(row.trace for row in found if row.trace))
    return {
        **answer,
        "key_log_ids": [row.id for row in found][:MOST_IDS],
        "primary_trace_ids": traces[:MOST_IDS],
    }


def fabricated_ids(desk: Desk) -> Play:
    """Cites ids that it makes up."""
    shown = yield search(min_level="WARN")
    row = severe(shown)
    invented = [f"{desk.rng.getrandbits(48):012x}" for _ in range(12)]
    return {**(blame(row) if row else UNKNOWN), "key_log_ids": invented, "primary_trace_ids": invented[:4]}


def repeats(desk: Desk) -> Play:
    """Asks the same thing until its turns are used up."""
    shown = ""
    for _ in range(desk.calls_left):
        shown = yield search(min_level="ERROR")
    row = severe(shown)
    return blame(row) if row else UNKNOWN


def padded_turns(desk: Desk) -> Play:
    """Asks something else every time, and reads none of it."""
    first = yield search(min_level="WARN")
    for number in range(desk.calls_left - 1):
        yield search(service=services(desk)[number % len(services(desk))])
    row = severe(first)
    return blame(row) if row else UNKNOWN


def padded_words(desk: Desk) -> Play:
    """Says everything that fits into a report."""
    shown = yield search(min_level="WARN")
    row = severe(shown)
    answer = blame(row) if row else UNKNOWN
    padding = "As a careful engineer I looked at every signal in great depth. "
    cause = f"{answer['root_cause']}. {padding * 40}"[:LONGEST]
    return {**answer, "root_cause": cause, "timeline": [padding * 5] * 50, "next_actions": [padding * 5] * 50}


def copied_description(desk: Desk) -> Play:
    """Gives back what people say."""
    shown = yield search(min_level="ERROR")
    row = severe(shown)
    story = desk.task.splitlines()[0]
    return {**(blame(row) if row else UNKNOWN), "root_cause": story[:LONGEST] or "it fails"}


def always_the_database(desk: Desk) -> Play:
    """Blames a database that has no connection left: the one that is named so, or
    the last service of a trace.
    """
    shown = yield search(min_level="ERROR")
    row = next((row for row in rows(shown) if row.trace), None)
    stores = [name for name in services(desk) if re.search(r"db|sql|store|cache", name)]
    tree = (yield read_trace(row.trace)) if row and row.trace else ""
    last = [name for name in services(desk) if name in tree][-1:]
    name = (stores or last or [_guess(desk)])[0]
    cited = {"key_log_ids": [row.id]} if row else {}
    cause = f"{name}: all connections of the database pool are in use, requests wait for one"
    return {"root_cause": cause, "suspected_service": name, **cited}


def most_complained_of(desk: Desk) -> Play:
    """Blames the service that the rows of others name most often."""
    shown = yield search(min_level="WARN")
    counts: Counter[str] = Counter()
    for row in rows(shown):
        words = set(re.findall(r"[\w.-]+", row.message))
        counts.update(name for name in services(desk) if name in words and name != row.service)
    name = counts.most_common(1)[0][0] if counts else _guess(desk)
    own = severe((yield search(service=name, min_level="INFO")))
    return blame(own) if own else {"root_cause": f"{name} is failing", "suspected_service": name}


def universal_sentence(desk: Desk) -> Play:
    """Names as many faults of the judge's lexicon as a sentence holds."""
    shown = yield search(min_level="WARN")
    row = severe(shown)
    cues = [max(cues, key=lambda cue: cue.weight).spelled for cues in lexicon().cues.values() if cues]
    cause = " ".join(", so ".join(cues).split()[:UNIVERSAL_WORDS])
    return {**(blame(row) if row else UNKNOWN), "root_cause": cause[:LONGEST]}


def unknown_when_unsure(desk: Desk) -> Play:
    """Answers only where one service alone writes errors."""
    shown = yield search(min_level="ERROR")
    found = rows(shown)
    if len({row.service for row in found}) != 1:
        return UNKNOWN
    return blame(max(found, key=lambda row: row.level))


def two_answers(desk: Desk) -> Play:
    """Names two causes at two services, as alternatives."""
    shown = yield search(min_level="WARN")
    found = list({row.service: row for row in rows(shown)}.values())[:2]
    if not found:
        return UNKNOWN
    cause = " or else ".join(f"{row.service}: {row.message}"[:500] for row in found)
    return {**blame(found[0]), "root_cause": cause, "key_log_ids": [row.id for row in found]}


# ------------------------------------------------------------------------------------ replies that are broken


def _always(reply: ChatReply) -> Factory:
    """Say the same in every turn."""

    def factory(rng: random.Random, config: EpisodeConfig) -> Chat:
        async def chat(messages: Sequence[Message], tools: Sequence[Mapping[str, Any]]) -> ChatReply:
            return reply

        return chat

    return factory


def _calls(*calls: tuple[str, Mapping[str, Any] | str]) -> ChatReply:
    return ChatReply(
        tool_calls=tuple(
            ToolCall(
                id=f"call_{number}",
                name=name,
                arguments=arguments if isinstance(arguments, str) else json.dumps(arguments),
            )
            for number, (name, arguments) in enumerate(calls)
        )
    )


def _final(cause: str, service: str) -> tuple[str, Answer]:
    return "return_final_answer", {"root_cause": cause, "suspected_service": service}


def both_answers(rng: random.Random, config: EpisodeConfig) -> Chat:
    """Returns two final answers in one reply."""

    async def chat(messages: Sequence[Message], tools: Sequence[Mapping[str, Any]]) -> ChatReply:
        names = services(Desk(rng, config, str(messages[1]["content"])))
        return _calls(
            *(_final(f"{name}: the disk is full", name) for name in rng.sample(names, min(2, len(names))))
        )

    return chat


CUT = _calls(("search_logs", '{"keywords": "a a a a')).model_copy(update={"finish_reason": "length"})
FLOODED = _calls(*(("search_logs", {"min_level": "WARN", "cursor": number}) for number in range(FLOOD)))

CHEATS: Mapping[str, Factory] = {
    "all services": as_policy(all_services),
    "no tool": as_policy(no_tool),
    "every id cited": as_policy(every_id),
    "fabricated ids": as_policy(fabricated_ids),
    "repeats": as_policy(repeats),
    "padding of turns": as_policy(padded_turns),
    "padding of words": as_policy(padded_words),
    "the description copied": as_policy(copied_description),
    "always the database": as_policy(always_the_database),
    "always the loudest": SCRIPTED["loudest-error"],
    "most complained of": as_policy(most_complained_of),
    "rarest warning": SCRIPTED["rarest-warning"],
    "universal sentence": as_policy(universal_sentence),
    "always unknown": SCRIPTED["unknown"],
    "unknown when unsure": as_policy(unknown_when_unsure),
    "two answers in one": as_policy(two_answers),
    "two answers at once": both_answers,
    "malformed: no call": _always(ChatReply(content="The root cause is the database. " * 20)),
    "malformed: broken JSON": _always(_calls(("search_logs", '{"min_level": "WARN"'))),
    "rambling until it is cut": _always(ChatReply(content="Let me think. " * 200, finish_reason="length")),
    "rambling inside a call": _always(CUT),
    "225 searches in a reply": _always(FLOODED),
}
