"""Episodes of the incident written by hand, for tests that need to know every number in them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from project_types import Ending, Episode, Outcome, Report, Verdict
from rewards import reward
from rollout import write_episode
from tests.builders.scenarios import CAUSE, GOLD, NOISE, SYMPTOM, TRACE

RESULT = (
    "3 lines in 3 kinds match (level>=WARN)\n"
    "14:05:01 ERROR gateway healthcheck of cdn failed, retried log c3d4\n"
    "14:05:02 WARN ledger journal write: no space left on device trace 0011 log a1b2\n"
    "14:05:05 ERROR orders call to ledger failed: deadline exceeded trace 0011 log b2c3"
)
"""What the search of `episode` shows."""


def call(number: int, name: str, **arguments: Any) -> dict[str, Any]:
    """An assistant message with one call."""
    function = {"name": name, "arguments": json.dumps(arguments)}
    return {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"id": f"c{number}", "type": "function", "function": function}],
    }


def episode(
    scenario_id: str = "0f3c",
    sample: int = 0,
    *,
    correct: bool = False,
    ending: Ending = Ending.ANSWERED,
    result: str = RESULT,
    said: str = "",
    cause: str = CAUSE,
    service: str = "",
    **fields: Any,
) -> Episode:
    """Two turns: a search that shows every line, and an answer that is right or blames the caller.

    `outcome` and `metadata` replace single facts; any other field of an Episode replaces the whole field.
    """
    blamed = service or ("ledger" if correct else "orders")
    cited = (GOLD,) if correct else (SYMPTOM,)
    answered = ending is Ending.ANSWERED
    report = Report(
        root_cause=cause, suspected_service=blamed, key_log_ids=(cited[0][:4],), primary_trace_ids=("0011",)
    )
    outcome = _outcome(correct and answered, ending, fields.pop("outcome", {}))
    score = reward(outcome)
    told = {
        "split": "test",
        "policy": "script:made",
        "messages": _messages(report if answered else None, result, said),
        "report": report if answered else None,
        "verdict": _verdict(correct, blamed) if answered else None,
        "reward": score.total,
        "reward_components": score.components,
        "shown_log_ids": (GOLD, SYMPTOM, NOISE),
        "shown_trace_ids": (TRACE,),
        "cited_log_ids": cited if answered else (),
        "cited_trace_ids": (TRACE,) if answered else (),
        "metadata": METADATA | fields.pop("metadata", {}),
    }
    return Episode(scenario_id=scenario_id, sample=sample, outcome=outcome, **{**told, **fields})


METADATA = {
    "fault_type": "disk_full",
    "family": "resource",
    "topology": "shop",
    "unseen": False,
    "scenario_digest": "d1",
}


def _outcome(correct: bool, ending: Ending, changes: dict[str, Any]) -> Outcome:
    facts = {
        "turns": 2,
        "tool_calls": 1,
        "gold_evidence": 1,
        "gold_evidence_opened": 1,
        "cited": 2,
        "cited_seen": 2,
        "cited_gold": 1 + correct,
        "report_words": 6,
        "seconds": 1.5,
    }
    return Outcome(ending=ending, correct=correct, service_correct=correct, **{**facts, **changes})


def _messages(report: Report | None, result: str, said: str) -> tuple[dict[str, Any], ...]:
    ask = "Orders fail for some users.\nabout 14:05\nservices: gateway orders ledger"
    search = {**call(1, "search_logs", min_level="WARN"), "content": said}
    answer = [call(2, "return_final_answer", **report.model_dump(mode="json"))] if report else []
    return (
        {"role": "system", "content": "Find the root cause."},
        {"role": "user", "content": ask},
        search,
        {"role": "tool", "tool_call_id": "c1", "content": result},
        *answer,
    )


def _verdict(correct: bool, blamed: str) -> Verdict:
    reason = "quotes decisive evidence" if correct else f"service {blamed!r} is not the culprit"
    return Verdict(
        correct=correct, service_correct=correct, cause_correct=correct, reason=reason, judge="offline"
    )


def write_episodes(path: Path, *episodes: Episode) -> Path:
    """Write episodes as a new JSONL file."""
    path.unlink(missing_ok=True)
    return add_episodes(path, episodes)


def add_episodes(path: Path, episodes: Iterable[Episode]) -> Path:
    """Append episodes to a JSONL file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        for one in episodes:
            write_episode(file, one)
    return path
