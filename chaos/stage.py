"""The stage of a scenario: the system, and candidates for the cause, of which `compose` makes one guilty.

A candidate is a fault at a service, with the rows that the service writes about it. All are drawn alike. Who
is guilty decides what fails, and nothing else: the rows of every candidate stay as they are. So a row says
that something happened, and only time, traces, topology and magnitude say whether it matters. Half of the
candidates strike early, half late: once one is guilty, the others are unrelated, or over before the first
symptom, or begin after it.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from chaos.faults import Fault, Pool, Strike, Values
from chaos.mechanisms import MECHANISMS, Mechanism
from chaos.places import Place, places, reaches, sufferers
from chaos.topologies import Flow, Topology
from chaos.world import World

WINDOW_MS = 900_000.0
"""Length of the incident window, and of the healthy window before it."""
MOST_CANDIDATES, LEAST_CANDIDATES = 5, 4
DEPTH_WEIGHTS = (0.0, 0.4, 1.0)
"""How likely the culprit is the entry service, is called by it, or lies deeper."""
LEVELS = (("ERROR", "WARN"), ("WARN", "WARN"), ("WARN", "INFO"), ("INFO", "INFO"))
LEVEL_WEIGHTS = (0.26, 0.26, 0.22, 0.26)
APART_MS = 2500
"""Rows of one candidate lie at least this far apart, so that a search of one second shows each."""

Manner = Literal["replica", "jobs", "drill", "elsewhere"]
"""What becomes of an innocent candidate's effect.

replica: only the first attempt fails, the next instance answers. jobs: only what jobs start fails. drill:
only the prober's requests fail. elsewhere: other users' requests fail, not those that the incident is about.
"""


@dataclass(frozen=True)
class Note:
    """A row that a candidate's culprit writes, whether it is guilty or not."""

    at_ms: float
    level: str
    wording: str
    pod: int


@dataclass(frozen=True, eq=False)
class Candidate:
    """A fault that may be the cause."""

    fault: Fault
    strike: Strike
    place: Place
    hurts: tuple[str, ...]
    start_ms: float
    calm_ms: float
    """When it is over, if it is innocent."""
    end_ms: float
    """When it is over, if it is guilty."""
    manner: Manner
    share: float
    """Share of the requests that reach a guilty one and are hit by it."""
    mild_share: float
    """The same for an innocent one."""
    late_ms: tuple[float, float]
    """How much later slowed work ends."""
    ends_ok: bool
    """Abandoned callees finish their span as ok (their own view) instead of timeout (their caller's view)."""
    inferred: bool
    """Callers record a failed span for a callee that they could not reach."""
    magnitude: float
    """How much of the fault's effect an innocent one shows in the metrics of its service."""
    notes: tuple[Note, ...]
    values: Values
    """What its rows have in common, such as a table or a version."""
    quiet: bool
    """It is slow and says nothing; only durations tell."""

    @property
    def culprit(self) -> str:
        """The key of the service where it acts."""
        return self.place.culprit

    @property
    def how(self) -> Mechanism:
        """What its mechanism does."""
        return MECHANISMS[self.strike.mechanism]

    def reaches(self, flow: Flow, topology: Topology) -> bool:
        """Whether requests of a flow can be hit by it."""
        return reaches(self.strike, self.place, flow, topology)


@dataclass(frozen=True, eq=False)
class Stage:
    """Everything that a scenario and its twin share."""

    seed: int
    pool: Pool
    world: World
    candidates: tuple[Candidate, ...]
    rates: tuple[float, ...]
    """Requests a second of each flow."""
    clock_ms: tuple[float, float]
    """When the early and the late candidates strike."""


def draw_candidates(
    fault: Fault, faults: Sequence[Fault], world: World, pool: Pool, rng: random.Random, words: random.Random
) -> tuple[tuple[Candidate, ...], tuple[float, float]] | None:
    """Draw candidates, the one of the wanted fault first, and the two moments; None when there is no room.

    Places are given in a drawn order, so that the wanted fault is no more often at one than the others are.
    """
    early = rng.uniform(120_000, 270_000)
    moments = (early, early + rng.uniform(300_000, 390_000))
    found = _struck(fault, faults, world, rng)
    if found is None:
        return None
    quiet = rng.random() < QUIET_SHARE
    sides = _sides([(strike, place) for _, strike, place in found], world.topology, rng)
    return tuple(
        _candidate(*item, moments[side], world, pool, rng, words, quiet=quiet)
        for item, side in zip(found, sides, strict=True)
    ), moments


def _struck(
    fault: Fault, faults: Sequence[Fault], world: World, rng: random.Random
) -> list[tuple[Fault, Strike, Place]] | None:
    """Faults at places that do not overlap, the wanted fault first; None when there is no room."""
    turn = rng.randrange(MOST_CANDIDATES)
    taken: set[str] = set()
    found: list[tuple[Fault, Strike, Place]] = []
    wanted: tuple[Fault, Strike, Place] | None = None
    for number in range(MOST_CANDIDATES + 6):
        kind = fault if number == turn else rng.choice(faults)
        spot = _spot(kind, world, taken, rng)
        if spot is None and number == turn:
            return None
        if spot is None or (len(found) >= MOST_CANDIDATES and number != turn):
            continue
        taken |= {spot[1].culprit, *sufferers(*spot, world.topology)}
        found.append((kind, *spot))
        if number == turn:
            wanted = found[-1]
    if wanted is None or len(found) < LEAST_CANDIDATES:
        return None
    return [wanted, *(item for item in found if item is not wanted)][:MOST_CANDIDATES]


