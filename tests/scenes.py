"""Small scenario files for tests of the database and the tools: only what a test names, the rest filled in."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from build_logs import build

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
