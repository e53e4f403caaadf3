"""What a ranker is measured on: generated incidents, seen and unseen, and the same ones
with something taken away.

Generated slices come from the simulator's own orders: a fault type that train never shows in systems that it
does, the other way round, and twins. The hard slices change the incident and never its answer.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from functools import partial
from typing import Any, NamedTuple

from chaos.compose import Order, make_pair
from chaos.faults import catalogue
from project_types import Incident, Scenario


class Generated(NamedTuple):
    """A slice that the simulator makes."""

    new_fault: bool
    new_system: bool


GENERATED: Mapping[str, Generated] = {
    "seen": Generated(False, False),
    "unseen faults": Generated(True, False),
    "unseen systems": Generated(False, True),
    "unseen both": Generated(True, True),
}
_FIRST_SEED = 9 << 48
"""Above the seeds of every split, so no slice meets one."""


def generated(name: str, count: int, seed: int) -> Iterator[Scenario]:
    """Yield `count` scenarios of a slice, twins behind each other."""
    kind, rng = GENERATED[name], random.Random(f"{name}/{seed}")
    faults = [fault.name for fault in catalogue().values() if fault.held_out == kind.new_fault]
    made = 0
    for number in range(count):
        order = Order(_FIRST_SEED + seed * 100_000 + number, rng.choice(faults), "test", kind.new_system)
        try:
            pair = make_pair(order)
        except AssertionError:  # this fault has no place in such a system
            continue
        for one in pair:
            if made < count:
                made += 1
                yield Scenario.model_validate(one)
        if made >= count:
            return


Change = Callable[[Incident, random.Random], Incident]


def without(name: str, incident: Incident, _: random.Random) -> Incident:
    """Return the incident without a kind of data; without logs it has no events either."""
    gone: dict[str, Any] = {name: ()}
    return incident.model_copy(update=gone | ({"events": ()} if name == "logs" else {}))


def renamed(incident: Incident, rng: random.Random) -> Incident:
    """Return the incident with other names, everywhere they stand in full."""
    fresh = [f"unit-{number:03d}" for number in rng.sample(range(1000), len(incident.services))]
    names = dict(zip(incident.services, fresh, strict=True))
    text = incident.model_dump_json()
    for old in sorted(names, key=len, reverse=True):
        text = text.replace(f'"{old}"', f'"{names[old]}"')
    again = Incident.model_validate_json(text)
    rows = [row.model_copy(update={"message": _replaced(row.message, names)}) for row in again.logs]
    return again.model_copy(update={"logs": tuple(rows), "description": _replaced(again.description, names)})


def _replaced(text: str, names: Mapping[str, str]) -> str:
    for old in sorted(names, key=len, reverse=True):
        text = text.replace(old, names[old])
    return text


def half_blind(incident: Incident, rng: random.Random) -> Incident:
    """Return the incident with half of its services sending no spans."""
    blind = set(rng.sample(incident.services, len(incident.services) // 2))
    return incident.model_copy(
        update={"spans": tuple(one for one in incident.spans if one.service not in blind)}
    )


def clocks_off(incident: Incident, rng: random.Random) -> Incident:
    """Return the incident with the clocks of a third of the services off by 2 to 5
    minutes, rows and spans alike.
    """
    off = rng.sample(incident.services, max(1, len(incident.services) // 3))
    late = {name: timedelta(seconds=rng.choice((-1, 1)) * rng.uniform(120, 300)) for name in off}
    zero = timedelta()
    logs = tuple(
        row.model_copy(update={"timestamp": row.timestamp and row.timestamp + late.get(row.service, zero)})
        for row in incident.logs
    )
    spans = tuple(
        one.model_copy(update={"start": one.start + late.get(one.service, zero)}) for one in incident.spans
    )
    return incident.model_copy(update={"logs": logs, "spans": spans})


def no_description(incident: Incident, _: random.Random) -> Incident:
    """Return the incident with a text that says nothing."""
    return incident.model_copy(update={"description": "Something is wrong."})


CHANGES: Mapping[str, Change] = {
    "no traces": partial(without, "spans"),
    "no metrics": partial(without, "metrics"),
    "no logs": partial(without, "logs"),
    "renamed services": renamed,
    "half without traces": half_blind,
    "clocks off": clocks_off,
    "alert says nothing": no_description,
}


def changed(scenario: Scenario, change: Change) -> Scenario:
    """Return the scenario with its incident changed. Its truth names services by their
    place when they get new names.
    """
    rng = random.Random(scenario.id)
    incident: Incident = change(scenario.incident, rng)
    names = dict(zip(scenario.services, incident.services, strict=True))
    truth = scenario.ground_truth
    moved = truth.model_copy(update={
        "service": names.get(truth.service, truth.service),
        "propagation_path": tuple(names[name] for name in truth.propagation_path),
    })  # fmt: skip
    fields = {name: getattr(incident, name) for name in Incident.model_fields}
    return scenario.model_copy(update=fields | {"ground_truth": moved})
