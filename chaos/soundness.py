"""Is one scenario sound by itself? Sizes, a ground truth that holds together, and reports that the judge
ranks as they should.

Whether a folder of scenarios is sound as a whole is `check`; whether the tools reach the evidence is `reach`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from project_types import FAULT_TYPES, Judge, Scenario

ROWS, SPANS, SERVICES, EVIDENCE, DISTRACTORS = (100, 900), (30, 230), (5, 50), (1, 24), (2, 4)


def sizes(scenario: Scenario) -> Iterator[str]:
    """What is too small or too large in a generated scenario."""
    counts = {
        "log rows": (len(scenario.logs), ROWS),
        "spans": (len(scenario.spans), SPANS),
        "services": (len(scenario.services), SERVICES),
        "pieces of evidence": (len(scenario.ground_truth.evidence), EVIDENCE),
        "distractors": (len(scenario.distractors), DISTRACTORS),
    }
    if scenario.ground_truth.insufficient:
        del counts["pieces of evidence"]
    for what, (count, (low, high)) in counts.items():
        if not low <= count <= high:
            yield f"has {count} {what}; wanted {low} to {high}"


def truth(scenario: Scenario) -> Iterator[str]:
    """Where the ground truth contradicts the data."""
    gold = scenario.ground_truth
    yield from _evidence(scenario)
    if scenario.provenance.generator and gold.fault_type not in FAULT_TYPES and not gold.insufficient:
        yield f"fault type {gold.fault_type!r} is unknown"
    if gold.propagation_path and gold.propagation_path[0] != gold.service:
        yield f"propagation path starts at {gold.propagation_path[0]}, not at the culprit"
    writers = {row.service for row in scenario.logs} | {span.service for span in scenario.spans}
    if stray := sorted({*gold.propagation_path, *writers} - set(scenario.services)):
        yield f"{stray[0]} writes or is named but is not in services"
    yield from _traces(scenario)
    if set(scenario.gold_report.key_log_ids) - set(gold.evidence_log_ids):
        yield "gold report cites rows that are no evidence"


def _evidence(scenario: Scenario) -> Iterator[str]:
    """Evidence that is no row, or none of the culprit's."""
    culprit = scenario.ground_truth.service
    rows = {row.id: row for row in scenario.logs}
    for row_id in scenario.ground_truth.evidence_log_ids:
        if row_id not in rows:
            yield f"evidence {row_id} is no log row"
        elif rows[row_id].service != culprit:
            yield f"evidence {row_id} was written by {rows[row_id].service}, not by the culprit {culprit}"


def _traces(scenario: Scenario) -> Iterator[str]:
    """Spans without their parent, and evidence without its spans."""
    spans = {(span.trace_id, span.span_id) for span in scenario.spans}
    below = (span for span in scenario.spans if span.parent_span_id)
    if orphan := next((span for span in below if (span.trace_id, span.parent_span_id) not in spans), None):
        yield f"span {orphan.span_id} has a parent that does not exist"
    traces = {trace for trace, _ in spans}
    if lost := [trace for trace in scenario.ground_truth.evidence_trace_ids if trace not in traces]:
        yield f"evidence trace {lost[0]} has no span"


async def judged(scenario: Scenario, judge: Judge) -> AsyncIterator[str]:
    """Reports that the judge ranks wrongly. Raises JudgeError when the judge gives no verdict."""
    verdict = await judge.verdict(scenario, scenario.gold_report)
    if not (verdict.correct or scenario.ground_truth.insufficient):  # "unknown" is scored without a judge
        yield f"the judge rejects the gold report: {verdict.reason}"
    for distractor in scenario.distractors:
        verdict = await judge.verdict(scenario, distractor.report)
        if verdict.correct:
            yield f"the judge accepts the distractor {distractor.report.root_cause!r}: {verdict.reason}"
