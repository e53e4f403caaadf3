"""The rows that services write because of requests: routine, what callers say about
calls that failed, and more.

Loggers are limited: about one call they write so many rows and no more, however often it fails. So a row
count does not tell how bad things are; metrics do. Requests whose spans are kept are written about first.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from operator import itemgetter
from typing import Any, TypeVar

from chaos.dice import Mask
from chaos.faults import Values
from chaos.phrases import Phrasebook
from chaos.sampling import Sample
from chaos.stage import Candidate
from chaos.topologies import Node
from chaos.traffic import OK, FlowRun, Hits, Op, Traffic

SLOW_MS = 900.0
LIMITS = (2, 3, 4, 5)
"""How many rows a logger writes about one call in each window, drawn per call."""


@dataclass(slots=True, eq=False)
class Row:
    """One log row. `kind` says why it exists: routine, symptom, decisive, herring, decoy."""

    at_ms: float
    service: str
    level: str
    text: str
    kind: str
    run: FlowRun | None = None
    index: int = 0
    """Which request of the run it belongs to."""
    node: Node | None = None
    """The call inside which it was written."""
    pod: int | None = None
    candidate: int | None = None
    """The candidate it comes from, for decisive and decoy rows."""
    op: str = ""


Occasion = tuple[float, FlowRun, int, Op, str]
"""(when, run, request, call, reason)."""
Drawn = TypeVar("Drawn", bound=tuple[float, FlowRun, int, Op, object])


class Reporter:
    """Writes the rows of one simulated traffic."""

    def __init__(
        self, traffic: Traffic, sample: Sample, book: Phrasebook, rng: random.Random, words: random.Random
    ) -> None:
        self.traffic, self.sample, self.book, self.rng, self.words = traffic, sample, book, rng, words
        self.world = traffic.world
        self.rows: list[Row] = []

    def symptoms(self) -> list[Row]:
        """Rows about calls and requests that failed or were slow, and what candidates make others say."""
        for (caller, callee), occasions in sorted(self._complaints().items()):
            limit = self.rng.choice(LIMITS)
            for chosen in self._limited(occasions, limit):
                self._complain(caller, callee, *chosen)
        for run in self.traffic.runs:
            self._about_requests(run)
        for number, found in self.traffic.hits.items():
            self._about_candidate(number, found)
        return self.rows

    # ------------------------------------------------------------------------------------------- failed calls

    def _complaints(self) -> dict[tuple[str, str], list[Occasion]]:
        """What each caller could say about each callee."""
        found: dict[tuple[str, str], list[Occasion]] = defaultdict(list)
        for run in self.traffic.runs:
            for op in run.ops.values():
                if op.node.parent is None:
                    continue
                edge = (op.node.parent.service, op.node.service)
                if some := [*self._about_call(run, op)]:
                    found[edge] += some
        return found

    def _about_call(self, run: FlowRun, op: Op) -> Iterator[Occasion]:
        """What a caller could say about one call of a flow."""
        (failed,) = op.reason.nonzero()
        ends, codes = (op.start + op.wait)[failed].tolist(), op.reason[failed].tolist()
        for at, index, code in zip(ends, failed.tolist(), codes, strict=True):
            yield at, run, index, op, self.traffic.reasons[code]
        (again,) = op.stub.nonzero()
        for at, index in zip(op.start[again].tolist(), again.tolist(), strict=True):
            yield at, run, index, op, "timeout" if op.stub_late[index] else self._first_reason(run, op, index)
        slow = ((op.reason == 0) & (op.wait > SLOW_MS)).nonzero()[0][:40]
        for at, index in zip((op.start + op.wait)[slow].tolist(), slow.tolist(), strict=True):
            yield at, run, index, op, "slow"

    def _first_reason(self, run: FlowRun, op: Op, index: int) -> str:
        """Why a first attempt failed: what a candidate does to it, or one of the everyday troubles."""
        for one in run.mild:
            candidate = one.candidate
            if (
                op.node.service in candidate.hurts
                and candidate.start_ms <= op.start[index] < candidate.calm_ms
            ):
                if candidate.strike.mechanism == "bad_response":
                    return "unreadable"
                return (
                    candidate.strike.reason
                    if candidate.strike.reason and not candidate.how.inner
                    else "status 500"
                )
        return "connection reset"

    def _limited(self, occasions: list[Occasion], limit: int) -> Iterator[Occasion]:
        """The occasions that a logger takes: so many in each window, first of those whose spans are kept."""
        for healthy in (True, False):
            pool = [item for item in occasions if (item[0] < 0) == healthy]
            most = 1 + limit // 6 if healthy else limit
            yield from self._chosen(pool, max(1, most - 1), most)

    def _chosen(self, pool: list[Drawn], most_kept: int, most: int) -> list[Drawn]:
        """The earliest of a pool: first of those whose spans are kept, then of the others."""
        pool.sort(key=itemgetter(0))
        kept = [*islice((item for item in pool if self.sample.holds(item[1], item[2])), most_kept)]
        others = (item for item in pool if item not in kept)
        return [*kept, *islice(others, most - len(kept))]

    def _complain(
        self, caller: str, callee: str, at: float, run: FlowRun, index: int, op: Op, reason: str
    ) -> None:
        habit = self.world.habits[caller]
        level, kind = habit.failure_level, "failed"
        wait = op.stub_ms[index] if op.stub_late[index] else op.wait[index]
        known: dict[str, Any] = {"peer": self.world.names[callee], "ms": round(float(wait))}
        if reason == "slow":
            level, kind = "WARN", "slow"
        elif reason == "unreadable":
            kind = "unreadable"
            known["field"] = "total" if habit.style % 2 else "region"
        elif self.world.role(caller) == "queue":
            kind = "delivery"
        if reason == "timeout":
            reason = self.book.timeout(habit.style).format(ms=known["ms"])
        self._say(caller, kind, level, at, run, index, op.node.parent, reason=reason, **known)

    # ----------------------------------------------------------------------------------------- whole requests

    def _about_requests(self, run: FlowRun) -> None:
        """What the first service of a flow writes about requests that failed."""
        root = run.ops[0]
        kind = "job_failed" if run.flow.kind != "user" else "edge_failed"
        failed = (root.status != OK).nonzero()[0].tolist()
        occasions: list[Occasion] = [
            (float(root.start[index] + root.ms[index]), run, index, root, "") for index in failed
        ]
        for at, _, index, _, _ in self._limited(occasions, self.rng.choice((3, 4, 5))):
            code = 504 if root.ms[index] > SLOW_MS else self.rng.choice((500, 502, 503))
            self._say(
                root.node.service, kind, "ERROR", at, run, index, root.node,
                code=code, ms=round(float(root.ms[index])), reason=f"status {code}",
                op=root.node.call.operation,
            )  # fmt: skip

    def routine(self, count: int) -> list[Row]:
        """Rows about operations that went well. What is written in one window is written in the other too, so
        that only what is new looks new.
        """
        self.rows = []
        runs = [run for run in self.traffic.runs if len(run.at)]
        weights = [len(run.at) for run in runs]
        for run in self.rng.choices(runs, weights, k=count // 2):
            node = self.rng.choice(run.flow.nodes)
            for window in (run.at < 0, run.at >= 0):
                index = self._went_well(run, node, window)
                if index is not None:
                    self._routine(run, node, index)
        return self.rows

    def _routine(self, run: FlowRun, node: Node, index: int) -> None:
        op = run.ops[node.index]
        self._say(
            node.service, f"routine.{self.world.role(node.service)}", "INFO",
            float(op.start[index] + op.ms[index]),
            run, index, node, row_kind="routine",
            ms=max(1, round(float(op.ms[index]))), op=node.call.operation.split("/")[0].strip(),
        )  # fmt: skip

    def _went_well(self, run: FlowRun, node: Node, window: Mask) -> int | None:
        """A request of a window whose call went well, rather one whose spans are kept."""
        fine = (run.ops[node.index].status == OK) & window
        kept = [index for index in self.sample.of(run) if fine[index]]
        if kept and self.rng.random() < 0.6:
            return self.rng.choice(kept)
        (which,) = fine.nonzero()
        return int(which[self.rng.randrange(len(which))]) if len(which) else None

    # --------------------------------------------------------------------------------------------- candidates

    def _about_candidate(self, number: int, hits: Iterable[Hits]) -> None:
        """What the mechanism of a candidate makes other services write."""
        candidate = self.traffic.stage.candidates[number]
        mechanism, place = candidate.strike.mechanism, candidate.place
        soft = "INFO" if self.rng.random() < 0.25 else "WARN"
        limit = self.rng.choice(LIMITS)
        for at, run, index, op, full in self._occasions(hits, limit):
            if mechanism == "flood":
                self._say_about(place.peer, "flooded", soft, at, run, index, op.node, place.culprit)
            elif mechanism == "bad_request":
                level = self.world.habits[place.peer].failure_level
                self._say_about(place.peer, "refused", level, at, run, index, op.node, place.culprit)
            elif mechanism == "caller_deadline":
                self._say_about(place.peer, "cancelled", soft, at, run, index, op.node, place.culprit)
            elif mechanism == "cold_cache" and op.node.parent is not None:
                self._say_about(
                    op.node.parent.service, "missed", soft, at, run, index, op.node.parent, place.culprit
                )
            if candidate.how.inner and not full:
                self._inner(candidate, at, run, index, op.node)

    def _inner(self, candidate: Candidate, at: float, run: FlowRun, index: int, node: Node) -> None:
        """What one instance of the culprit says about its peer before another instance answers."""
        strike, (culprit, peer) = candidate.strike, candidate.place
        habit = self.world.habits[culprit]
        reason = "status 400" if strike.mechanism == "bad_request" else strike.reason
        if not reason:
            deadline = 60 if strike.mechanism == "caller_deadline" else self.world.limits_ms[culprit, peer]
            reason = self.book.timeout(habit.style).format(ms=round(deadline))
        about = {"peer": self.world.names[peer], "reason": reason}
        self._say(culprit, "failed", habit.failure_level, at, run, index, node, **about)

    def _occasions(self, hits: Iterable[Hits], limit: int) -> list[tuple[float, FlowRun, int, Op, bool]]:
        found = []
        for item in hits:
            op = item.run.ops[item.node.index]
            starts = op.start[item.which].tolist()
            found += [
                (at, item.run, index, op, item.full)
                for at, index in zip(starts, item.which.tolist(), strict=True)
            ]
        return self._chosen(found, limit - 1, limit)

    def _say_about(
        self, speaker: str, kind: str, level: str, at: float, run: FlowRun, index: int, node: Node, about: str
    ) -> None:
        self._say(speaker, kind, level, at + 1, run, index, node, peer=self.world.names[about], ms=60)

    # ------------------------------------------------------------------------------------------------ writing

    def _say(
        self, service: str, kind: str, level: str, at: float, run: FlowRun, index: int, node: Node | None,
        row_kind: str = "symptom", **known: object,
    ) -> None:  # fmt: skip
        wording = self.book.pick(kind, self.world.habits[service].style)
        text = wording.format_map(Values(self.words, **known))
        self.rows.append(
            Row(at, service, level, text, row_kind, run, index, node, op=str(known.get("op", "")))
        )
