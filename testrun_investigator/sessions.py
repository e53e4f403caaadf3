"""Investigations as episodes: what a policy of ours did, and what an assistant did over MCP.

A session of an assistant becomes the same kind of episode: its calls, what the tools showed, and the finding
it saved as its report. So evaluation, the dashboard and failure_analysis read both.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from core.episode_store.evaluation_store import EvaluationStore
from core.episode_store.run_folder import RUN
from core.files import replace_file
from project_types import Ending, Episode, Message, Outcome, Report

MCP_POLICY = "mcp:client"
SESSIONS = "sessions"
"""The folder of sessions in the cache folder."""
_MOST_TEXT = 20_000
_MOST_CALLS = 400
_IDLE_S = 3600.0


def store_episode(folder: Path, episode: Episode) -> None:
    """Append an episode to a folder that evaluation and the dashboard read."""
    with EvaluationStore(folder) as store:
        store.add(episode.model_dump_json())
    if not (folder / RUN).is_file():
        about = {"policy": episode.policy, "split": "test-runs", "source": "testrun_investigator"}
        replace_file(folder / RUN, json.dumps(about, indent=1).encode())


def numbered(folder: Path, run_id: str) -> int:
    """Return which sample of this run comes next: earlier episodes of it stay."""
    path = folder / "episodes.jsonl"
    if not path.is_file():
        return 0
    marker = f'"scenario_id":"{run_id}"'
    with path.open(encoding="utf-8") as lines:
        return sum(marker in line[:400] for line in lines)


class McpSessions:
    """What assistants do over MCP, by client and run. Safe to use from several threads.

    A session ends with a finding, after an idle time, or with the server.
    """

    def __init__(self, folder: Path, opening: str, idle_s: float = _IDLE_S) -> None:
        self._folder, self._opening, self._idle_s = folder, opening, idle_s
        self._open: dict[tuple[str, str], _Session] = {}
        self._latest: dict[str, str] = {}
        """The run that each client looked at last: some calls name none."""
        self._lock = threading.Lock()

    def called(
        self, name: str, arguments: Mapping[str, Any], shown: str, failed: bool, client: str = ""
    ) -> None:
        """Note a call and what it showed. `client` tells several apart that ask one server."""
        with self._lock:
            self._store_idle()
            run_id = str(arguments.get("run_id") or arguments.get("test_id") or self._latest.get(client, ""))
            if not run_id:
                return
            self._latest[client] = run_id
            session = self._open.setdefault((client, run_id), _Session(run_id, self._opening))
            session.add(name, arguments, shown, failed)
            if name == "save_finding" and not failed:
                self._store(self._open.pop((client, run_id)), _report(arguments))

    def close(self) -> None:
        """Store the sessions that ended without a finding."""
        with self._lock:
            self._store_idle(0.0)

    def _store_idle(self, idle_s: float | None = None) -> None:
        before = time.monotonic() - (self._idle_s if idle_s is None else idle_s)
        for key in [key for key, session in self._open.items() if session.latest <= before]:
            self._store(self._open.pop(key), None)
            self._latest.pop(key[0], None)

    def _store(self, session: _Session, report: Report | None) -> None:
        sample = numbered(self._folder, session.run_id)
        store_episode(self._folder, session.episode(report, sample))


class _Session:
    """The calls about one run so far."""

    def __init__(self, run_id: str, opening: str) -> None:
        self.run_id = run_id
        self._began = self.latest = time.monotonic()
        self._messages: list[Message] = [
            {"role": "system", "content": opening},
            {"role": "user", "content": f"run {run_id}"},
        ]
        self._calls = self._failed = self._repeated = 0
        self._made: set[str] = set()

    def add(self, name: str, arguments: Mapping[str, Any], shown: str, failed: bool) -> None:
        self.latest = time.monotonic()
        if self._calls >= _MOST_CALLS:
            return
        text = json.dumps(arguments, sort_keys=True, default=str)
        self._repeated += f"{name} {text}" in self._made
        self._made.add(f"{name} {text}")
        call = {
            "id": f"call-{self._calls}",
            "type": "function",
            "function": {"name": name, "arguments": text},
        }
        self._messages += [
            {"role": "assistant", "content": "", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": call["id"], "content": shown[:_MOST_TEXT]},
        ]
        self._calls += 1
        self._failed += failed

    def episode(self, report: Report | None, sample: int) -> Episode:
        ending = Ending.OUT_OF_TURNS
        if report is not None:
            ending = Ending.UNKNOWN if report.suspected_service.lower() == "unknown" else Ending.ANSWERED
        ids = report.key_log_ids if report else ()
        outcome = Outcome(
            ending=ending,
            turns=self._calls,
            tool_calls=self._calls - self._failed,
            malformed_calls=self._failed,
            repeated_calls=self._repeated,
            cited=len(ids),
            cited_seen=sum(_was_shown(self._messages, one) for one in ids),
            seconds=round(time.monotonic() - self._began, 3),
        )
        return Episode(
            scenario_id=self.run_id,
            split="test-runs",
            policy=MCP_POLICY,
            sample=sample,
            messages=tuple(self._messages),
            report=report,
            outcome=outcome,
            cited_log_ids=ids,
            metadata={"at": datetime.now(UTC).isoformat(timespec="seconds")},
        )


def _was_shown(messages: Sequence[Message], log_id: str) -> bool:
    return any(message["role"] == "tool" and log_id in message["content"] for message in messages)


def _report(arguments: Mapping[str, Any]) -> Report:
    return Report(
        root_cause=str(arguments["cause"])[:2000],
        suspected_service=str(arguments["service"])[:200],
        fault_type=arguments.get("fault_type") or None,
        key_log_ids=tuple(str(one) for one in arguments.get("log_ids") or ())[:50],
        next_actions=tuple(str(one) for one in arguments.get("next_actions") or ())[:50],
        confidence=arguments.get("confidence"),
    )
