"""What a training run is going to do and what it costs at most, before it does anything.

`plan` counts and multiplies. It contacts nothing, and says "at most" where only the run itself will tell.
Not here: where settings come from (`training_runs.settings`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from chaos.shipped import size
from project_types import EpisodeConfig, TrainingConfig

OPENING_TOKENS = 400
"""What a brief system prompt, a description and the tool schemas count for in the estimate; a full prompt
counts three times.
"""


def plan(config: TrainingConfig, name: str) -> str:
    """Return the plan of a run in words and numbers."""
    counts = _counts(config)
    scenarios = ", ".join(f"{count} {split}" for split, count in counts.items())
    limit = f", at most {config.max_minutes:g} minutes of training" if config.max_minutes is not None else ""
    lines = [
        f"run        {name}, in {config.runs / name}",
        f"backend    {config.backend}: {_where(config)}",
        f"model      {config.base_model}, judged by {config.judge}",
        f"scenarios  {scenarios} ({config.scenarios})",
        f"steps      {config.steps} of {config.groups_per_step} x {config.rollouts_per_group} episodes{limit}",
        *_cluster(config),
        *_amounts(config, episodes(config)),
    ]
    if not counts["train"]:
        empty = f"{config.scenarios / 'train'} holds no scenario-*.json"
        lines.append(f"missing    {empty}; run: python -m chaos generate --help")
    return "\n".join(lines)


def _where(config: TrainingConfig) -> str:
    return {
        "serverless": config.service_url or "W&B's serverless service",
        "embedded": "a training service started here, on loopback",
        "local": "ART's LocalBackend, on your GPU",
    }[config.backend]


def _cluster(config: TrainingConfig) -> list[str]:
    """Say which cluster plays the rollouts, where one does."""
    where = config.address or "started on this machine"
    return [f"rollouts   by {config.workers} workers on Ray, {where}"] if config.executor == "ray" else []


def _counts(config: TrainingConfig) -> dict[str, int]:
    """Return how many scenarios of each split are used."""
    splits = ("train", "val", "test")
    return {split: _count(config.scenarios, split, getattr(config, f"{split}_limit")) for split in splits}


def episodes(config: TrainingConfig) -> dict[str, int]:
    """Return how many episodes are played for what, at most."""
    counts = _counts(config)
    validations = 1 + -(-config.steps // config.validate_every)
    return {
        "training": config.steps * config.groups_per_step * config.rollouts_per_group,
        "validation": validations * counts["val"] * (1 + config.val_samples),
        "tests before and after": 2 * counts["test"] * (1 + config.test_samples),
    }


def _amounts(config: TrainingConfig, played: Mapping[str, int]) -> list[str]:
    total = sum(played.values())
    calls, tokens = total * config.episode.max_turns, total * _episode_tokens(config.episode)
    return [
        "episodes   " + ", ".join(f"{count:,} {what}" for what, count in played.items()),
        f"at most    {calls:,} calls of the policy, {total:,} of the judge, {tokens:,} tokens of the policy",
        "cost       " + _cost(config, tokens),
    ]


def _count(scenarios: Path, split: str, limit: int | None) -> int:
    found = size(scenarios, split)
    return found if limit is None else min(found, limit)


def _episode_tokens(episode: EpisodeConfig) -> int:
    """Return the tokens of an episode that uses every turn, and every token of a reply and of a result."""
    opening = OPENING_TOKENS * (3 if episode.prompt == "full" else 1)
    turn = episode.max_completion_tokens + episode.tool_budget_tokens
    return sum(opening + turns * turn + episode.max_completion_tokens for turns in range(episode.max_turns))


def _cost(config: TrainingConfig, tokens: int) -> str:
    judge = "" if config.judge == "offline" else f"; the judge {config.judge} charges as its provider does"
    if config.backend in ("embedded", "local"):
        return f"nothing, it runs here{judge}"
    if config.usd_per_million_tokens is None:
        return f"unknown: give --usd-per-million-tokens what your plan charges{judge}"
    price = config.usd_per_million_tokens
    return f"at most {tokens * price / 1e6:,.2f} USD at {price:g} USD per million tokens{judge}"