def _sides(spots: Sequence[tuple[Strike, Place]], topology: Topology, rng: random.Random) -> list[int]:
    """Who strikes early and who late. Of several draws, the one in which fewest
    neighbours strike together.
    """
    areas = [{place.culprit, *sufferers(strike, place, topology)} for strike, place in spots]
    near = [
        (one, two)
        for one in range(len(areas))
        for two in range(one)
        if _neighbours(areas[one], areas[two], topology)
    ]
    sides = [number % 2 for number in range(len(areas))]
    draws = [rng.sample(sides, len(sides)) for _ in range(SIDE_DRAWS)]
    return min(draws, key=lambda drawn: sum(drawn[one] == drawn[two] for one, two in near))


def _neighbours(one: set[str], other: set[str], topology: Topology) -> bool:
    """Whether a service of one area calls a service of the other."""
    return any((a in one and b in other) or (a in other and b in one) for a, b in topology.edges)


SIDE_DRAWS = 6
QUIET_SHARE = 0.25
"""Scenarios in which candidates that are slow by themselves write nothing about it."""


def _spot(fault: Fault, world: World, taken: set[str], rng: random.Random) -> tuple[Strike, Place] | None:
    """A strike of the fault and a free place for it."""
    topology = world.topology
    strike = rng.choices(fault.strikes, [strike.weight for strike in fault.strikes])[0]
    free = [
        place
        for place in places(strike, topology)
        if not taken & {place.culprit, *sufferers(strike, place, topology)}
        and _felt_by_users(strike, place, topology)
    ]
    if not free:
        return None
    weights = [DEPTH_WEIGHTS[min(topology.depths.get(place.culprit, 2), 2)] for place in free]
    return (strike, rng.choices(free, weights)[0]) if sum(weights) else None


def _felt_by_users(strike: Strike, place: Place, topology: Topology) -> bool:
    return any(flow.kind == "user" and reaches(strike, place, flow, topology) for flow in topology.flows)


def _candidate(
    fault: Fault,
    strike: Strike,
    place: Place,
    start: float,
    world: World,
    pool: Pool,
    rng: random.Random,
    words: random.Random,
    *,
    quiet: bool,
) -> Candidate:
    silent = quiet and strike.mechanism == "slow_self"
    values = Values(words, peer=world.names[place.peer], clock="{clock}")
    notes = _notes(fault, place, start, world, pool, rng, values)
    calm = start + rng.uniform(150_000, 230_000)
    end = start + rng.uniform(200_000, 290_000) if rng.random() < 0.25 else WINDOW_MS
    return Candidate(
        fault, strike, place, sufferers(strike, place, world.topology), start, calm, max(end, calm),
        _manner(strike, place, world.topology, rng), share=rng.uniform(0.6, 0.95),
        mild_share=rng.uniform(0.15, 0.35),
        late_ms=(2200, rng.uniform(4500, 9500)), ends_ok=rng.random() < 0.6, inferred=rng.random() < 0.4,
        magnitude=_magnitude(rng), notes=() if silent else notes, values=values, quiet=silent,
    )  # fmt: skip


def _magnitude(rng: random.Random) -> float:
    """Mostly little; a fifth move their metrics as far as a cause does, so that
    metrics alone do not tell it.
    """
    return rng.uniform(0.4, 1.0) if rng.random() < 0.2 else rng.uniform(0.05, 0.25)


def _manner(strike: Strike, place: Place, topology: Topology, rng: random.Random) -> Manner:
    kinds = {flow.kind for flow in topology.flows if reaches(strike, place, flow, topology)}
    drawn = rng.random()
    if drawn < 0.25 and "drill" in kinds:
        return "drill"
    if drawn < 0.5 and "job" in kinds:
        return "jobs"
    return "elsewhere" if drawn > 0.9 else "replica"


def _notes(
    fault: Fault, place: Place, start: float, world: World, pool: Pool, rng: random.Random, values: Values
) -> tuple[Note, ...]:
    """Two to four rows in one to three wordings, from shortly before the start on."""
    levels = rng.choices(LEVELS, LEVEL_WEIGHTS)[0]
    kinds = rng.choices((1, 2, 3), (0.4, 0.45, 0.15))[0]
    wordings = values.rng.sample(fault.wordings[pool], kinds)
    found: list[Note] = []
    for number in range(max(kinds, rng.randint(2, 4))):
        at = start + (rng.uniform(-25_000, 10_000) if number == 0 else rng.uniform(2000, 140_000))
        while any(abs(at - other.at_ms) < APART_MS for other in found):
            at = start + rng.uniform(2000, 140_000)
        text = wordings[number % kinds].format_map(values)
        found.append(
            Note(at, levels[min(number % kinds, 1)], text, rng.randrange(world.habits[place.culprit].pods))
        )
    return tuple(found)


MOST_RATE, RATE_PER_FLOW = 2.4, 0.2


def draw_rates(topology: Topology, candidates: Sequence[Candidate], rng: random.Random) -> tuple[float, ...]:
    """Requests a second of each flow. Flows that candidates can reach get more."""
    weights = []
    for flow in topology.flows:
        near = sum(one.reaches(flow, topology) for one in candidates)
        weights.append((1 + near) * rng.uniform(0.6, 1.4) if flow.kind == "user" else 0.0)
    total = min(MOST_RATE, 0.5 + RATE_PER_FLOW * sum(weight > 0 for weight in weights))
    return tuple(total * weight / sum(weights) if weight else 1 / rng.uniform(9, 20) for weight in weights)
