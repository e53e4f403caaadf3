"""Sends all requests of both windows through a system while its candidates act: cause
and effect, no scripting.

Every flow is computed at once, with one array entry for each of its requests. A request walks its call tree.
What the candidates do happens at a service or on a call; deadlines and second attempts carry the effect to
the callers, or stop it there. Rows, spans and metrics are all taken from what is recorded here. Times are
milliseconds from the start of the incident window; the healthy window lies before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from chaos.dice import LATENCY, Dice, Floats, Mask, pick
from chaos.stage import WINDOW_MS, Candidate, Stage
from chaos.topologies import Flow, Node
from chaos.world import World

ABSENT, OK, ERROR, TIMEOUT = -1, 0, 1, 2
Codes = NDArray[np.int16]
EVERYDAY_FAILURES = 0.0005
"""Share of a service's operations that fail on any day."""
PER_TRY_MS = 500.0
"""A caller turns to the next instance after so long, whatever its deadline for the whole call."""
_DRAWS = 6
_BASE, _FAIL, HIT, _AMOUNT, _TROUBLE, STUB = range(_DRAWS)
"""What each draw of a call decides."""
_TIMED_OUT, _UNREADABLE = 1, 2


@dataclass(eq=False, slots=True)
class Op:
    """One call of a flow, for all its requests."""

    node: Node
    start: Floats
    ms: Floats
    status: Codes
    stub: Mask
    """A first attempt failed."""
    stub_ms: Floats
    stub_late: Mask
    """The first attempt was given up at the deadline."""
    reason: Codes
    """Why the caller thinks that the call failed, as an index into `Traffic.reasons`; 0: it did not."""
    wait: Floats
    """How long the caller waited, first attempt included."""
    tries: NDArray[np.int16]
    """How often the caller sent the request."""


class Blank(NamedTuple):
    """Arrays that new calls of a flow share until they get their own; they cannot be written into."""

    none: Mask
    zero: Floats
    no_code: Codes
    one: NDArray[np.int16]

    @classmethod
    def of(cls, count: int) -> Blank:
        """For a flow of so many requests."""
        shared = (np.broadcast_to(value, count) for value in (np.False_, 0.0, np.int16(0), np.int16(1)))
        return cls(*shared)


@dataclass(eq=False, slots=True)
class Hits:
    """Requests at which a candidate acted: at which call, and whether at full strength."""

    run: FlowRun
    node: Node
    which: NDArray[np.int64]
    full: bool


class Traffic:
    """All flows of a stage with one of its candidates guilty, or none."""

    def __init__(self, stage: Stage, guilty: Candidate | None) -> None:
        self.stage, self.world, self.guilty = stage, stage.world, guilty
        self.reasons = ["", "timeout", "unreadable"]  # in the order of the numbers above
        self.hits: dict[int, list[Hits]] = {number: [] for number in range(len(stage.candidates))}
        flows = stage.world.topology.flows
        self.struck = {id(flow) for flow in flows if guilty and guilty.reaches(flow, stage.world.topology)}
        self.runs = [FlowRun(self, flow, number) for number, flow in enumerate(flows)]

    def code(self, reason: str) -> int:
        """The number of a reason."""
        if reason not in self.reasons:
            self.reasons.append(reason)
        return self.reasons.index(reason)

    def full(self, candidate: Candidate, flow: Flow) -> bool:
        """Whether the candidate acts at full strength on a flow."""
        if candidate is self.guilty:
            return True
        if candidate.manner == "elsewhere":
            return self.guilty is not None and flow.kind == "user" and id(flow) not in self.struck
        return {"jobs": "job", "drill": "drill"}.get(candidate.manner) == flow.kind

    def mild(self, candidate: Candidate, flow: Flow) -> bool:
        """Whether only first attempts of a flow meet the candidate."""
        alone = candidate.manner == "elsewhere" and self.guilty is None
        innocent = candidate is not self.guilty and (candidate.manner == "replica" or alone)
        return innocent and not (candidate.quiet and flow.kind == "user")


