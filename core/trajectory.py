"""A judged episode as trainers take it: its facts as metrics, and as ART's trajectory
with messages and reward.

Not here: how the episode came about (`rollout`), and training.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from project_types import Episode

if TYPE_CHECKING:
    import art


def metrics(episode: Episode) -> dict[str, float]:
    """Every fact of the outcome and every component of the reward, by the names that all trainers log."""
    facts = {key: float(value) for key, value in episode.outcome.model_dump(exclude={"ending"}).items()}
    tokens = {
        f"episode_{key}": facts.pop(key) for key in ("prompt_tokens", "completion_tokens")
    }  # ART owns 'completion_tokens'
    parts = {f"reward_{key}": value for key, value in episode.reward_components.items()}
    costs = {
        "policy_cost_usd": episode.cost_usd,
        "judge_cost_usd": episode.verdict.cost_usd if episode.verdict else 0.0,
    }
    return {**facts, **tokens, **parts, **costs, "grounded": float(episode.outcome.grounded)}


def trajectory(
    episode: Episode, choices: Sequence[Any], offered: list[dict[str, Any]] | None
) -> art.Trajectory:
    """A judged episode to train on. The policy's Choices stand for its messages: only they keep logprobs and
    token ids. None where a reply came without one.

    Raises ValueError unless there is a Choice, or None, for every message of the policy.
    """
    import art

    assert episode.reward is not None, (
        "an episode without a reward cannot be trained on; give investigate a judge"
    )
    names = {
        "scenario_id": episode.scenario_id,
        "split": episode.split,
        "ending": str(episode.outcome.ending),
        "sample": episode.sample,
    }
    replies = [place for place, said in enumerate(episode.messages) if said["role"] == "assistant"]
    spoken = dict(zip(replies, choices, strict=True))
    return art.Trajectory(
        messages_and_choices=[spoken.get(place) or said for place, said in enumerate(episode.messages)],
        tools=offered,
        reward=episode.reward,
        metrics=metrics(episode),
        metadata={**episode.metadata, **names, "policy": episode.policy},
        logs=[f"verdict of {episode.verdict.judge}: {episode.verdict.reason}"] if episode.verdict else [],
    )
