"""Alarms about a reward that is earned without investigating, from the rows of a training run.

The columns are those of `training_runs.monitors`. Each alarm compares the last steps with the first ones, or
with what is tolerable at all, so that one odd step says nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from core.episode_store.run_folder import number

RECENT = 5
"""Steps whose mean is looked at."""
MOST_JUDGE_ONLY = 0.15
"""Share of answers that only the judge holds for right."""
MOST_BY_LENGTH = 0.5
"""Correlation of reward and length."""
MOST_INVENTED, MOST_MISSING = 0.02, 0.10
RISEN = 2.0
"""Times as much as at the start, before a share that was there from the beginning is alarming."""
MOST_FLAT = 0.5
"""Share of groups that are flat for one reason from which nothing can be learnt."""
MOST_FLIPS = 0.10
Rows = Sequence[Mapping[str, Any]]


def alarms(rows: Rows) -> dict[str, str]:
    """Return what is alarming by name, a sentence each, of the training steps among the rows."""
    train = [row for row in rows if row.get("split", "train") == "train"]
    found = {
        "judge_only": _judge(train),
        "reward_by_words": _length(train),
        "invented_services": _risen(
            train, "invented_services", MOST_INVENTED, "of the answers blame a service that does not exist"
        ),
        "missing_service_searches": _risen(
            train,
            "missing_service_searches",
            MOST_MISSING,
            "of the searches name a service that does not exist",
        ),
        "flat_causes": _flat(train),
        "verdict_flips": _flips(train),
    }
    return {name: text for name, text in found.items() if text}


def mean(rows: Rows, name: str) -> float | None:
    """Return the mean of a column over rows that have it; None without any, or with fewer than RECENT."""
    values = [value for row in rows if (value := number(row.get(name))) is not None]
    return fmean(values) if len(values) >= RECENT else None


def _judge(train: Rows) -> str:
    share = mean(train[-RECENT:], "judge_only")
    if share is None or share <= MOST_JUDGE_ONLY:
        return ""
    return (
        f"{share:.0%} of the answers are right for the judge alone: they name another service or cite nothing "
        "that supports them; read some of them, and calibrate the judge"
    )


def _length(train: Rows) -> str:
    for name, what in (("reward_by_words", "words of the report"), ("reward_by_tokens", "tokens")):
        value = mean(train[-RECENT:], name)
        if value is not None and value > MOST_BY_LENGTH:
            return f"the reward goes along with the {what} (correlation {value:.2f}); is length paid for?"
    return ""


def _risen(train: Rows, name: str, most: float, what: str) -> str:
    now, before = mean(train[-RECENT:], name), mean(train[:RECENT], name)
    if now is None or before is None or now <= most:
        return ""
    early = len(train) < 2 * RECENT  # the last steps are still the first ones
    return f"{now:.1%} {what}, after {before:.1%} at the start" if early or now > RISEN * before else ""


def _flat(train: Rows) -> str:
    recent = [
        row for row in train[-RECENT:] if row.get("groups") and isinstance(row.get("flat_causes"), Mapping)
    ]
    if len(recent) < RECENT:
        return ""
    groups = sum(number(row["groups"]) or 0.0 for row in recent)
    for kind in ("broken", "unfinished", "unknown", "wrong"):
        share = sum(number(row["flat_causes"].get(kind)) or 0.0 for row in recent) / max(1.0, groups)
        if share > MOST_FLAT:
            return f"{share:.0%} of the groups are flat because all of their answers are {kind}; nothing is learnt"
    return ""


def _flips(train: Rows) -> str:
    share = mean(train[-RECENT:], "verdict_flips")
    if share is None or share <= MOST_FLIPS:
        return ""
    return f"{share:.0%} of the verdicts change when the report says the same in another order; calibrate the judge"
