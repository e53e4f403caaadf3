"""Makes one scenario out of a seed: draws everything, runs the simulation, adds noise, ids, ground truth and
reports.

`make_scenario(seed, fault, unseen)` is a pure function: the same arguments give the same bytes, whatever the
process or the hash seed. Folders of scenarios are `splits`.
"""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

from chaos import noise, phrases
from chaos.catalogue import CATALOGUE
from chaos.draft import Draft
from chaos.faults import Values
from chaos.plans import EVEN, WINDOW_MS, Mix, make_plan, pick_strike
from chaos.reports import reports
from chaos.simulate import Request, Row, Simulation, SpanRow
from chaos.topologies import Call, Flow, pairs
from chaos.world import World, make_world

VERSION = "1"
ROWS_LOW, ROWS_HIGH = 150, 360
SPANS_LOW, SPANS_HIGH = 30, 68


def make_scenario(seed: int, fault: str, unseen: bool = False, mix: Mix = EVEN) -> dict[str, Any]:
    """One scenario as the dictionary that becomes its file."""
    rng = random.Random(seed)
    kind = CATALOGUE[fault]
    strike, topology = pick_strike(kind, unseen, mix, rng)
    origin = datetime(2026, 1, 5, tzinfo=UTC) + timedelta(
        minutes=rng.randrange(300 * 1440), seconds=rng.randrange(60)
    )
    onset_ms = rng.uniform(8, 15) * 60_000
    clock = (origin + timedelta(milliseconds=onset_ms)).strftime("%H:%M")
    while True:
        world = make_world(topology, rng)
        plan = make_plan(kind, strike, world, rng, clock, onset_ms)
        requests = rng.randint(40, 58)
        run = Simulation(world, plan, rng, chatter=_chatter(world, requests, rng))
        _traffic(run, rng, requests)
        if _felt(run):
            break
    rows = [
        *run.rows,
        *noise.decisive(run, rng),
        *noise.herrings(run, rng),
        *noise.decoys(run, rng, 0.2 if unseen else 0.45),
        *noise.jobs(run, rng),
    ]
    rows = [row for row in rows if row.kind == "decisive" or 0 <= row.at_ms <= WINDOW_MS + 30_000]
    while len(rows) < ROWS_LOW:
        rows += noise.jobs(run, rng)
    rows = _thinned(rows, rng)
    rows.sort(key=lambda row: (row.at_ms, row.service, row.message))
    draft = _identify(run, rows, origin, rng)
    return _as_dict(draft, seed, unseen, rng)


def _felt(run: Simulation) -> bool:
    """Whether users notice: enough requests fail, lack something, or crawl because of the fault."""
    hurt = [request for request in run.requests if request.affected and (request.failed or request.degraded)]
    return len(hurt) >= 6


def _thinned(rows: list[Row], rng: random.Random) -> list[Row]:
    """At most ROWS_HIGH rows, by leaving out routine lines."""
    routine = [row for row in rows if row.kind == "routine"]
    gone = {id(row) for row in rng.sample(routine, min(len(routine), max(0, len(rows) - ROWS_HIGH)))}
    return [row for row in rows if id(row) not in gone]


def _chatter(world: World, requests: int, rng: random.Random) -> float:
    """The share of operations that write a routine line, so that the scenario has 150 to 350 rows or so."""
    flows = world.topology.flows
    operations = requests * sum(1 + len(pairs(flow.root)) for flow in flows) / len(flows)
    return min(0.8, rng.uniform(95, 190) / operations)


def _traffic(run: Simulation, rng: random.Random, count: int) -> None:
    """Requests all through the window; flows that the fault can reach get more than half of them."""
    flows = run.world.topology.flows
    near = [
        flow for flow in flows if _reaches(flow.root, run.plan.peer) or _reaches(flow.root, run.plan.culprit)
    ] or flows
    for number in range(count):
        at = WINDOW_MS * (number + rng.random()) / count
        run.send(rng.choice(near if rng.random() < 0.55 else flows), at)


def _reaches(call: Call, service: str) -> bool:
    return call.service == service or any(_reaches(child, service) for child in call.children)


def _identify(run: Simulation, rows: list[Row], origin: datetime, rng: random.Random) -> Draft:
    sampled = _sample(run, rng)
    kept = {id(request) for request in sampled}
    for row in rows:
        if id(row.request) not in kept:
            row.request = row.span = None
    row_ids = {id(row): f"{rng.getrandbits(48):012x}" for row in rows}
    trace_ids = {id(request): f"{rng.getrandbits(64):016x}" for request in sampled}
    span_ids = {id(span): f"{rng.getrandbits(32):08x}" for request in sampled for span in request.spans}
    return Draft(run, rows, sampled, row_ids, trace_ids, span_ids, origin)


def _sample(run: Simulation, rng: random.Random) -> list[Request]:
    """The requests whose spans are kept: about half of them hurt by the fault, 30 to 68 spans in all."""
    hurt = [request for request in run.requests if request.affected and (request.failed or request.degraded)]
    fine = [request for request in run.requests if not request.affected]
    rng.shuffle(hurt)
    rng.shuffle(fine)
    chosen: list[Request] = []
    spans = 0
    for turn in range(24):
        pool = (hurt, fine)[turn % 2] or hurt or fine
        if not pool or spans >= rng.randint(SPANS_LOW + 10, SPANS_HIGH):
            break
        request = pool.pop()
        if spans + len(request.spans) <= SPANS_HIGH + 8:
            chosen.append(request)
            spans += len(request.spans)
    return sorted(chosen, key=lambda request: request.at_ms)


