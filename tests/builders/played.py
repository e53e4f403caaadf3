"""An incident and episodes of it, played for real: scripted replies, the real tools over a built database,
the off-line judge.

The ledger's volume is full; orders and the gateway suffer; the mailer is loud for its own reasons.
`Stage(folder)` writes the scenario, builds its logs and plays what a test scripts:
`stage.play(search(min_level="WARN"), answer("ledger", ...))`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from build_logs import build
from log_search_tools import log_tools
from make_judge_model import load_judge
from project_types import (
    EMBEDDED,
    Chat,
    ChatReply,
    Episode,
    EpisodeConfig,
    Judge,
    Message,
    Scenario,
    ToolCall,
)
from rollout import investigate
from tests.builders.runs import evaluation_run, write_run
from tests.builders.scenarios import row, write

GOLD, SYMPTOM, FRONT, LOUD = "a1b2c3d4e5f6", "b2c3d4e5f6a1", "c3d4e5f6a1b2", "d4e5f6a1b2c3"
TRACE = "00112233aabbccdd"
RIGHT = "ledger: journal write failed: no space left on device"
RULES = EMBEDDED.model_copy(update={"tool_budget_tokens": 400, "repairs": 0, "max_turns": 6})
NARROW = RULES.model_copy(update={"tool_budget_tokens": 60})


def line(id: str, at: str, service: str, level: str, message: str, **more: str) -> dict[str, Any]:
    """A log line of 4 March 2025."""
    return row(id, at, message, service=service, level=level, **more)


def scenario_json(
    scenario_id: str = "0f3c", fault_type: str = "disk_full", topology: str = "shop"
) -> dict[str, Any]:
    """The incident as a scenario file holds it."""
    return {
        "id": scenario_id,
        "description": "orders fail for some users",
        "time_hint": "14:05",
        "services": ["gateway", "orders", "ledger", "mailer"],
        "logs": [
            line(LOUD, "14:01:00", "mailer", "ERROR", "template store unreachable, letters are queued"),
            line("0a0a0a0a0a0a", "14:02:00", "gateway", "INFO", "answered GET /cart in 12 ms"),
            line(
                GOLD,
                "14:05:02",
                "ledger",
                "WARN",
                "journal write failed: no space left on device",
                trace_id=TRACE,
            ),
            line(SYMPTOM, "14:05:05", "orders", "ERROR", "call to ledger failed: status 500", trace_id=TRACE),
            line(FRONT, "14:05:06", "gateway", "ERROR", "POST /orders answered 502", trace_id=TRACE),
            line("0b0b0b0b0b0b", "14:06:00", "ledger", "INFO", "health check answered in 3 ms"),
        ],
        "spans": [],
        "expected_root_cause": "The ledger's volume is full, so its journal cannot be written.",
        "ground_truth": {
            "service": "ledger",
            "fault_type": fault_type,
            "evidence_log_ids": [GOLD],
            "evidence_trace_ids": [TRACE],
            "propagation_path": ["ledger", "orders", "gateway"],
        },
        "gold_report": {"root_cause": RIGHT, "suspected_service": "ledger", "key_log_ids": [GOLD]},
        "provenance": {"generator": "by hand", "topology": topology},
    }


def call(name: str, /, **arguments: Any) -> ChatReply:
    """A reply with one call."""
    return raw_call(name, json.dumps(arguments))


def raw_call(name: str, arguments: str) -> ChatReply:
    """A reply with one call whose arguments are this text."""
    return ChatReply(tool_calls=(ToolCall(id="call", name=name, arguments=arguments),))


def search(**arguments: Any) -> ChatReply:
    """A search."""
    return call("search_logs", **arguments)


def answer(service: str, root_cause: str, *log_ids: str, **more: Any) -> ChatReply:
    """A final answer that cites these lines."""
    return call(
        "return_final_answer",
        suspected_service=service,
        root_cause=root_cause,
        key_log_ids=list(log_ids),
        **more,
    )


def scripted(*replies: ChatReply | Exception) -> Chat:
    """A policy that says these things in turn; an exception is raised in its turn, and the last reply is
    repeated.
    """
    said = list(replies)

    async def chat(messages: Sequence[Message], tools: Sequence[Mapping[str, Any]]) -> ChatReply:
        reply = said.pop(0) if len(said) > 1 else said[0]
        if isinstance(reply, Exception):
            raise reply
        return reply

    return chat


class Stage:
    """A split folder with one scenario, its logs.db, and episodes of it."""

    def __init__(self, folder: Path, scenario_id: str = "0f3c", **fields: Any) -> None:
        self.split = folder / "scenarios" / "test"
        content = scenario_json(scenario_id, **fields)
        self.scenario = Scenario.model_validate(content)
        write(self.split, content)
        self.database = folder / f"logs-{scenario_id}.db"
        build(self.split, self.database)

    def play(
        self,
        *replies: ChatReply | Exception,
        config: EpisodeConfig = RULES,
        judge: Judge | None = None,
        sample: int = 0,
    ) -> Episode:
        """One judged episode."""
        tools = log_tools(self.database, self.scenario.id, config)
        named: dict[str, Any] = {"policy": "scripted", "split": "test", "sample": sample}
        judge = judge or load_judge("offline")
        return asyncio.run(
            investigate(scripted(*replies), self.scenario, tools, judge=judge, config=config, **named)
        )

    def right(self, sample: int = 0) -> Episode:
        """A grounded answer."""
        return self.play(search(service="ledger"), answer("ledger", RIGHT, GOLD), sample=sample)

    def wrong(self, sample: int = 0) -> Episode:
        """An answer that blames a victim although the decisive line was shown."""
        return self.play(
            search(min_level="WARN"),
            answer("orders", "orders: call to ledger failed", SYMPTOM),
            sample=sample,
        )


def evaluation(folder: Path, stage: Stage, episodes: Sequence[Episode]) -> Path:
    """The folder of an evaluation run that holds these episodes."""
    rules = RULES.model_dump(mode="json")
    return evaluation_run(
        folder, episodes, policy="script:scripted", scenarios=str(stage.split), config=rules
    )


def training(
    folder: Path, stage: Stage, rows: Sequence[Mapping[str, Any]] = (), *, finished: bool = True
) -> Path:
    """The folder of a training run with these metrics rows."""
    config = {
        "scenarios": str(stage.split.parent),
        "base_model": "tiny",
        "episode": RULES.model_dump(mode="json"),
    }
    return write_run(folder, config, rows=rows, state={"finished": finished})
