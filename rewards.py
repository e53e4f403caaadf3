"""What an episode is worth: bands that never overlap, and what moves a reward inside its band.

A pure function of the `Outcome`. Anything the outcome does not hold cannot be paid for, and nothing in it
pays for length: more turns, calls, words or cited ids never raise a reward by themselves. Citing pays only
for what supports the answer.

Not here: how an outcome is found (`rollout`), what a verdict means (`make_judge_model`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from project_types import Ending, Episode, Frozen, Outcome


class Band(NamedTuple):
    """Rewards of one kind of ending: a base, and what each factor in [0, 1] adds to it or takes from it."""

    base: float
    weights: Mapping[str, float]

    @property
    def low(self) -> float:
        """The reward with every cost and no bonus."""
        return round(self.base + sum(weight for weight in self.weights.values() if weight < 0), 6)

    @property
    def high(self) -> float:
        """The reward with every bonus and no cost."""
        return round(self.base + sum(weight for weight in self.weights.values() if weight > 0), 6)


BANDS: Mapping[str, Band] = {
    "grounded": Band(1.2, {"cited_gold": 0.2, "evidence_opened": 0.1, "few_turns": 0.1,
                           "fabricated_ids": -0.06, "irrelevant_ids": -0.06, "repeated_calls": -0.04,
                           "malformed_calls": -0.04}),
    "unsupported": Band(0.15, {"evidence_opened": 0.05, "few_turns": 0.05,
                               "fabricated_ids": -0.05, "repeated_calls": -0.025, "malformed_calls": -0.025}),
    "abstained": Band(-0.66, {"evidence_opened": 0.08, "right_service": 0.04,
                              "fabricated_ids": -0.03, "repeated_calls": -0.025, "malformed_calls": -0.025}),
    "wrong": Band(-0.9, {"evidence_opened": 0.05, "right_service": 0.1,
                         "fabricated_ids": -0.04, "repeated_calls": -0.03, "malformed_calls": -0.03}),
    "unfinished": Band(-1.25, {"evidence_opened": 0.1,
                               "fabricated_ids": -0.02, "repeated_calls": -0.04, "malformed_calls": -0.04}),
    "broken": Band(-1.9, {"evidence_opened": 0.4, "fabricated_ids": -0.02, "repeated_calls": -0.04, "malformed_calls": -0.04}),
}  # fmt: skip
"""The bands, best first; no two overlap. 'wrong' lies below 'abstained': a confident error costs more than
'unknown'. 'unfinished' lies below both: an episode that runs out of turns or of room leaves nobody a report,
and a reply that rambles until it is cut must never be the safe way out (docs/adr/0061).

The step from 'wrong' to 'abstained' says how sure a policy must be before it answers. With p right answers in
a hundred, answering pays when p is above about 100 × 0.24 / (1.3 + 0.9) = 11. Any higher, and a beginner
learns to say nothing instead of to investigate.
"""

ENDED: Mapping[Ending, str] = {
    Ending.UNKNOWN: "abstained",
    Ending.OUT_OF_TURNS: "unfinished",
    Ending.OUT_OF_CONTEXT: "unfinished",
}
"""The band of an episode without an answer; every other such ending is broken."""
ABSTAINED = {ending for ending, band in ENDED.items() if band == "abstained"}
FREE_TURNS = 10
"""Each of the first ten turns costs a success a little; later ones cost no more."""


class Reward(Frozen):
    """A number and what it is made of: `total` is the sum of `components`, every one of which is always
    present.
    """

    band: str
    total: float
    components: dict[str, float]


def reward(outcome: Outcome) -> Reward:
    """Score an outcome. Depends on nothing else. Raises ValueError for PROVIDER_ERROR, which is nobody's
    merit or fault.
    """
    if outcome.ending is Ending.PROVIDER_ERROR:
        raise ValueError("an episode that its provider broke off is never scored; drop it and count it")
    if outcome.ending is Ending.ANSWERED:
        ungrounded = "unsupported" if outcome.correct else "wrong"
        name = "grounded" if outcome.grounded else ungrounded
    elif outcome.ending is Ending.UNKNOWN and outcome.correct:
        name = "unsupported"  # the evidence did not suffice, and saying so was right
    else:
        name = ENDED.get(outcome.ending, "broken")
    band, factors = BANDS[name], _factors(outcome)
    parts = {key: round(band.weights.get(key, 0.0) * factor, 6) + 0.0 for key, factor in factors.items()}
    components = {"band": band.base, **parts}
    return Reward(band=name, total=round(math.fsum(components.values()), 6), components=components)


def without_evidence(outcome: Outcome) -> Outcome:
    """Return the outcome with its evidence left out of account: a right answer counts as proved, and nothing
    that was opened or cited pays or costs. For measuring what the evidence term is good for.
    """
    blank = {"gold_evidence_opened": 0, "cited": 0, "cited_gold": 0, "cited_fabricated": 0}
    return outcome.model_copy(update={**blank, "cited_supporting": int(outcome.correct)})


def training_reward(episode: Episode, *, evidence: bool) -> float | None:
    """Return what a trainer is told a rollout is worth: the episode's reward, or, with `evidence` off, that
    of its outcome without the evidence term.
    """
    return episode.reward if evidence else reward(without_evidence(episode.outcome)).total


def _factors(outcome: Outcome) -> dict[str, float]:
    """What the bands weigh, each in [0, 1], whatever the outcome claims."""
    return {
        "cited_gold": float(outcome.cited_gold > 0),
        "evidence_opened": min(1.0, outcome.gold_evidence_opened / outcome.gold_evidence)
        if outcome.gold_evidence
        else 0.0,
        "right_service": float(outcome.service_correct),
        "few_turns": max(0.0, 1 - outcome.turns / FREE_TURNS),
        "fabricated_ids": _towards_one(outcome.cited_fabricated),
        "irrelevant_ids": max(0, outcome.cited - outcome.cited_gold) / max(1, outcome.cited),
        "repeated_calls": _towards_one(outcome.repeated_calls),
        "malformed_calls": _towards_one(outcome.malformed_calls),
    }


def _towards_one(count: int) -> float:
    """0, 1/2, 2/3, 3/4 ...: the first costs most, every further one still costs."""
    return count / (count + 1)
