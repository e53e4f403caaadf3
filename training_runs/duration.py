"""How long an embedded run takes at most, from a measured second of the model on this machine.

The training service says how many tokens a second it reads, writes and trains (`training_service measure`),
in a process of its own. Tokens are counted as the engine computes them: what is kept of a conversation is not
read again. Episodes end earlier than they may, so this is an upper bound. Not here: the counts
(`training_runs.plan`).
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping

from core.policies.registry import named_base_model
from project_types import EpisodeConfig, TrainingConfig
from training_runs.plan import OPENING_TOKENS, episodes


def longest_tokens(episode: EpisodeConfig) -> int:
    """Return the tokens of an episode that uses every turn, reply and result whole, each counted once."""
    opening = OPENING_TOKENS * (3 if episode.prompt == "full" else 1)
    return opening + episode.max_turns * (episode.max_completion_tokens + episode.tool_budget_tokens)


def measured(config: TrainingConfig) -> dict[str, float] | None:
    """Measure the base model in a process of its own; None when it cannot be loaded here."""
    asked = ("--base-models", named_base_model(config.base_model), "--precision", config.precision, "--json")
    command = [sys.executable, "-m", "training_service", "measure", *asked]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return None
    said = json.loads(done.stdout.splitlines()[-1])
    return {name: float(said[name]) for name in ("reading", "writing", "training")}


def forecast(config: TrainingConfig) -> str:
    """Return the line of a plan that says how long an embedded run takes at most; '' for another backend."""
    if config.backend != "embedded":
        return ""
    speed = measured(config)
    if speed is None:
        return f"time       unknown: {config.base_model} cannot be loaded; try: python -m training_service measure"
    return line(config, speed)


def line(config: TrainingConfig, speed: Mapping[str, float]) -> str:
    """Return that line for a model of this speed, in tokens a second."""
    played, rules = episodes(config), config.episode
    written = rules.max_turns * rules.max_completion_tokens
    each = longest_tokens(rules)
    episode = (each - written) / speed["reading"] + written / speed["writing"]
    steps = played["training"] * (episode + each / speed["training"])
    if config.max_minutes is not None:
        steps = min(steps, 60 * config.max_minutes)
    tests = (sum(played.values()) - played["training"]) * episode
    figures = ", ".join(f"{name} {value:.0f}" for name, value in speed.items())
    return (
        f"time       at most {(steps + tests) / 3600:.1f} hours (tokens a second, just measured: {figures})"
    )
