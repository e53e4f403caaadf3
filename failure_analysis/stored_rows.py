"""One experiment as rows of failures.db, read back; and the values that SQLite stores.

What is written and when is `store_writer`.
"""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime
from typing import Any

from failure_analysis.records import (
    Claim,
    EpisodeFacts,
    Experiment,
    ExperimentType,
    Failure,
    FailureAnalysis,
    InvestigationKind,
    RulesVerdict,
    Status,
)

Row = tuple[Any, ...]


def milliseconds(moment: datetime) -> int:
    """Milliseconds since 1970."""
    return round(moment.timestamp() * 1000)


def plain(value: Any) -> Any:
    """Return what SQLite stores: an enum member as its text, and no half of a surrogate pair."""
    if isinstance(value, str):
        return str(value).encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "\\0")
    return value


_PLACE = (
    "source", "split", "sampling", "step", "policy", "scenario_id", "sample", "fault_type", "topology",
    "unseen",
)  # fmt: skip
_CAME_TO = (
    "file", "offset", "length", "ending", "correct", "grounded", "reward", "turns", "seconds", "tokens",
    "cost_usd",
    "blamed", "question", "answer",
)  # fmt: skip


def experiment_row(one: Experiment) -> Row:
    """Return an experiment in the order of its table's columns."""
    place = [getattr(one, name) for name in _PLACE]
    return (one.id, one.type, one.name, one.run, one.status, milliseconds(one.at), *place)


def episode_row(id: str, facts: EpisodeFacts) -> Row:
    """Return what is known of an episode in the order of its table's columns."""
    return (id, *(getattr(facts, name) for name in _CAME_TO))


def failure_row(id: str, failure: Failure) -> Row:
    """Return a failure in the order of its table's columns."""
    why = failure.analysis
    found = (why.failure_category, why.severity, failure.kind, why.root_cause, why.fix_suggestion)
    how = (why.method, why.why_method, why.model, why.cost_usd)
    claims = json.dumps([claim.model_dump(mode="json") for claim in failure.claims])
    text = (claims, failure.error_message, failure.excerpt, failure.times)
    by_rules = (why.rules.failure_category, why.rules.severity) if why.rules else (None, None)
    return (id, failure.signature, *found, *how, *text, *by_rules)


def experiment_of(row: sqlite3.Row) -> Experiment:
    """Return a row of JOINED as an Experiment."""
    kept = {name: row[name] for name in ("id", "name", "run", *_PLACE)} | {"unseen": bool(row["unseen"])}
    return Experiment.model_construct(
        **kept,
        type=ExperimentType(row["type"]),
        status=Status(row["status"]),
        at=datetime.fromtimestamp(row["at_ms"] / 1000, UTC),
        episode=_facts(row) if row["file"] is not None else None,
        failure=_failure(row) if row["signature"] is not None else None,
    )


def _facts(row: sqlite3.Row) -> EpisodeFacts:
    flags: dict[str, Any] = {"correct": bool(row["correct"]), "grounded": bool(row["grounded"])}
    return EpisodeFacts.model_construct(**{name: row[name] for name in _CAME_TO} | flags)


def _rules_verdict(row: sqlite3.Row) -> RulesVerdict | None:
    if row["rules_category"] is None:
        return None
    return RulesVerdict(failure_category=row["rules_category"], severity=row["rules_severity"])


def _failure(row: sqlite3.Row) -> Failure:
    analysis = FailureAnalysis(
        failure_category=row["category"],
        severity=row["severity"],
        root_cause=row["root_cause"],
        fix_suggestion=row["fix"],
        method=row["method"],
        why_method=row["why_method"],
        model=row["model"],
        cost_usd=row["analysis_cost_usd"],
        rules=_rules_verdict(row),
    )
    return Failure.model_construct(
        signature=row["signature"],
        template=row["template"] or "",
        analysis=analysis,
        kind=InvestigationKind(row["kind"]) if row["kind"] else None,
        claims=tuple(Claim.model_validate(claim) for claim in json.loads(row["claims"])),
        error_message=row["error_message"],
        excerpt=row["excerpt"],
        times=row["times"],
    )
