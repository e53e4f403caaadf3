"""Lays over a simulated run what makes it hard: red herrings, decoys, background jobs, and the decisive lines
themselves.

Red herrings have the levels, counts and timing of decisive lines, so that neither severity nor rarity gives
the cause away. A decoy is a decisive-looking line of another fault at a service that no failing request
touches. The few decisive lines say what broke; `compose` makes them the evidence.
"""

from __future__ import annotations

import random

from chaos import phrases
from chaos.catalogue import CATALOGUE, HELD_OUT
from chaos.faults import Values
from chaos.plans import WINDOW_MS
from chaos.simulate import Request, Row, Simulation, SpanRow

LEVELS = (("ERROR", "WARN"), ("WARN", "WARN"), ("WARN", "INFO"), ("INFO", "INFO"))
LEVEL_WEIGHTS = (0.26, 0.26, 0.22, 0.26)

APART_MS = 2500
"""Decisive lines lie at least this far apart, so that a search of one second shows each."""


def decisive(run: Simulation, rng: random.Random) -> list[Row]:
    """Two to four rows at the culprit, in one to three wordings, from shortly before the first failure on."""
    plan = run.plan
    struck = [request for request in run.requests if request.affected]
    wordings = rng.sample(plan.strike.wordings, rng.choices((1, 2, 3), (0.4, 0.45, 0.15))[0])
    levels = rng.choices(LEVELS, LEVEL_WEIGHTS)[0]
    rows: list[Row] = []
    for number in range(max(len(wordings), rng.randint(2, 4))):
        wording = wordings[number % len(wordings)]
        level = levels[min(number % len(wordings), 1)]
        row = _decisive_row(run, rng, struck, level, wording, first=number == 0)
        while any(abs(row.at_ms - other.at_ms) < APART_MS for other in rows):
            row = _decisive_row(run, rng, [], level, wording, first=False)
        rows.append(row)
    return rows


def _decisive_row(
    run: Simulation, rng: random.Random, struck: list[Request], level: str, wording: str, *, first: bool
) -> Row:
    """One row: inside a struck request, or on its own; the first one near the onset."""
    plan = run.plan
    message = wording.format_map(plan.values)
    spot = _spot(struck, plan.culprit, rng)
    if first or spot is None or rng.random() < 0.4:
        at = plan.onset_ms + (rng.uniform(-40_000, 4000) if first else rng.uniform(2000, 480_000))
        return Row(min(at, WINDOW_MS), plan.culprit, level, message, "decisive")
    request, span = spot
    at = span.start_ms + rng.uniform(0.2, 1.0) * span.duration_ms
    return Row(at, plan.culprit, level, message, "decisive", request, span)


def _spot(requests: list[Request], service: str, rng: random.Random) -> tuple[Request, SpanRow] | None:
    spots = [(request, span) for request in requests for span in request.spans if span.service == service]
    return rng.choice(spots) if spots else None


def herrings(run: Simulation, rng: random.Random) -> list[Row]:
    """Harmless lines near the fault, at most services, at most one kind at the culprit in most scenarios."""
    world, plan = run.world, run.plan
    mild = [wording for fault in CATALOGUE.values() for wording in fault.mild]
    mishaps, oddities = (
        rng.sample(phrases.MISHAPS, len(phrases.MISHAPS)),
        [*rng.sample(phrases.ODDITIES, 8), *rng.sample(mild, 8)],
    )
    rng.shuffle(oddities)
    others = [service for service in world.topology.roles if service != plan.culprit]
    chosen = rng.sample(others, min(len(others), rng.randint(4, 7)))
    chosen += rng.sample(chosen, min(len(chosen), rng.randint(1, 2)))
    if rng.random() < 0.75:
        chosen.append(plan.culprit)
    rows: list[Row] = []
    for service in chosen:
        level = rng.choices(("ERROR", "WARN", "INFO"), (0.24, 0.46, 0.30))[0]
        mishap = level == "ERROR" or rng.random() < 0.35
        wording = (mishaps if mishap else oddities).pop()
        rows += _repeat(run, rng, service, wording, level, rng.choice((1, 1, 2, 2, 3, 4, 7)), "herring")
    for caller, callee in rng.sample(world.topology.edges(), rng.randint(0, 2)):
        wording = rng.choice(phrases.TRANSIENT)
        rows += _repeat(
            run, rng, caller, wording, "WARN", rng.randint(1, 2), "herring", peer=world.names[callee]
        )
    return rows


def decoys(run: Simulation, rng: random.Random, share: float) -> list[Row]:
    """Sometimes: decisive-looking lines of another fault at a service that no affected request touches."""
    world, plan = run.world, run.plan
    touched = {span.service for request in run.requests if request.affected for span in request.spans} | {
        plan.culprit,
        plan.peer,
    }
    free = [service for service in world.topology.roles if service not in touched]
    if not free or rng.random() > share:
        return []
    service = rng.choice(free)
    fitting = [
        strike
        for name, fault in CATALOGUE.items()
        if name not in HELD_OUT and name != plan.fault.name
        for strike in fault.strikes
        if world.role(service) in strike.roles
    ]
    peers = [callee for caller, callee in world.topology.edges() if caller == service]
    peers = peers or [caller for caller, callee in world.topology.edges() if callee == service]
    known = {"peer": world.names[rng.choice(peers)], "clock": plan.values["clock"]}
    rows: list[Row] = []
    for wording in rng.sample(rng.choice(fitting).wordings, rng.randint(1, 2)):
        level = rng.choice(("ERROR", "WARN", "WARN", "INFO"))
        rows += _repeat(run, rng, service, wording, level, rng.randint(1, 2), "decoy", **known)
    return rows


def _repeat(
    run: Simulation,
    rng: random.Random,
    service: str,
    wording: str,
    level: str,
    times: int,
    kind: str,
    **known: object,
) -> list[Row]:
    values = Values(rng, **{"peer": "", "clock": "", **known})
    rows = []
    start = run.plan.onset_ms + rng.uniform(-9, 7) * 60_000
    for _ in range(times):
        at = min(max(start + rng.uniform(-2.5, 2.5) * 60_000, 0.0), WINDOW_MS)
        spans = [
            (request, span)
            for request in run.requests
            if abs(request.at_ms - at) < 60_000
            for span in request.spans
            if span.service == service
        ]
        row = Row(at, service, level, wording.format_map(values), kind)
        if spans and rng.random() < 0.5:
            row.request, row.span = rng.choice(spans)
            row.at_ms = row.span.start_ms + rng.random() * row.span.duration_ms
        rows.append(row)
    return rows


def jobs(run: Simulation, rng: random.Random) -> list[Row]:
    """Background work: every service writes one kind of line now and then."""
    rows = []
    for service, habit in run.world.habits.items():
        wording = phrases.JOBS[habit.style % len(phrases.JOBS)]
        at = rng.uniform(0, 240_000)
        while at < WINDOW_MS:
            rows.append(Row(at, service, "INFO", wording.format_map(Values(rng)), "routine"))
            at += rng.uniform(200_000, 700_000)
    return rows
