"""Scenario files of any number and size for measurements, quick to write and much alike: what differs is
numbers and ids.

They have the shape of real scenarios (services that share a vocabulary, levels, traces, spans) and no
incident worth finding; scenarios to train on come from `python -m chaos generate`.
"""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

SERVICES = ("gateway", "orders", "ledger", "auth", "catalogue", "shipping", "search", "mailer")
MESSAGES = (
    ("INFO", "request GET /cart/{} done in {} ms"),
    ("ERROR", "call to ledger failed: deadline {} ms exceeded"),
    ("INFO", "cache refresh of {} keys took {} ms"),
    ("WARN", "waited {} ms for a connection, {} busy"),
    ("INFO", "user {} not found in page {}"),
    ("DEBUG", "flush of segment {} finished after {} ms"),
    ("WARN", "retrying call to shipping, attempt {} of {}"),
    ("INFO", "released {} rows of batch {}"),
)
_START = datetime(2025, 3, 4, 13, 40, tzinfo=UTC)


def scenario(number: int, rows: int) -> dict[str, object]:
    """One scenario, the same for the same numbers."""
    rng = random.Random(number)
    traces = [f"{rng.getrandbits(64):016x}" for _ in range(max(1, rows // 12))]
    logs = []
    for place in range(rows):
        level, message = rng.choice(MESSAGES)
        moment = _START + timedelta(milliseconds=place * 3_000_000 // rows)
        logs.append(
            {
                "id": f"{rng.getrandbits(48):012x}",
                "timestamp": f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z",
                "service": rng.choice(SERVICES),
                "level": level,
                "message": message.format(rng.randrange(9000), rng.randrange(90)),
                "trace_id": rng.choice(traces) if rng.random() < 0.4 else None,
            }
        )
    spans = [
        {
            "trace_id": trace,
            "span_id": f"{rng.getrandbits(32):08x}",
            "service": rng.choice(SERVICES),
            "operation": "handle",
            "start": "2025-03-04T14:00:00Z",
            "duration_ms": rng.randrange(4000),
            "status": rng.choice(("ok", "ok", "error", "timeout")),
        }
        for trace in traces
    ]
    return {
        "id": f"s{number:06d}",
        "description": "something is slow",
        "time_hint": "about 14:00",
        "services": SERVICES,
        "logs": logs,
        "spans": spans,
        "expected_root_cause": "nothing",
        "ground_truth": {"service": "ledger", "fault_type": "none", "evidence_log_ids": [logs[0]["id"]]},
        "gold_report": {"root_cause": "nothing", "suspected_service": "ledger"},
    }


def write_scenarios(folder: Path, scenarios: int, rows: int) -> None:
    """Write that many files of that many rows each into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(scenarios):
        (folder / f"scenario-s{number:06d}.json").write_text(
            json.dumps(scenario(number, rows)), encoding="utf-8"
        )
