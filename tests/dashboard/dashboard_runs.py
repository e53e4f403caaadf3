"""Folders of runs for tests of the dashboard: real episodes of the hand-written incident, as a training run
stores them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from core.serving.guard import Door
from core.serving.listening import in_background
from dashboard.app import build_app
from dashboard.shelf import Shelf
from failure_analysis.capture import capture
from failure_analysis.logs.analyzer import NO_MODEL, LogAnalyzer
from failure_analysis.store import DATABASE, FailureStore
from failure_analysis.watching import Watcher
from project_types import Ending, Episode, Outcome, Report, Verdict
from rewards import reward
from tests.fakes.incident import GOLD, INCIDENT, NOISE, SYMPTOM, TRACE

RESULT = (
    "3 lines in 3 kinds match (level>=WARN)\n"
    "14:05:01 ERROR gateway healthcheck of cdn failed, retried log c3d4\n"
    "14:05:02 WARN ledger journal write: no space left on device trace 0011 log a1b2\n"
    "14:05:05 ERROR orders call to ledger failed: deadline exceeded trace 0011 log b2c3"
)
SCENARIOS = ("0f3c", "1a2b", "2c4d", "3e5f")


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
    *,
    right: bool = True,
    sample: int = 0,
    result: str = RESULT,
    said: str = "",
    cause: str = "ledger: no space left on device",
    service: str = "",
    ending: Ending = Ending.ANSWERED,
    **fields: Any,
) -> Episode:
    """Two turns: a search that shows every line, and an answer, right or blaming the caller."""
    blamed = service or ("ledger" if right else "orders")
    cited = (GOLD,) if right else (SYMPTOM,)
    answered = ending is Ending.ANSWERED
    report = Report(
        root_cause=cause, suspected_service=blamed, key_log_ids=(cited[0][:4],), primary_trace_ids=("0011",)
    )
    outcome = Outcome(
        ending=ending, correct=right and answered, service_correct=right, turns=2, tool_calls=1, gold_evidence=1,
        gold_evidence_opened=1, cited=2, cited_seen=2, cited_gold=1 + right, report_words=6, seconds=1.5,
    )  # fmt: skip
    score = reward(outcome)
    reason = "quotes decisive evidence" if right else f"service {blamed!r} is not the culprit"
    first = {**call(1, "search_logs", min_level="WARN"), "content": said}
    return Episode(
        scenario_id=scenario_id,
        sample=sample,
        messages=(
            {"role": "system", "content": "Find the root cause."},
            {
                "role": "user",
                "content": "Orders fail for some users.\nabout 14:05\nservices: gateway orders ledger",
            },
            first,
            {"role": "tool", "tool_call_id": "c1", "content": result},
            *([call(2, "return_final_answer", **report.model_dump(mode="json"))] if answered else []),
        ),
        report=report if answered else None,
        verdict=Verdict(
            correct=right, service_correct=right, cause_correct=right, reason=reason, judge="offline"
        )
        if answered
        else None,
        outcome=outcome,
        reward=score.total,
        reward_components=score.components,
        shown_log_ids=(GOLD, SYMPTOM, NOISE),
        shown_trace_ids=(TRACE,),
        cited_log_ids=cited if answered else (),
        cited_trace_ids=(TRACE,) if answered else (),
        metadata={"fault_type": "disk_full", "family": "resource", "topology": "shop", "unseen": False},
        **fields,
    )


def metrics_row(split: str, step: int, accuracy: float, **more: Any) -> dict[str, Any]:
    """A row of metrics.jsonl."""
    bounds = {
        "accuracy_low": round(max(0.0, accuracy - 0.1), 4),
        "accuracy_high": round(min(1.0, accuracy + 0.1), 4),
    }
    shares = {"grounded": accuracy, "opened": 0.5, "fabricated": 0.1, "reward": accuracy - 0.5}
    times = {
        "tokens_per_s": 800.0,
        "seconds": 12.0,
        "rollout_seconds": 8.0,
        "job_seconds": 3.0,
        "at": f"2026-03-01T14:{step:02}:00+00:00",
    }
    return {"split": split, "step": step, "checkpoint": step, "accuracy": accuracy, **bounds, **shares, **times,
            "rollouts": 64, "failed": 0, "failures": {}, "groups": 8, "flat_groups": 2, **more}  # fmt: skip


def training_run(root: Path, name: str = "seed1", *, finished: bool = True, steps: int = 3) -> Path:
    """A run of four test scenarios before and after: three are wrong at step 0, one of them is still wrong at
    the end.
    """
    run = root / name
    (run / "episodes").mkdir(parents=True)
    scenarios = root.parent / "scenarios" / "test"
    scenarios.mkdir(parents=True, exist_ok=True)
    for id in SCENARIOS:
        text = INCIDENT.model_copy(update={"id": id}).model_dump_json()
        (scenarios / f"scenario-{id}.json").write_text(text, encoding="utf-8")
    config = {
        "scenarios": str(scenarios.parent),
        "steps": steps,
        "base_model": "tiny-investigator",
        "seed": 1,
        "judge": "offline",
    }
    (run / "config.json").write_text(
        json.dumps({"name": name, "at": "2026-03-01T14:00:00+00:00", "config": config}), encoding="utf-8"
    )
    rows = [metrics_row("val", 0, 0.25), metrics_row("test", 0, 0.25)]
    rows += [metrics_row("train", step, 0.2 * step) for step in range(1, steps + 1)]
    rows += [metrics_row("val", steps, 0.75), metrics_row("test", steps, 0.75)]
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    for step, wrong in ((0, SCENARIOS[1:]), (steps, SCENARIOS[3:])):
        played = [
            episode(id, right=id not in wrong, split="test", policy=f"{name}@{step}") for id in SCENARIOS
        ]
        write_episodes(run / "episodes" / f"test-{step:04}-t0.jsonl", played)
    state = run / "art" / "project" / "models" / name / "state.json"
    state.parent.mkdir(parents=True)
    state.write_text(json.dumps({"run": {"finished": finished, "best_checkpoint": steps}}), encoding="utf-8")
    return run


def write_episodes(path: Path, episodes: Sequence[Episode]) -> Path:
    """Episodes as a JSONL file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(one.model_dump_json() + "\n" for one in episodes), encoding="utf-8")
    return path


def captured(root: Path) -> FailureStore:
    """Capture every run of a folder."""
    store = FailureStore(root / DATABASE)
    capture(root, store, LogAnalyzer(NO_MODEL))
    return store


@contextmanager
def dashboard(root: Path, door: Door | None = None, *, watching: bool = False) -> Iterator[str]:
    """The dashboard over a folder of runs, capturing what is new if `watching`; gives its address."""
    store = FailureStore(root / DATABASE)
    watcher = Watcher(root, store, LogAnalyzer(NO_MODEL), every_s=0.1)
    with in_background(build_app(Shelf(root, store, watcher if watching else None), door or Door())) as url:
        if not watching:
            yield url
        else:
            with watcher:
                yield url