@dataclass(frozen=True)
class Acting:
    """A candidate as it acts on one flow."""

    number: int
    candidate: Candidate
    guilty: bool

    def hits(self, at: Floats, uniform: Floats, *, full: bool) -> Mask:
        """The requests that it hits."""
        one = self.candidate
        end = one.end_ms if self.guilty else one.calm_ms
        share = one.share if full else one.mild_share
        found: Mask = (at >= one.start_ms) & (at < end) & (uniform < share)
        return found


@dataclass(eq=False)
class FlowRun:
    """One flow with all its requests."""

    traffic: Traffic
    flow: Flow
    number: int
    at: Floats = field(init=False)
    ops: dict[int, Op] = field(init=False, default_factory=dict)
    hurt: Mask = field(init=False)
    """The guilty candidate hit the request."""

    def __post_init__(self) -> None:
        dice = Dice(self.traffic.stage.seed * 1000 + self.number)
        self.at = arrivals(self.traffic.stage, self.flow, self.number, dice)
        self.draws = dice.uniform(len(self.flow.nodes), _DRAWS, len(self.at))
        self.hurt = np.zeros(len(self.at), bool)
        self.blank = Blank.of(len(self.at))
        stage = self.traffic.stage
        self.acting = [
            Acting(number, one, one is self.traffic.guilty) for number, one in enumerate(stage.candidates)
        ]
        self.full = [one for one in self.acting if self.traffic.full(one.candidate, self.flow)]
        self.mild = [one for one in self.acting if self.traffic.mild(one.candidate, self.flow)]
        root = self._op(self.flow.nodes[0], self.at)
        root.wait, _, _ = self._serve(root, self.at, np.ones(len(self.at), bool))

    @property
    def world(self) -> World:
        """The system."""
        return self.traffic.world

    @property
    def failed(self) -> Mask:
        """Which requests ended in a failure."""
        found: Mask = self.ops[0].status != OK
        return found

    @cached_property
    def slow(self) -> Mask:
        """Which requests take far longer than the flow usually does. Ask once all are through."""
        took = self.ops[0].ms
        healthy = np.sort(took[self.at < 0])
        middle = len(healthy) // 2
        # the median; numpy's own takes many times as long for so few numbers
        usual = float(healthy[middle] + healthy[~middle]) / 2 if len(healthy) else 100.0
        found: Mask = took > max(900.0, 4 * usual)
        return found

    def _note(self, one: Acting, node: Node, hit: Mask, *, full: bool) -> None:
        (which,) = hit.nonzero()
        if len(which):
            self.traffic.hits[one.number].append(Hits(self, node, which, full))
        if one.guilty:
            self.hurt |= hit

    # ---------------------------------------------------------------------------------------- one operation

    def _serve(self, op: Op, start: Floats, live: Mask) -> tuple[Floats, Mask, Codes]:
        """Run an operation for the requests in `live`: (milliseconds, succeeded, why not)."""
        node = op.node
        draws = self.draws[node.index]
        own = self.world.habits[node.service].base_ms * pick(LATENCY, draws[_BASE])
        why = np.zeros(len(self.at), np.int16)
        going = live.copy()
        if node.parent is not None:
            unlucky = going & (draws[_FAIL] < EVERYDAY_FAILURES)
            why[unlucky] = self.traffic.code("status 500")
            going &= ~unlucky
        for one in self.full:
            if one.candidate.how.inside and node.service in one.candidate.hurts:
                own, going = self._struck(one, node, start, own, going, why)
        elapsed = own
        for child in node.children:
            wait, fine, late = self._call(node, child, start + elapsed, going)
            elapsed = np.where(going, elapsed + wait, elapsed)
            broke = going & ~fine
            why[broke & late] = self.traffic.code("status 504")
            why[broke & ~late] = self.traffic.code("status 502" if node.index % 2 else "status 500")
            going &= fine
        op.ms = elapsed
        op.status = np.where(live, np.where(going, OK, ERROR), ABSENT).astype(np.int16)
        return elapsed, going, why

    def _struck(
        self, one: Acting, node: Node, start: Floats, own: Floats, going: Mask, why: Codes
    ) -> tuple[Floats, Mask]:
        """A candidate acts while the service works."""
        hit = going & one.hits(start, self.draws[node.index][HIT], full=True)
        self._note(one, node, hit, full=True)
        amount = self.draws[node.index][_AMOUNT]
        if one.candidate.how.late:
            low, high = one.candidate.late_ms
            return np.where(hit, own + low + amount * (high - low), own), going
        why[hit] = self.traffic.code("status 503" if one.number % 2 else "status 500")
        return np.where(hit, amount * 300, own), going & ~hit

    def _op(self, node: Node, start: Floats) -> Op:
        """A call about which nothing is known yet."""
        none, zero, no_code, one = self.blank
        op = Op(node, start, zero, no_code, none, zero, none, no_code, zero, one)
        self.ops[node.index] = op
        return op

    # ----------------------------------------------------------------------------------------------- one call

    def _call(self, node: Node, child: Node, at: Floats, live: Mask) -> tuple[Floats, Mask, Mask]:
        """Call a service: (milliseconds the caller waited, it worked, it was given up at the deadline)."""
        edge = (node.service, child.service)
        limit = self.world.limits_ms[edge]
        op = self._op(child, at)
        self._first_attempts(op, edge, at, live, limit)
        lost = np.where(op.stub, op.stub_ms, 0.0)
        sent = at + lost
        way = self._way(op, edge, sent, live, limit)
        if way is None:  # the most frequent case by far
            return self._straight(op, sent, lost, live, limit)
        op.start = sent + way.before
        ms, fine, why = self._serve(op, op.start, live & ~way.blocked)
        self._record(op, way)
        reply = way.before + ms + way.after
        late = live & ~way.blocked & (reply > way.limit)
        self._abandon(op, late)
        late |= way.blocked & (way.reason == _TIMED_OUT)
        reason = np.where(way.reason > 0, way.reason, why)
        op.reason = np.where(late, _TIMED_OUT, np.where(live, reason, 0)).astype(np.int16)
        op.wait = lost + np.where(way.blocked, way.took, np.minimum(reply, way.limit))
        return op.wait, fine & ~late & ~way.blocked & (way.reason == 0), late

    def _straight(
        self, op: Op, sent: Floats, lost: Floats, live: Mask, limit: float
    ) -> tuple[Floats, Mask, Mask]:
        """A call with nothing in its way: what `_call` returns, for less work."""
        op.start = sent
        ms, fine, why = self._serve(op, sent, live)
        late = live & (ms > limit)
        self._abandon(op, late)
        op.reason = np.where(late, _TIMED_OUT, np.where(live, why, 0)).astype(np.int16)
        op.wait = lost + np.minimum(ms, limit)
        return op.wait, fine & ~late, late

    def _first_attempts(self, op: Op, edge: tuple[str, str], at: Floats, live: Mask, limit: float) -> None:
        """Attempts that fail, after which the next instance answers."""
        draws = self.draws[op.node.index]
        op.stub = live & (draws[_TROUBLE] < self.world.troubles[edge])
        op.stub_ms = 2 + draws[_AMOUNT] * 60
        for one in self.mild:
            if edge[1] not in one.candidate.hurts:
                continue
            hit = live & ~op.stub & one.hits(at, draws[STUB], full=False)
            self._note(one, op.node, hit, full=False)
            op.stub |= hit
            if one.candidate.how.late and not one.candidate.how.inner:
                op.stub_late = op.stub_late | hit
                op.stub_ms = np.where(hit, min(limit, PER_TRY_MS), op.stub_ms)

    def _way(self, op: Op, edge: tuple[str, str], at: Floats, live: Mask, limit: float) -> Way | None:
        """What happens between caller and callee, if anything."""
        way = None
        amount = self.draws[op.node.index][_AMOUNT]
        for one in self.full:
            place, how = one.candidate.place, one.candidate.how
            if how.behind and edge == (place.culprit, place.peer):
                hit = live & one.hits(at, self.draws[op.node.index][HIT], full=True)
                op.tries = np.where(hit, 3 + amount * 4, op.tries).astype(np.int16)
            if how.inside or (edge != (place.culprit, place.peer) if how.inner else edge[1] != place.culprit):
                continue
            hit = live & one.hits(at, self.draws[op.node.index][HIT], full=True)
            self._note(one, op.node, hit, full=True)
            way = way or Way.clear(len(at), limit)
            self._obstruct(way, one, hit, amount)
        return way

    def _obstruct(self, way: Way, one: Acting, hit: Mask, amount: Floats) -> None:
        """One candidate acts on the way."""
        how = one.candidate.strike.mechanism
        low, high = one.candidate.late_ms
        if how == "late_start":
            way.before[hit] = low + amount[hit] * (high - low)
        elif how == "slow_link":
            way.after[hit] = low + amount[hit] * (high - low)
        elif how == "caller_deadline":
            way.limit[hit] = 40 + 20 * (one.number % 3)
            way.after[hit] = way.limit[hit] + amount[hit] * 300
        elif how == "bad_response":
            way.reason[hit] = _UNREADABLE
        else:
            way.blocked |= hit
            way.took[hit] = way.limit[hit] if how == "hang" else 2 + amount[hit] * 120
            known = {"hang": "timeout", "bad_request": "status 400"}
            way.reason[hit] = self.traffic.code(known.get(how, one.candidate.strike.reason))
            if how == "bad_request" or (one.candidate.inferred and how != "hang"):
                way.recorded |= hit

    def _record(self, op: Op, way: Way) -> None:
        """A failed span for what the callee refused, or for what the caller guesses about it."""
        op.status[way.recorded] = ERROR
        op.ms = np.where(way.recorded, way.took, op.ms)

    def _abandon(self, op: Op, late: Mask) -> None:
        """Callees that nobody waits for any more: some end as timeout."""
        guilty = self.traffic.guilty
        if guilty is None or not guilty.ends_ok:
            op.status[late & (op.status == OK)] = TIMEOUT


