"""How people tell of the incident, and the way of the trouble from the culprit to them.

The description is a user's: it says what does not work, sometimes where users come in, and a time that can be
minutes off in either direction. It never names the culprit.
"""

from __future__ import annotations

import random
from collections import Counter

from chaos.draft import Draft
from chaos.faults import Values
from chaos.phrases import speech
from chaos.topologies import Flow, Node


def complaint(draft: Draft) -> tuple[Flow, str]:
    """The flow that users complain about, and the kind of trouble."""
    users = [run for run in draft.traffic.runs if run.flow.kind == "user"]
    if draft.guilty is None:
        return draft.rng.choice(users).flow, "quiet"
    hurt = Counter({run.number: int((run.hurt & (run.failed | run.slow)).sum()) for run in users})
    run = draft.traffic.runs[hurt.most_common(1)[0][0]]
    failed = int((run.hurt & run.failed).sum())
    waits = float(run.ops[0].ms[run.hurt].mean())
    crawls = 2 * failed < hurt[run.number] or (waits > 1500 and draft.rng.random() < 0.5)
    return run.flow, "slow" if crawls else "error"


def described(draft: Draft, flow: Flow, trouble: str) -> dict[str, str]:
    """`description` and `time_hint`."""
    rng, purpose = draft.rng, flow.purpose
    known = Values(rng, flow=purpose, Flow=purpose[0].upper() + purpose[1:])
    text = rng.choice(speech(trouble)).format_map(known)
    text = rng.choice(speech("reports")).format(trouble=text)
    edge = flow.root.service
    if rng.random() < 0.6 and not (draft.guilty and edge == draft.guilty.culprit):
        text += rng.choice(speech("entrance")).format(edge=draft.names[edge])
    at = draft.guilty.start_ms if draft.guilty else rng.choice(draft.stage.clock_ms)
    hint = rng.choice(speech("hints")).format(at=draft.clock(_vague(at, rng)))
    return {"description": text[0].upper() + text[1:], "time_hint": hint}


def _vague(onset_ms: float, rng: random.Random) -> float:
    """People notice late, or remember badly: up to 7 minutes off."""
    return onset_ms + rng.uniform(-4, 7) * 60_000


def path(draft: Draft, flow: Flow) -> list[str]:
    """From the culprit to the service that users meet, against the direction of calls."""
    one = draft.guilty
    if one is None:
        return []
    via = [one.culprit, *(one.hurts[:1] if one.how.behind else ())]
    route = _route(flow.nodes[0], via[-1]) or _route(flow.nodes[0], one.culprit) or [flow.root.service]
    return [draft.names[key] for key in dict.fromkeys([*via, *reversed(route)])]


def _route(node: Node, service: str) -> list[str]:
    """Services from `node` down to the first call of `service`, or nothing."""
    if node.service == service:
        return [service]
    for child in node.children:
        if below := _route(child, service):
            return [node.service, *below]
    return []
