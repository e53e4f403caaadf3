"""Makes scenarios out of a seed: draws a stage, makes one of its candidates guilty, and
writes down what follows.

`make_pair(seed, fault)` gives a scenario and its twin: the same stage with another candidate guilty. Both are
pure functions of their arguments, whatever the process or the hash seed. Folders of scenarios are `splits`.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from chaos.anchors import anchors
from chaos.describe import complaint, described, path
from chaos.draft import Draft
from chaos.evidence import truth
from chaos.faults import Fault, Pool, catalogue
from chaos.metrics import STEP_MS, measure
from chaos.noise import Background
from chaos.phrases import Phrasebook
from chaos.plans import EVEN, Mix, pick_fault, pick_system
from chaos.reports import cause_sentence, distractors, evidence_rows, gold
from chaos.rows import Reporter
from chaos.sampling import draw_sample
from chaos.stage import WINDOW_MS, Candidate, Stage, draw_candidates, draw_rates
from chaos.topologies import grow
from chaos.traffic import Traffic, felt
from chaos.world import make_world

VERSION = "2"
LEAST_FELT = 25
"""Requests of users that the guilty candidate must hurt."""
ROUTINE_ROWS = (45, 90)
MOST_ATTEMPTS = 1000


@dataclass(frozen=True)
class Order:
    """What is asked for. `redraw` changes names and wordings and nothing else."""

    seed: int
    fault: str
    pool: Pool = "train"
    unseen: bool = False
    mix: Mix = EVEN
    redraw: int = 0
    metrics: bool = True


def make_scenario(order: Order) -> dict[str, Any]:
    """One scenario as the dictionary that becomes its file."""
    stage, traffic = _stage(order)
    return write(stage, order, traffic)


def make_pair(order: Order) -> tuple[dict[str, Any], dict[str, Any]]:
    """A scenario and its twin."""
    for attempt in range(MOST_ATTEMPTS):
        stage, first = _stage(order, attempt * MOST_ATTEMPTS)
        for partner in partners(stage):
            second = Traffic(stage, partner)
            if felt(second.runs) >= LEAST_FELT:
                one, two = write(stage, order, first), write(stage, order, second)
                one["provenance"]["twin"], two["provenance"]["twin"] = two["id"], one["id"]
                return one, two
    raise AssertionError(f"no twins for {order}; give its fault more places in data/systems.txt")


def make_control(order: Order) -> dict[str, Any]:
    """A scenario in which nobody is guilty."""
    stage, _ = _stage(order)
    return write(stage, order, Traffic(stage, None))


# ------------------------------------------------------------------------------------------------ the stage


def _stage(order: Order, first_attempt: int = 0) -> tuple[Stage, Traffic]:
    """A stage, and its traffic with the first candidate guilty."""
    for attempt in range(first_attempt, first_attempt + MOST_ATTEMPTS):
        rng = random.Random(f"{order.seed}/{attempt}")
        words = random.Random(f"{order.seed}/{attempt}/words/{order.redraw}")
        stage = _drawn(order, rng, words)
        if stage is None:
            continue
        traffic = Traffic(stage, stage.candidates[0])
        if felt(traffic.runs) >= LEAST_FELT:
            return stage, traffic
    raise AssertionError(f"no stage for {order}; give its fault more places in data/systems.txt")


def _drawn(order: Order, rng: random.Random, words: random.Random) -> Stage | None:
    topology = grow(pick_system(order.unseen, order.mix, rng), rng)
    world = make_world(topology, rng, words)
    faults: list[Fault] = pick_fault(order.unseen)
    drawn = draw_candidates(catalogue()[order.fault], faults, world, order.pool, rng, words)
    if drawn is None:
        return None
    candidates, moments = drawn
    rates = draw_rates(topology, candidates, rng)
    return Stage(rng.getrandbits(48), order.pool, world, candidates, rates, moments)


def partners(stage: Stage) -> list[Candidate]:
    """Candidates that may be guilty in the twin: best those that other flows notice, at another time."""
    topology = stage.world.topology
    users = [flow for flow in topology.flows if flow.kind == "user"]
    first = stage.candidates[0]
    mine = {id(flow) for flow in users if first.reaches(flow, topology)}

    def apart(one: Candidate) -> int:
        theirs = {id(flow) for flow in users if one.reaches(flow, topology)}
        return 2 * (not mine & theirs) + (mine != theirs) + (one.start_ms != first.start_ms)

    return sorted(stage.candidates[1:], key=apart, reverse=True)


# -------------------------------------------------------------------------------------------- writing it down


def write(stage: Stage, order: Order, traffic: Traffic) -> dict[str, Any]:
    """The scenario in which the traffic's candidate is guilty."""
    guilty = traffic.guilty
    draft = _draft(stage, order, traffic)
    rng = draft.rng
    rows = [draft.row(row) for row in draft.rows]
    flow, trouble = complaint(draft)
    evidence = evidence_rows(draft)
    known = truth(draft, evidence, flow)
    services = sorted(draft.names.values())
    rng.shuffle(services)
    found: dict[str, Any] = {
        "id": f"{rng.getrandbits(48):012x}",
        **described(draft, flow, trouble),
        "services": services,
        "logs": rows,
        "spans": draft.spans(),
        "metrics": _metrics(draft) if order.metrics else [],
        "topology": [
            {"caller": draft.names[caller], "callee": draft.names[callee]}
            for caller, callee in stage.world.topology.edges
        ],
        "events": [_event(draft, item) for item in draft.events],
        "baseline": {"start": draft.stamp(-WINDOW_MS), "end": draft.stamp(0)},
        "expected_root_cause": cause_sentence(draft, guilty) if guilty else "There is no fault; the right answer is unknown.",
        "ground_truth": {**known, "propagation_path": path(draft, flow)},
        "distractors": distractors(draft, rng),
        "gold_report": gold(draft, evidence, known["evidence_trace_ids"]),
        "provenance": {
            "generator": "chaos", "version": VERSION, "seed": order.seed,
            "topology": stage.world.topology.name,
            "unseen": order.unseen,
        },
    }  # fmt: skip
    return found


