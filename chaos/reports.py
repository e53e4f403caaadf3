"""The reports that come with a scenario: the one that scores top, and plausible wrong ones with the reason
each is wrong.

A report's root cause is `<service>: <text of the line that proves it>`, as the shipped policy writes it.
"""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

from chaos.catalogue import CATALOGUE, HELD_OUT
from chaos.draft import Draft
from chaos.faults import Values
from chaos.simulate import Request, Row


def reports(draft: Draft, evidence: list[Row], traces: list[Request], rng: random.Random) -> dict[str, Any]:
    """`gold_report` and `distractors` of a scenario."""
    return {"distractors": _distractors(draft, rng)[:4], "gold_report": _gold(draft, evidence, traces)}


def _gold(draft: Draft, evidence: list[Row], traces: list[Request]) -> dict[str, Any]:
    plan, names = draft.run.plan, draft.run.world.names
    best, culprit = evidence[0], names[plan.culprit]
    failures = [row for row in draft.rows if row.kind == "symptom" and row.at_ms >= plan.onset_ms]
    timeline = [f"{draft.clock(best.at_ms)} {culprit}: {best.message}"]
    timeline += [f"{draft.clock(row.at_ms)} {names[row.service]}: {row.message}" for row in failures[:1]]
    return {
        "root_cause": f"{culprit}: {best.message}",
        "suspected_service": culprit,
        "fault_type": plan.fault.name,
        "primary_trace_ids": [draft.trace_ids[id(request)] for request in traces[:3]],
        "key_log_ids": [draft.row_ids[id(row)] for row in evidence],
        "timeline": timeline,
        "next_actions": [plan.fault.action.format(svc=culprit)],
        "confidence": 0.9,
    }


def _distractors(draft: Draft, rng: random.Random) -> list[dict[str, Any]]:
    plan = draft.run.plan
    symptoms = [row for row in draft.rows if row.kind == "symptom"]
    foreign = [row for row in symptoms if row.service != plan.culprit]
    noise = [
        row
        for row in draft.rows
        if row.kind in ("herring", "decoy") and row.service != plan.culprit and row.level != "INFO"
    ]
    own = [row for row in draft.rows if row.kind in ("herring", "symptom") and row.service == plan.culprit]
    found: list[dict[str, Any]] = []
    if foreign:
        found.append(
            _wrong(
                draft,
                rng.choice(foreign),
                "a symptom: this service only passes on what its callee does to it",
            )
        )
    if noise:
        found.append(_wrong(draft, rng.choice(noise), "unrelated: no failing request depends on this"))
    if own:
        found.append(_wrong(draft, rng.choice(own), "the right service, but this line is not why it fails"))
    else:
        found.append(_invented(draft, rng))
    loud = Counter(
        row.service for row in symptoms if row.level == "ERROR" and row.service != plan.culprit
    ).most_common(1)
    told = {report["report"]["suspected_service"] for report in found}
    if loud and draft.run.world.names[loud[0][0]] not in told:
        row = next(row for row in symptoms if row.service == loud[0][0] and row.level == "ERROR")
        found.append(
            _wrong(draft, row, "the loudest service is where the failures arrive, not where they begin")
        )
    if len(found) < 3:
        found.append(_invented(draft, rng))
    return found


def _wrong(draft: Draft, row: Row, reason: str) -> dict[str, Any]:
    service = draft.run.world.names[row.service]
    report: dict[str, Any] = {
        "root_cause": f"{service}: {row.message}",
        "suspected_service": service,
        "key_log_ids": [draft.row_ids[id(row)]],
    }
    if row.request is not None:
        report["primary_trace_ids"] = [draft.trace_ids[id(row.request)]]
    return {"report": report, "reason": reason}


def _invented(draft: Draft, rng: random.Random) -> dict[str, Any]:
    """The right service with a cause that nothing in the logs supports."""
    plan, names = draft.run.plan, draft.run.world.names
    family = [fault for name, fault in CATALOGUE.items() if name not in HELD_OUT and name != plan.fault.name]
    strike = rng.choice(rng.choice(family).strikes)
    cause = strike.cause.format_map(Values(rng, peer=names[plan.peer], clock=plan.values["clock"]))
    report = {"root_cause": f"In {names[plan.culprit]}, {cause}.", "suspected_service": names[plan.culprit]}
    return {"report": report, "reason": "the right service, but a cause that no line supports"}
