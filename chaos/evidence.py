"""What proves the cause of a scenario: rows of the culprit, traces that pass it,
and what only numbers show.
"""

from __future__ import annotations

from typing import Any

from chaos.draft import Draft
from chaos.rows import Row
from chaos.stage import Candidate
from chaos.topologies import Flow
from chaos.traffic import FlowRun
from project_types import UNKNOWN

MOST_SPANS = 4


def truth(draft: Draft, evidence: list[Row], flow: Flow) -> dict[str, Any]:
    """`ground_truth` without the path."""
    one = draft.guilty
    if one is None:
        return {"service": UNKNOWN, "fault_type": "none", "evidence_log_ids": [], "evidence_trace_ids": []}
    hurt = hurt_requests(draft)
    known: dict[str, Any] = {
        "service": draft.names[one.culprit],
        "fault_type": one.fault.name,
        "evidence_log_ids": [draft.row_ids[id(row)] for row in evidence],
        "evidence_trace_ids": [draft.trace_ids[run.number, index] for run, index in hurt],
        "evidence": beyond_rows(draft, one, hurt),
    }
    if one.quiet:
        name = draft.names[one.culprit]
        known["accepted_causes"] = [
            f"{name} became slow by itself", f"{name} takes longer for its own work",
            f"own time of {name} rose",
        ]  # fmt: skip
    return known


def hurt_requests(draft: Draft) -> list[tuple[FlowRun, int]]:
    """Kept requests that the guilty candidate hit, those through its service first."""
    found = [
        (run, index)
        for run in draft.traffic.runs
        for index in sorted(draft.sample.of(run))
        if run.hurt[index]
    ]
    culprit = draft.guilty.culprit if draft.guilty else ""
    return sorted(found, key=lambda item: culprit not in item[0].flow.services)


def beyond_rows(draft: Draft, one: Candidate, hurt: list[tuple[FlowRun, int]]) -> list[dict[str, str]]:
    """Spans of the sufferers in hurt requests, the metrics that the fault moves, and silence."""
    found = []
    for run, index in hurt:
        for op in run.ops.values():
            if op.node.service in (one.culprit, *one.hurts) and draft.recorded(op, index):
                found.append({"kind": "span", "id": draft.span_ids[run.number, index, op.node.index]})
    found = found[:MOST_SPANS]
    found += [{"kind": "metric", "id": f"{draft.names[one.culprit]}/{name}"} for name in one.fault.metrics]
    if one.strike.mechanism == "hang":
        found.append({"kind": "absence", "id": draft.names[one.culprit]})
    return found
