"""A row of metrics.jsonl: what one batch of rollouts came to."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from core.intervals import Interval
from evaluation.summary import summarise
from failure_analysis.at_once import analyses
from project_types import Episode
from training_runs.monitors import monitored

MEANS = ("reward", "grounded", "service", "opened", "fabricated", "turns", "tool_calls")


def measured(
    episodes: Sequence[Episode], seed: int, failures: Mapping[str, int], seconds: float
) -> dict[str, Any]:
    """Return what a row says of a batch of rollouts that took `seconds`. None where nothing was measured."""
    whole = summarise(episodes, seed=seed).whole
    accuracy = whole.measures["accuracy"]
    rewards = [episode.reward for episode in episodes if episode.reward is not None]
    prompt = sum(episode.outcome.prompt_tokens for episode in episodes)
    completion = sum(episode.outcome.completion_tokens for episode in episodes)
    return {
        "rollouts": len(episodes),
        "failed": sum(failures.values()),
        "failures": dict(failures),
        "failure_analysis": analyses(failures),
        "accuracy": _value(accuracy),
        "accuracy_low": None if accuracy.n == 0 else round(accuracy.low, 4),
        "accuracy_high": None if accuracy.n == 0 else round(accuracy.high, 4),
        **{name: _value(whole.measures[name]) for name in MEANS},
        **monitored(episodes),
        "reward_spread": round(statistics.pstdev(rewards), 4) if rewards else None,
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "tokens_per_s": round((prompt + completion) / seconds, 1) if seconds else 0.0,
        "judge_cost_usd": sum(episode.verdict.cost_usd for episode in episodes if episode.verdict),
        "endings": dict(whole.endings),
        "rollout_seconds": round(seconds, 3),
        "seconds": round(seconds, 3),
    }


def words(row: Mapping[str, Any]) -> str:
    """Return a row in a few words."""
    if row["accuracy"] is None:
        return "no episode"
    return f"reward {row['reward']:+.3f}, right {row['accuracy']:.0%}, {row['tokens_per_s']:,.0f} tokens/s"


def _value(interval: Interval) -> float | None:
    return None if interval.n == 0 else round(interval.value, 4)
