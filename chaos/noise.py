"""Rows that requests do not explain: what candidates write, red herrings, everyday
errors, periodic rows, events.

Red herrings have the levels, counts and times of the candidates' rows, so that neither severity
nor rarity nor the moment tells them apart. Nothing here depends on who is guilty: a scenario and
its twin share these rows.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

from chaos.anchors import Anchor
from chaos.faults import Values
from chaos.phrases import Phrasebook
from chaos.rows import Row
from chaos.stage import WINDOW_MS, Stage

Anchors = Mapping[tuple[int, int], Anchor]
"""(candidate, note) → the request inside which the note is written."""
SPARED_SHARE = 0.9
"""Share of the candidates' services without red herrings, so that two strange rows
at one service stay rare.
"""


@dataclass(eq=False)
class EventRow:
    """An event that the cluster reports about a service."""

    at_ms: float
    service: str
    reason: str
    type: str
    message: str
    count: int


class Background:
    """Draws what stands beside the requests of a stage."""

    def __init__(
        self, stage: Stage, anchors: Anchors, book: Phrasebook, rng: random.Random, words: random.Random
    ) -> None:
        self.stage, self.anchors, self.book, self.rng, self.words = stage, anchors, book, rng, words
        self.world = stage.world
        self.services = list(stage.world.topology.roles)

    def rows(self) -> list[Row]:
        """All of it but the events."""
        return [*self.candidates(), *self.herrings(), *self.chronic(), *self.periodic()]

    def candidates(self) -> list[Row]:
        """What each candidate's culprit writes about it."""
        rows = []
        for number, one in enumerate(self.stage.candidates):
            for place, note in enumerate(one.notes):
                row = Row(
                    note.at_ms,
                    one.culprit,
                    note.level,
                    note.wording,
                    "candidate",
                    pod=note.pod,
                    candidate=number,
                )
                if anchor := self.anchors.get((number, place)):
                    row.at_ms, row.run, row.index, row.node = (
                        anchor.at_ms,
                        anchor.run,
                        anchor.request,
                        anchor.node,
                    )
                rows.append(row)
        return rows

    def herrings(self) -> list[Row]:
        """Harmless rows near the two moments, at services that are drawn."""
        mishaps = self.words.sample(self.book.of("mishaps"), len(self.book.of("mishaps")))
        oddities = self.words.sample(self.book.of("oddities"), len(self.book.of("oddities")))
        rows: list[Row] = []
        suspects = dict.fromkeys(
            one.culprit for one in self.stage.candidates
        )  # in order: each draws a number
        spared = {service for service in suspects if self.rng.random() < SPARED_SHARE}
        services = [service for service in self.services if service not in spared]
        for service in self.rng.sample(services, min(len(services), self.rng.randint(5, 8))):
            level = self.rng.choices(("ERROR", "WARN", "INFO"), (0.28, 0.42, 0.30))[0]
            pool = mishaps if level == "ERROR" or self.rng.random() < 0.4 else oddities
            start = self.rng.choice(self.stage.clock_ms) + self.rng.uniform(-25_000, 10_000)
            for number in range(self.rng.choice((1, 2, 2, 3, 4))):
                at = start if number == 0 else start + self.rng.uniform(2000, 140_000)
                rows.append(self._row(at, service, level, pool[-1], "herring"))
            pool.pop()
        return rows

    def chronic(self) -> list[Row]:
        """Errors that occur all the time, in the healthy window too."""
        rows: list[Row] = []
        kinds = self.words.sample(self.book.of("chronic"), 3)
        for wording in kinds:
            service, level = self.rng.choice(self.services), self.rng.choice(("ERROR", "ERROR", "WARN"))
            for _ in range(self.rng.randint(4, 9)):
                at = self.rng.uniform(-WINDOW_MS, WINDOW_MS)
                rows.append(self._row(at, service, level, wording, "chronic"))
        return rows

    def periodic(self) -> list[Row]:
        """Every service writes one kind of row now and then. It stops where a hanging
        candidate writes nothing.
        """
        rows = []
        silent = {
            one.culprit: one.start_ms for one in self.stage.candidates if one.strike.mechanism == "hang"
        }
        lapses = self.rng.sample(self.services, 1)
        silent |= {service: self.stage.clock_ms[0] for service in lapses if service not in silent}
        for service, habit in self.world.habits.items():
            wording = self.book.pick("periodic", habit.style)
            step = (
                self.rng.uniform(360_000, 600_000)
                if service not in silent
                else self.rng.uniform(90_000, 150_000)
            )
            at = self.rng.uniform(-WINDOW_MS, -WINDOW_MS + step)
            while at < min(WINDOW_MS, silent.get(service, WINDOW_MS)):
                rows.append(self._row(at, service, "INFO", wording, "routine"))
                at += step * self.rng.uniform(0.9, 1.1)
        return rows

    def events(self) -> list[EventRow]:
        """Deploys, restarts and scaling around the two moments, and before, at services that are drawn."""
        found = []
        kinds = self.book.events()
        for _ in range(self.rng.randint(4, 9)):
            service, kind = self.rng.choice(self.services), self.rng.choice(kinds)
            near = self.rng.choice(self.stage.clock_ms) + self.rng.uniform(-240_000, 120_000)
            at = near if self.rng.random() < 0.6 else self.rng.uniform(-WINDOW_MS, WINDOW_MS)
            text = kind.message.format_map(Values(self.words, svc=self.world.names[service]))
            found.append(
                EventRow(at, service, kind.reason, kind.type, text, self.rng.choice((1, 1, 1, 2, 5)))
            )
        return found

    def _row(self, at: float, service: str, level: str, wording: str, kind: str) -> Row:
        pod = self.rng.randrange(self.world.habits[service].pods)
        known = {"peer": "", "clock": "", "op": ""}
        return Row(at, service, level, wording.format_map(Values(self.words, **known)), kind, pod=pod)
