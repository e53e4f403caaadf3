"""The reports that come with a scenario: the one that scores top, and plausible wrong ones with the reason
each is wrong.

A report's root cause is `<service>: <text of the row that proves it>`, or the canonical sentence where no row
tells the cause.
"""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

from chaos.draft import Draft
from chaos.rows import Row
from chaos.stage import Candidate
from project_types import UNKNOWN

MOST_QUOTED = 500
"""Characters of a quoted row; the rest of a long one is its stack trace."""


def cause_sentence(draft: Draft, one: Candidate) -> str:
    """The canonical sentence that names a candidate as the cause."""
    return f"In {draft.names[one.culprit]}, {one.strike.cause.format_map(one.values)}."


def evidence_rows(draft: Draft) -> list[Row]:
    """The rows that the guilty candidate wrote."""
    if draft.guilty is None:
        return []
    number = draft.stage.candidates.index(draft.guilty)
    return [row for row in draft.rows if row.candidate == number]


def gold(draft: Draft, evidence: list[Row], traces: list[str]) -> dict[str, Any]:
    """The report that scores top."""
    one = draft.guilty
    if one is None:
        return {
            "root_cause": UNKNOWN,
            "suspected_service": UNKNOWN,
            "next_actions": ["watch the error rate and ask the users again"],
            "confidence": 0.8,
        }
    culprit = draft.names[one.culprit]
    failures = [row for row in draft.rows if row.kind == "symptom" and row.at_ms >= one.start_ms]
    best = evidence[0] if evidence else None
    told = quoted(draft, best) if best else cause_sentence(draft, one)
    timeline = [
        f"{draft.clock(row.at_ms)} {draft.names[row.service]}: {draft.text(row)}"
        for row in [*evidence[:1], *failures[:1]]
    ]
    return {
        "root_cause": told,
        "suspected_service": culprit,
        "fault_type": one.fault.name,
        "primary_trace_ids": traces[:3],
        "key_log_ids": [draft.row_ids[id(row)] for row in evidence],
        "timeline": timeline,
        "next_actions": [one.fault.action.format(svc=culprit)],
        "confidence": 0.9,
    }


def distractors(draft: Draft, rng: random.Random) -> list[dict[str, Any]]:
    """Up to four wrong reports."""
    guilty = draft.guilty
    culprit = guilty.culprit if guilty else ""
    found = _innocent(draft, culprit, rng)
    symptoms = [row for row in draft.rows if row.kind == "symptom" and row.service != culprit]
    if symptoms:
        found.append(
            _wrong(draft, rng.choice(symptoms), "a symptom: it only passes on what its callee does to it")
        )
    own = [
        row for row in draft.rows if row.kind in ("herring", "symptom", "chronic") and row.service == culprit
    ]
    if own:
        found.append(_wrong(draft, rng.choice(own), "the right service, but this row is not why it fails"))
    loud = Counter(row.service for row in symptoms if row.level == "ERROR").most_common(1)
    if loud and len(found) < 4:
        row = next(row for row in symptoms if row.service == loud[0][0] and row.level == "ERROR")
        found.append(
            _wrong(draft, row, "the loudest service is where the failures arrive, not where they begin")
        )
    return found[:4]


def _innocent(draft: Draft, culprit: str, rng: random.Random) -> list[dict[str, Any]]:
    """Up to two wrong reports, each of which blames another innocent candidate."""
    found: dict[int, dict[str, Any]] = {}
    rows = [row for row in draft.rows if row.kind == "candidate" and row.service != culprit]
    rng.shuffle(rows)
    for row in rows:
        number = row.candidate
        if number is not None and number not in found and len(found) < 2:
            found[number] = _wrong(draft, row, why_innocent(draft, draft.stage.candidates[number]))
    return list(found.values())


def why_innocent(draft: Draft, one: Candidate) -> str:
    """Why a candidate is not the cause."""
    guilty = draft.guilty
    if guilty is None:
        return "harmless: no request of a user failed because of it"
    if one.start_ms > guilty.start_ms:
        return "it began after the first symptom"
    if one.calm_ms < guilty.start_ms:
        return "it was over before the first symptom"
    known = {
        "replica": "one instance of several: the next attempt went to another one and succeeded",
        "jobs": "only background runs touched it, no request of a user did",
        "drill": "only the prober's requests met it",
        "elsewhere": "other requests failed because of it, not those that users complain about",
    }
    return known[one.manner]


def quoted(draft: Draft, row: Row) -> str:
    """A root cause that quotes a row as its service wrote it."""
    return f"{draft.names[row.service]}: {draft.message(row)}"[:MOST_QUOTED]


def _wrong(draft: Draft, row: Row, reason: str) -> dict[str, Any]:
    service = draft.names[row.service]
    report: dict[str, Any] = {
        "root_cause": quoted(draft, row),
        "suspected_service": service,
        "key_log_ids": [draft.row_ids[id(row)]],
    }
    trace = draft.trace_of(row)
    if trace:
        report["primary_trace_ids"] = [trace]
    return {"report": report, "reason": reason}
