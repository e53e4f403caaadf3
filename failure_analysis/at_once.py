"""Why it failed, at the moment it fails: what a run writes into its own rows, summary and report.

By rules, because nothing waits for a model there. `capture` explains the same failures again, with their logs
and with a model where one is named.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.episode_store.failures import Failure
from failure_analysis.logs.analyzer import LogAnalyzer

FIELDS = ("failure_category", "root_cause", "fix_suggestion", "severity")
MOST_REASONS = 20


def explained(failure: Failure) -> dict[str, str]:
    """The analysis of a failed rollout, training job or run."""
    kind = "rollout" if failure.scenario_id else "training_job"
    return analysis_of(kind, f"{failure.error}: {failure.message}")


def analysis_of(experiment_type: str, message: str) -> dict[str, str]:
    """Category, root cause, fix and severity of an error message, as plain texts."""
    found = LogAnalyzer.by_rules(experiment_type, message, "", "")
    return {name: str(found[name]) for name in FIELDS}


def analyses(reasons: Mapping[str, int]) -> list[dict[str, Any]]:
    """What failed rollouts came to, the most frequent reason first: `{reason,
    times, failure_category, ...}`.
    """
    frequent = sorted(reasons.items(), key=lambda reason: -reason[1])[:MOST_REASONS]
    return [
        {"reason": reason, "times": times, **analysis_of("rollout", reason)} for reason, times in frequent
    ]
