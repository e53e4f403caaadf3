"""Episodes that every adapter must score alike: a scenario for each, told apart
by its report, and replies.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from build_logs import build
from project_types import Outcome
from tests.builders.played import GOLD, LOUD, RIGHT, SYMPTOM, scenario_json
from tests.builders.scenarios import write
from tests.fakes.openai_server import Reply, answer, by_turn, call, calls, say

LOOK = call("search_logs", min_level="WARN")
SOLVED = [LOOK, answer("ledger", RIGHT, key_log_ids=[GOLD])]
CASES: dict[str, list[Reply]] = {
    "a01": SOLVED,
    "a02": [LOOK, LOOK, answer("ledger", RIGHT, key_log_ids=[GOLD, SYMPTOM, "ffffffffffff"])],
    "a03": [answer("ledger", RIGHT)],
    "a04": [LOOK, answer("mailer", "the template store is unreachable", key_log_ids=[LOUD])],
    "a05": [LOOK, answer("unknown", "unknown")],
    "a06": [call("read_trace", trace_id="0011"), LOOK, LOOK, LOOK, LOOK, LOOK, LOOK, LOOK, LOOK],
}
"""Solved; solved with a repetition and ids that do not belong; unsupported; wrong; unknown; out of turns."""
MISTAKES: dict[str, list[Reply]] = {
    "b01": [call("search_logs", colour="red"), *SOLVED],
    "b02": [calls(("search_logs", "{not json")), *SOLVED],
    "b03": [say("It is the ledger."), *SOLVED],
    "b04": [say("It is the ledger."), say("I am sure.")],
    "b05": [call("restart", service="ledger"), call("restart", service="ledger")],
    "b06": [
        calls(("search_logs", '{"min_level": "WARN"}'), ("read_trace", '{"trace_id": "0011"}')),
        *SOLVED[1:],
    ],
}
"""Mistakes that are answered once, and end the episode the second time; and two calls in one reply."""
ALL = CASES | MISTAKES


def build_cases(folder: Path, *ids: str) -> tuple[Path, Path]:
    """Write the scenarios and their logs.db; return the folder of scenarios and the database."""
    split = folder / "scenarios" / "test"
    for one in ids or ALL:
        content = scenario_json(one)
        write(split, content | {"description": f"orders fail for some users (case {one})"})
    build(split, folder / "logs.db")
    return split, folder / "logs.db"


def by_case(body: dict[str, Any]) -> Reply:
    """A script for the scripted server: which case a conversation is, and its turn."""
    said = next(message["content"] for message in body["messages"] if message["role"] == "user")
    text = said if isinstance(said, str) else said[0]["text"]
    case = re.search(r"case (\w+)", text)
    assert case is not None
    script: Callable[[dict[str, Any]], Reply] = by_turn(ALL[case[1]])
    return script(body)


def facts(outcome: Outcome | dict[str, Any]) -> dict[str, Any]:
    """What must be the same everywhere: all but the time it took and the tokens a server counts."""
    known = Outcome.model_validate(outcome)
    return known.model_dump(mode="json", exclude={"seconds", "prompt_tokens", "completion_tokens"})
