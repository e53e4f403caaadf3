"""Scenarios for tests: only what a test names, the rest filled in; and one incident written by hand.

`INCIDENT`: the ledger's volume fills up, its caller `orders` times out, users see the gateway fail.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from build_logs import build
from project_types import Provenance, Scenario

DAY = "2025-03-04"


def row(log_id: str, at: str = "14:00:00", message: str = "all is well", **fields: Any) -> dict[str, Any]:
    """A log line; `at` is a time of day, or a whole timestamp."""
    timestamp = at if "T" in at else f"{DAY}T{at}Z"
    return {
        "id": log_id,
        "timestamp": timestamp,
        "service": "orders",
        "level": "INFO",
        "message": message,
    } | fields


def span(span_id: str, parent: str | None = None, **fields: Any) -> dict[str, Any]:
    """A span of trace aaaa000011112222, 100 ms long."""
    given = {
        "trace_id": "aaaa000011112222",
        "span_id": span_id,
        "parent_span_id": parent,
        "service": "orders",
    }
    return (
        given
        | {"operation": "place", "start": f"{DAY}T14:00:00Z", "duration_ms": 100, "status": "ok"}
        | fields
    )


def scenario(scenario_id: str, logs: Sequence[dict[str, Any]], **fields: Any) -> dict[str, Any]:
    """A scenario whose culprit is the service of its first line."""
    service = logs[0]["service"]
    return {
        "id": scenario_id,
        "description": "orders are slow",
        "time_hint": "about 14:00",
        "services": sorted({line["service"] for line in logs}),
        "logs": list(logs),
        "expected_root_cause": "the secret cause",
        "ground_truth": {"service": service, "fault_type": "disk_full", "evidence_log_ids": [logs[0]["id"]]},
        "gold_report": {"root_cause": "the secret cause", "suspected_service": service},
    } | fields


def write(folder: Path, content: dict[str, Any], name: str | None = None) -> Path:
    """Write the scenario file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / (name or f"scenario-{content['id']}.json")
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def database(folder: Path, *scenarios: dict[str, Any]) -> Path:
    """A database of these scenarios."""
    for content in scenarios:
        write(folder / "files", content)
    build(folder / "files", folder / "logs.db")
    return folder / "logs.db"


# ------------------------------------------------------------------------------------ the incident by hand

GOLD, SYMPTOM, NOISE, TRACE = "a1b2c3d4e5f6", "b2c3d4e5f6a1", "c3d4e5f6a1b2", "00112233aabbccdd"
CAUSE = "ledger: no space left on device"


def _moment(id_: str, second: int, service: str, level: str, message: str, **more: str) -> dict[str, Any]:
    at = f"2026-03-01T14:05:{second:02}Z"
    return row(id_, at, message, service=service, level=level, **more)


INCIDENT = Scenario.model_validate(
    {
        "id": "0f3c",
        "description": "Orders fail for some users.",
        "time_hint": "14:05",
        "services": ["gateway", "orders", "ledger"],
        "logs": [
            _moment(NOISE, 1, "gateway", "ERROR", "healthcheck of cdn failed, retried"),
            _moment(GOLD, 2, "ledger", "WARN", "journal write: no space left on device", trace_id=TRACE),
            _moment(
                SYMPTOM, 5, "orders", "ERROR", "call to ledger failed: deadline exceeded", trace_id=TRACE
            ),
        ],
        "expected_root_cause": "The ledger's volume is full, so its journal cannot be written.",
        "ground_truth": {
            "service": "ledger",
            "fault_type": "disk_full",
            "evidence_log_ids": [GOLD],
            "evidence_trace_ids": [TRACE],
            "propagation_path": ["ledger", "orders", "gateway"],
        },
        "gold_report": {"root_cause": CAUSE, "suspected_service": "ledger", "key_log_ids": [GOLD]},
    }
)


def incident(scenario_id: str, *, unseen: bool = False) -> Scenario:
    """The incident under another id."""
    return INCIDENT.model_copy(
        update={"id": scenario_id, "provenance": Provenance(topology="shop", unseen=unseen)}
    )


def write_scenarios(folder: Path, *ids: str) -> Path:
    """A folder of scenario files that tell of the incident; every second one is of the unseen kind."""
    for number, scenario_id in enumerate(ids):
        content = incident(scenario_id, unseen=bool(number % 2)).model_dump_json()
        write(folder, json.loads(content))
    return folder
