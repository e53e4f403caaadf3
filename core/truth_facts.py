"""What only the truth can say of an episode: facts of its outcome, and what results are sliced by.

Not here: what the conversation itself decides, such as turns and what the tools have shown (`rollout`).
"""

from __future__ import annotations

from collections.abc import Set
from typing import Any

from core.evidence import supporting
from project_types import Ending, Report, Scalar, Scenario, Verdict


def truth_facts(
    scenario: Scenario,
    ending: Ending,
    verdict: Verdict | None,
    report: Report | None,
    seen_logs: Set[str],
    seen_traces: Set[str],
) -> dict[str, Any]:
    """Return the fields of an Outcome that the truth decides; `seen_*` are cited
    ids that a tool had shown.
    """
    truth = scenario.ground_truth
    right_unknown = truth.insufficient and ending is Ending.UNKNOWN
    named = report is not None and report.suspected_service.strip().casefold() == truth.service.casefold()
    gold = {*truth.evidence_line_ids, *truth.evidence_trace_ids}
    return {
        "correct": right_unknown or (verdict is not None and verdict.correct),
        "service_correct": verdict.service_correct if verdict else named,
        "gold_evidence": len(truth.evidence),
        "cited_gold": len((seen_logs | seen_traces) & gold),
        "cited_supporting": len(supporting(scenario, seen_logs, seen_traces)),
    }


def scenario_facts(scenario: Scenario) -> dict[str, Scalar]:
    """Return what results are sliced by, and what sets scenarios apart: twins,
    and those without an answer.
    """
    facts: dict[str, Scalar] = {
        "fault_type": scenario.ground_truth.fault_type,
        "family": scenario.fault_family,
    }
    return facts | {
        "unseen": scenario.provenance.unseen,
        "topology": scenario.provenance.topology or "unknown",
        "twin": scenario.provenance.twin or "",
        "answerable": not scenario.ground_truth.insufficient,
    }
