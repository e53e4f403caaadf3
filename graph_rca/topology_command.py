"""The command behind `python -m graph_rca topology`: calls as a table or JSON."""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime
from pathlib import Path

from core.command_line import printable, refuse
from graph_rca.topology import Call, ServiceGraph, TopologyError, from_prometheus, from_sockets, from_spans
from project_types import read_incident


def command(arguments: argparse.Namespace) -> int:
    """Print. Returns 0."""
    if arguments.at and not arguments.prometheus:
        refuse(arguments.prog, "--at: goes with --prometheus; files hold their own times")
    graph = _read(arguments)
    if arguments.json:
        print(
            json.dumps(
                {"services": list(graph.services), "calls": [_as_json(one) for one in graph.calls]}, indent=1
            )
        )
        return 0
    print(f"{len(graph.services)} services, {len(graph.calls)} calls")
    for call in sorted(graph.calls, key=lambda one: -one.weight):
        print(printable(f"{call.caller} -> {call.callee}  {_told(call)}"))
    return 0


def _read(arguments: argparse.Namespace) -> ServiceGraph:
    if arguments.sockets:
        return from_sockets(arguments.sockets)
    if arguments.prometheus:
        return from_prometheus(arguments.prometheus, moment(arguments.at))
    incident = read_incident(Path(arguments.incident))
    return from_spans(incident.spans, [(edge.caller, edge.callee) for edge in incident.topology])


def moment(text: str | None) -> datetime:
    """Return a moment; now without one. Raises TopologyError for a time without a zone."""
    if text is None:
        return datetime.now(UTC)
    try:
        at = datetime.fromisoformat(text)
    except ValueError as trouble:
        raise TopologyError(f"--at {text!r}: give a time such as 2026-03-04T14:05:00Z") from trouble
    if at.tzinfo is None:
        raise TopologyError(f"--at {text}: has no zone; add Z for UTC")
    return at.astimezone(UTC)


def _as_json(call: Call) -> dict[str, object]:
    return {**call._asdict(), "weight": round(call.weight, 4)}


def _told(call: Call) -> str:
    told = [f"weight {call.weight:.2f}"]
    told += [f"{call.per_s:.3g}/s"] if call.per_s is not None else []
    told += [f"{100 * call.error_share:.1f} % fail"] if call.error_share is not None else []
    told += [f"{call.latency_ms:.3g} ms"] if call.latency_ms is not None else []
    told += [f"{call.retransmits} retransmits"] if call.retransmits else []
    return ", ".join(told)