def _as_dict(draft: Draft, seed: int, unseen: bool, rng: random.Random) -> dict[str, Any]:
    run, world, plan = draft.run, draft.run.world, draft.run.plan
    names, topology = world.names, world.topology
    evidence = [row for row in draft.rows if row.kind == "decisive"]
    traces = [request for request in draft.sampled if request.affected]
    through = [
        request for request in traces if any(span.service == plan.culprit for span in request.spans)
    ] or traces
    flow = Counter(request.flow.purpose for request in run.requests if request.affected).most_common(1)[0][0]
    complaint = next(item for item in topology.flows if item.purpose == flow)
    path = _path(world, run, complaint)
    told = reports(draft, evidence, through, rng)
    services = list(names.values())
    rng.shuffle(services)
    return {
        "id": f"{rng.getrandbits(48):012x}",
        "description": _description(run, complaint, rng),
        "time_hint": rng.choice(phrases.HINTS).format(at=draft.clock(_vague(plan.onset_ms, rng))),
        "services": services,
        "logs": [_row(row, draft) for row in draft.rows],
        "spans": [_span(span, request, draft) for request in draft.sampled for span in request.spans],
        "topology": [
            {"caller": names[caller], "callee": names[callee]} for caller, callee in topology.edges()
        ],
        "expected_root_cause": f"In {names[plan.culprit]}, {plan.strike.cause.format_map(plan.values)}.",
        "ground_truth": {
            "service": names[plan.culprit],
            "fault_type": plan.fault.name,
            "evidence_log_ids": [draft.row_ids[id(row)] for row in evidence],
            "evidence_trace_ids": [draft.trace_ids[id(request)] for request in through],
            "propagation_path": [names[service] for service in path],
        },
        **told,
        "provenance": {
            "generator": "chaos",
            "version": VERSION,
            "seed": seed,
            "topology": topology.name,
            "unseen": unseen,
        },
    }


def _vague(onset_ms: float, rng: random.Random) -> float:
    """People notice late, or remember badly: up to 9 minutes off, rounded to 5 minutes half of the time."""
    return onset_ms + rng.uniform(-5, 9) * 60_000


def _row(row: Row, draft: Draft) -> dict[str, Any]:
    known: dict[str, Any] = {
        "id": draft.row_ids[id(row)],
        "timestamp": draft.stamp(row.at_ms),
        "service": draft.run.world.names[row.service],
        "level": row.level,
        "message": row.message,
    }
    if row.request is not None:
        known["trace_id"] = draft.trace_ids[id(row.request)]
        if row.span is not None:
            known["span_id"] = draft.span_ids[id(row.span)]
    return known


def _span(span: SpanRow, request: Request, draft: Draft) -> dict[str, Any]:
    known: dict[str, Any] = {"trace_id": draft.trace_ids[id(request)], "span_id": draft.span_ids[id(span)]}
    if span.parent is not None:
        known["parent_span_id"] = draft.span_ids[id(span.parent)]
    return {
        **known,
        "service": draft.run.world.names[span.service],
        "operation": span.operation,
        "start": draft.stamp(span.start_ms),
        "duration_ms": round(span.duration_ms, 1),
        "status": span.status,
    }


def _path(world: World, run: Simulation, complaint: Flow) -> list[str]:
    """From the culprit to the service that users meet, against the direction of calls."""
    plan = run.plan
    via = [plan.culprit]
    if plan.strike.mechanism == "flood":
        via.append(plan.peer)
    elif plan.strike.mechanism == "cold_cache":
        via.extend(plan.victims[:1])
    route = (
        _route(complaint.root, via[-1]) or _route(complaint.root, plan.culprit) or [complaint.root.service]
    )
    return list(dict.fromkeys([*via, *reversed(route)]))


def _route(call: Call, service: str) -> list[str]:
    """Services from `call` down to the first call of `service`, or nothing."""
    if call.service == service:
        return [service]
    for child in call.children:
        if below := _route(child, service):
            return [call.service, *below]
    return []


def _description(run: Simulation, complaint: Flow, rng: random.Random) -> str:
    """What a user or a pager says: the flow, the trouble, perhaps the entrance; never the culprit."""
    hurt = [request for request in run.requests if request.affected]
    failed = [request for request in hurt if request.failed]
    waits = sum(request.spans[0].duration_ms for request in failed) / max(1, len(failed))
    trouble = (
        "partial"
        if 2 * len(failed) < len(hurt)
        else "slow"
        if waits > 1500 and rng.random() < 0.7
        else "error"
    )
    purpose = complaint.purpose
    text = rng.choice(phrases.TROUBLE[trouble]).format_map(
        Values(rng, flow=purpose, Flow=purpose[0].upper() + purpose[1:])
    )
    text = rng.choice(phrases.REPORTS).format(trouble=text)
    edge = complaint.root.service
    if edge != run.plan.culprit and rng.random() < 0.5:
        text += rng.choice(phrases.ENTRANCE).format(edge=run.world.names[edge])
    return text[0].upper() + text[1:]
