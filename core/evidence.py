"""Which cited ids support an answer: the gold evidence, and what the culprit did on the failing path.

An id that a tool happened to show proves nothing. A line supports an answer when it is gold, or when the
culprit wrote it in a request that failed. A trace does when it is gold, or when it failed and passed through
the culprit. Not here: whether the tools had shown it (`rollout`).
"""

from __future__ import annotations

from collections.abc import Set

from project_types import Scenario


def supporting(scenario: Scenario, log_ids: Set[str], trace_ids: Set[str]) -> set[str]:
    """Those of the given full ids that support the true answer.

    Where the truth names no line and no trace, as with a metric, every line of the culprit supports it.
    """
    truth = scenario.ground_truth
    gold = {*truth.evidence_line_ids, *truth.evidence_trace_ids}
    failed = _failed_traces(scenario)
    own = {
        row.id
        for row in scenario.logs
        if row.id in log_ids and row.service == truth.service and (not gold or row.trace_id in failed)
    }
    passed = {
        span.trace_id
        for span in scenario.spans
        if span.trace_id in trace_ids and span.service == truth.service
    }
    return (gold & {*log_ids, *trace_ids}) | own | (passed & failed)


def _failed_traces(scenario: Scenario) -> set[str]:
    """Traces of requests that failed, and those that are gold."""
    failed = {span.trace_id for span in scenario.spans if span.failed}
    return failed | set(scenario.ground_truth.evidence_trace_ids)
