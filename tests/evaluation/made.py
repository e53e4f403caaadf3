"""Episodes and scenario folders made by hand, for tests that need to know every number in them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from evaluation.__main__ import main
from project_types import Ending, Episode, Outcome, Provenance, Report, Scenario, Verdict
from tests.fakes.incident import GOLD, INCIDENT


def episode(
    scenario_id: str = "s1",
    sample: int = 0,
    *,
    correct: bool = False,
    ending: Ending = Ending.ANSWERED,
    **fields: Any,
) -> Episode:
    """An episode with a verdict; an answered one has a report."""
    answered = ending is Ending.ANSWERED
    facts: dict[str, Any] = {"turns": 3, "gold_evidence": 2, **fields.pop("outcome", {})}
    metadata = {
        "fault_type": "disk_full",
        "family": "resource",
        "topology": "shop",
        "unseen": False,
        "scenario_digest": "d1",
    }
    says = Verdict(
        correct=correct,
        service_correct=correct,
        cause_correct=correct,
        reason="decided by the test",
        judge="test",
    )
    defaults: dict[str, Any] = {
        "split": "test",
        "policy": "script:made",
        "messages": (
            {"role": "user", "content": "Orders fail."},
            {"role": "assistant", "content": "looking"},
        ),
        "report": Report(root_cause="the disk is full", suspected_service="ledger", key_log_ids=(GOLD,))
        if answered
        else None,
        "verdict": says if answered else None,
        "reward": 1.2 if correct else -0.9,
        "reward_components": {"band": 1.2 if correct else -0.9},
    }
    return Episode(
        scenario_id=scenario_id,
        sample=sample,
        outcome=Outcome(
            ending=ending, correct=correct, service_correct=correct, cited_seen=int(correct), **facts
        ),
        metadata=metadata | fields.pop("metadata", {}),
        **{**defaults, **fields},
    )


def write_episodes(path: Path, *episodes: Episode) -> Path:
    """Episodes as a JSONL file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(one.model_dump_json() + "\n" for one in episodes), encoding="utf-8")
    return path


def scenario(scenario_id: str, *, unseen: bool = False) -> Scenario:
    """The hand-written incident under another id."""
    return INCIDENT.model_copy(
        update={"id": scenario_id, "provenance": Provenance(topology="shop", unseen=unseen)}
    )


def write_scenarios(folder: Path, *ids: str) -> Path:
    """A folder of scenario files; every second one is of the unseen kind."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, scenario_id in enumerate(ids):
        text = scenario(scenario_id, unseen=bool(number % 2)).model_dump_json()
        (folder / f"scenario-{scenario_id}.json").write_text(text, encoding="utf-8")
    return folder


def run(*arguments: object) -> int:
    """`python -m evaluation` with these arguments, in this process."""
    return main([str(argument) for argument in arguments])


def eventually(happened: Callable[[], bool], timeout_s: float = 60.0) -> None:
    """Wait until something outside this process has happened. Raises TimeoutError."""
    tick, ends = threading.Event(), time.monotonic() + timeout_s
    while not happened():
        if time.monotonic() > ends:
            raise TimeoutError("it never happened")
        tick.wait(0.01)