def _draft(stage: Stage, order: Order, traffic: Traffic) -> Draft:
    """Rows, events and kept requests. What twins share is drawn from dice that know
    nothing of the guilty one.
    """
    book = Phrasebook(order.pool)
    number = stage.candidates.index(traffic.guilty) if traffic.guilty else -1
    shared = random.Random(f"{stage.seed}/shared")
    inside = anchors(traffic)
    shared_words = random.Random(f"{stage.seed}/shared/words/{order.redraw}")
    background = Background(stage, inside, book, shared, shared_words)
    rows, events = background.rows(), background.events()
    origin = datetime(2026, 1, 5, tzinfo=UTC) + timedelta(
        minutes=shared.randrange(300 * 1440), seconds=shared.randrange(60)
    )
    own = random.Random(f"{stage.seed}/{number}")
    sample = draw_sample(traffic, inside.values(), own)
    reporter = Reporter(
        traffic, sample, book, own, random.Random(f"{stage.seed}/{number}/words/{order.redraw}")
    )
    rows += reporter.symptoms() + reporter.routine(own.randint(*ROUTINE_ROWS))
    rows = [row for row in rows if -WINDOW_MS <= row.at_ms <= WINDOW_MS + 20_000]
    rows.sort(key=lambda row: (row.at_ms, row.service, row.text))
    events.sort(key=lambda event: (event.at_ms, event.service))
    return Draft(stage, traffic, traffic.guilty, rows, events, sample, origin, own)


def _metrics(draft: Draft) -> list[dict[str, Any]]:
    start = draft.stamp(-WINDOW_MS)
    return [
        {
            "service": draft.names[service],
            "name": name,
            "start": start,
            "step_s": STEP_MS / 1000,
            "values": values,
        }
        for service, series in measure(draft.traffic).items()
        for name, values in series.items()
    ]


def _event(draft: Draft, item: Any) -> dict[str, Any]:
    name = draft.names[item.service]
    return {
        "id": f"{draft.rng.getrandbits(48):012x}",
        "timestamp": draft.stamp(item.at_ms),
        "service": name,
        "object": f"Deployment/{name}",
        "reason": item.reason,
        "message": item.message,
        "type": item.type,
        "count": item.count,
    }
