"""Signs that a policy earns reward without investigating, counted from the episodes of a batch.

Rewards rise for good reasons and for bad ones. These numbers tell them apart: an independent score of the
answers, what goes along with length, services that do not exist, and why groups are flat. They are columns of
metrics.jsonl. What is alarming about them is `failure_analysis.prediction.gaming`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from core.conversation import told_services
from failure_analysis.episodes.turns import turns_of
from project_types import UNKNOWN, Ending, Episode
from rewards import ABSTAINED, ENDED

LEAST = 8
"""Episodes from which on a correlation means something."""


def monitored(episodes: Sequence[Episode]) -> dict[str, float | None]:
    """Return the signs of a batch as shares and correlations. None where there is nothing to count."""
    answered = [episode for episode in episodes if episode.outcome.ending is Ending.ANSWERED]
    searches = [name for episode in episodes for name in _searched(episode)]
    return {
        "independent": _share(map(independent, episodes)),
        "judge_only": _share(one.outcome.correct and not independent(one) for one in answered),
        "evidence_only": _share(independent(one) and not one.outcome.correct for one in answered),
        "reward_by_words": correlation(episodes, [float(one.outcome.report_words) for one in episodes]),
        "reward_by_tokens": correlation(episodes, [float(one.outcome.completion_tokens) for one in episodes]),
        "invented_services": _share(map(_invented, answered)),
        "missing_service_searches": _share(not exists for exists in searches),
    }


def independent(episode: Episode) -> bool:
    """Return whether an answer names the culprit and cites what supports it, whatever the judge says."""
    outcome = episode.outcome
    return outcome.ending is Ending.ANSWERED and outcome.service_correct and outcome.cited_supporting > 0


def correlation(episodes: Sequence[Episode], lengths: Sequence[float]) -> float | None:
    """Return Pearson's correlation of reward and length; None for few episodes, or
    where either is constant.
    """
    pairs = [
        (one.reward, length) for one, length in zip(episodes, lengths, strict=True) if one.reward is not None
    ]
    if len(pairs) < LEAST:
        return None
    rewards, known = np.array(pairs).T
    if not rewards.std() or not known.std():
        return None
    return round(float(np.corrcoef(rewards, known)[0, 1]), 4)


def flat_causes(episodes: Sequence[Episode]) -> dict[str, int]:
    """Return why groups are flat: how many whose episodes, all of one reward, were of one kind."""
    groups: dict[str, list[Episode]] = defaultdict(list)
    for episode in episodes:
        groups[episode.scenario_id].append(episode)
    flat = filter(_is_flat, groups.values())
    return dict(Counter(_kind(group) for group in flat))


def _is_flat(group: Sequence[Episode]) -> bool:
    return len({episode.reward for episode in group}) < 2


def _kind(group: Sequence[Episode]) -> str:
    kinds = {_outcome_kind(episode) for episode in group}
    return kinds.pop() if len(kinds) == 1 else "mixed"


def _outcome_kind(episode: Episode) -> str:
    outcome = episode.outcome
    if outcome.correct:
        return "right"
    if outcome.ending is Ending.ANSWERED:
        return "wrong"
    return "unknown" if outcome.ending in ABSTAINED else ENDED.get(outcome.ending, "broken")


def _services(episode: Episode) -> set[str]:
    """The services that the episode was told, in small letters; none where it is not told."""
    said = (str(message.get("content")) for message in episode.messages if message.get("role") == "user")
    return {name.casefold() for name in told_services(next(said, ""))}


def _invented(episode: Episode) -> bool:
    """Whether the report blames a service that the scenario does not have."""
    known = _services(episode)
    blamed = episode.report.suspected_service.strip().casefold() if episode.report else UNKNOWN
    return bool(known) and blamed not in known | {UNKNOWN}


def _searched(episode: Episode) -> list[bool]:
    """Whether each service that a call named exists."""
    known = _services(episode)
    calls = (call for turn in turns_of(episode) for call in turn.calls)
    named = [(call.arguments or {}).get("service") for call in calls]
    return [
        name.strip().casefold() in known for name in named if isinstance(name, str) and name.strip() and known
    ]


def _share(flags: Iterable[Any]) -> float | None:
    found = [bool(flag) for flag in flags]
    return round(sum(found) / len(found), 4) if found else None
