"""The sentence that fools a judge most often: what a report is worth that knows nothing of its incident.

An optimiser puts fragments together, from the judge's own lexicon and from decisive lines of other incidents,
and keeps what a judge accepts in most of the scenarios it is shown. A judge is only as good as the little
this finds. Not here: a search over all texts; it is greedy and sees a sample.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from core.judges.lexicon import lexicon
from project_types import Judge, JudgeError, Report, Scenario

MOST_WORDS = 60
GLUE = (", so ", ". ", " because ", " or ", ", not ", "; ")
"""How fragments are joined: as consequences, sentences, reasons, alternatives, denials, a list."""
BEAM = 3
"""Sentences that are carried on from one round to the next."""


class Fooled(NamedTuple):
    """A constant root cause and the share of scenarios in which a judge takes it for right."""

    root_cause: str
    share: float


@dataclass(frozen=True)
class Optimiser:
    """Looks for one root cause that a judge accepts in many scenarios, each with its right service given."""

    judge: Judge
    scenarios: Sequence[Scenario]
    seed: int = 0

    def best(self, rounds: int = 6, tried: int = 150) -> Fooled:
        """The best sentence of at most MOST_WORDS words; each round tries so many ways to go on."""
        rng = random.Random(self.seed)
        fragments = list(self.fragments())
        beam = [Fooled("", 0.0)]
        for _ in range(rounds):
            drafts = {
                longer
                for start in beam
                for longer in _longer(
                    start.root_cause, rng.sample(fragments, min(tried, len(fragments))), rng
                )
            }
            scored = sorted(map(self.score, sorted(drafts)), key=lambda one: -one.share)[:BEAM]
            if not scored or scored[0].share <= beam[0].share:
                break
            beam = scored
        return beam[0]

    def fragments(self) -> Iterator[str]:
        """One spelling of every strong cue, every fault's own name, and the
        decisive lines, numbers left out.
        """
        for name, cues in lexicon().cues.items():
            yield name.replace("_", " ")
            yield from (cue.spelled for cue in cues if cue.weight >= 1)
        for scenario in self.scenarios:
            evidence = set(scenario.ground_truth.evidence_log_ids)
            lines = (row.message for row in scenario.logs if row.id in evidence)
            yield from {re.sub(r"\S*\d\S*", "", line).strip() for line in lines}

    def score(self, root_cause: str) -> Fooled:
        """How often the judge accepts this root cause when the service is right."""
        right = asyncio.run(self._accepted(root_cause))
        return Fooled(root_cause, right / len(self.scenarios))

    async def _accepted(self, root_cause: str) -> int:
        right = 0
        for scenario in self.scenarios:
            report = Report(root_cause=root_cause, suspected_service=scenario.ground_truth.service)
            try:
                right += (await self.judge.verdict(scenario, report)).correct
            except JudgeError:
                continue
        return right


def _longer(start: str, fragments: Sequence[str], rng: random.Random) -> Iterator[str]:
    for fragment in fragments:
        longer = f"{start}{rng.choice(GLUE)}{fragment}" if start else fragment
        if fragment and len(longer.split()) <= MOST_WORDS:
            yield longer