@dataclass(eq=False, slots=True)
class Way:
    """What lies between a caller and its callee, for every request of a flow."""

    limit: Floats
    """How long the caller waits; an impatient one waits less than usual."""
    before: Floats
    """Delay before the callee begins."""
    after: Floats
    """Delay after it has ended."""
    blocked: Mask
    """The request never arrives, or is refused at the door."""
    took: Floats
    """How long a blocked one took."""
    reason: Codes
    recorded: Mask
    """A blocked one leaves a span."""

    @classmethod
    def clear(cls, count: int, limit: float) -> Way:
        """Nothing in the way."""
        none, zero = np.zeros(count, bool), np.zeros(count)
        return cls(
            np.full(count, limit),
            zero,
            zero.copy(),
            none,
            zero.copy(),
            np.zeros(count, np.int16),
            none.copy(),
        )


def arrivals(stage: Stage, flow: Flow, number: int, dice: Dice) -> Floats:
    """When requests of a flow come in, sorted, over both windows."""
    rate = stage.rates[number]
    count = max(8, round(rate * 2 * WINDOW_MS / 1000))
    if flow.kind != "user":  # evenly, as a timer sends them
        step = 2 * WINDOW_MS / count
        return -WINDOW_MS + step * (np.arange(count) + 0.2 * dice.uniform(count))
    found: Floats = np.sort(-WINDOW_MS + 2 * WINDOW_MS * dice.uniform(count))
    return found


def felt(runs: Sequence[FlowRun]) -> int:
    """How many users' requests the guilty candidate made fail or crawl."""
    return sum(int((run.hurt & (run.failed | run.slow)).sum()) for run in runs if run.flow.kind == "user")
