"""Draws a scenario's fault: topology, strike, culprit, peer, moment and strength, from weights that are data.

`Mix` holds the weights; a request file can replace them (`read_mix`). What a plan does to requests is in
`simulate`.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from chaos.catalogue import CATALOGUE, HELD_OUT
from chaos.faults import Fault, Strike, Values
from chaos.simulate import Plan
from chaos.topologies import ROLES, Call, Topology, pairs, topologies
from chaos.world import World
from project_types import ConfigurationError

WINDOW_MS = 26 * 60_000.0
DEPTH_WEIGHTS = (0.2, 0.4, 1.0)
"""How likely the culprit takes users' requests itself, is called by such a service, or lies deeper."""
ENDS_OK: dict[str, float] = {"slow_link": 0.35, "caller_deadline": 0.3}
"""How often an abandoned callee's span ends as ok, by mechanism; 0.8 otherwise."""


@dataclass(frozen=True)
class Mix:
    """Sampling weights by name; a name that is absent weighs 1."""

    faults: Mapping[str, float] = field(default_factory=dict)
    topologies: Mapping[str, float] = field(default_factory=dict)


EVEN = Mix()
"""Every fault type and topology equally often."""


def read_mix(path: Path) -> Mix:
    """Read weights from a JSON file `{"faults": {name: weight}, "topologies": {name: weight}}`. Raises
    ConfigurationError.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as trouble:
        raise ConfigurationError(
            f'{path}: cannot be read as JSON ({trouble}); give a file like {{"faults": {{"disk_full": 3}}}}'
        ) from trouble
    known: dict[str, Iterable[str]] = {"faults": CATALOGUE, "topologies": topologies()}
    if not isinstance(data, dict) or set(data) - set(known):
        raise ConfigurationError(f"{path}: expected an object with the keys 'faults' and 'topologies' only")
    for kind, weights in data.items():
        if not isinstance(weights, dict):
            raise ConfigurationError(f'{path}: {kind} must map names to weights, like {{"disk_full": 3}}')
        for name, weight in weights.items():
            if name not in known[kind]:
                raise ConfigurationError(
                    f"{path}: {kind}: unknown name {name!r}; known: {', '.join(known[kind])}"
                )
            if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight < 1e6:
                raise ConfigurationError(
                    f"{path}: {kind}.{name}: weight must be a number from 0 up, not {weight!r}"
                )
    return Mix(data.get("faults", {}), data.get("topologies", {}))


def schedule(count: int, unseen: bool, mix: Mix, rng: random.Random) -> list[str]:
    """`count` fault types whose shares follow the weights as closely as whole numbers can, in a drawn order."""
    names = [name for name in CATALOGUE if (name in HELD_OUT) == unseen]
    weights = {name: mix.faults.get(name, 1.0) for name in names}
    total = sum(weights.values())
    if total <= 0:
        raise ConfigurationError(
            "every fault type of this split weighs 0; give at least one a positive weight"
        )
    rng.shuffle(names)
    given = dict.fromkeys(names, 0)
    for made in range(1, count + 1):
        neediest = max(names, key=lambda name: weights[name] * made / total - given[name])
        given[neediest] += 1
    drawn = [name for name in names for _ in range(given[name])]
    rng.shuffle(drawn)
    return drawn


def pick_strike(fault: Fault, unseen: bool, mix: Mix, rng: random.Random) -> tuple[Strike, Topology]:
    """A strike of the fault and a topology that has a place for it."""
    systems = [
        system
        for system in topologies().values()
        if system.held_out == unseen and mix.topologies.get(system.name, 1.0) > 0
    ]
    strikes = list(fault.strikes)
    while strikes:
        strike = rng.choices(strikes, [strike.weight for strike in strikes])[0]
        fitting = [system for system in systems if places(strike, system)]
        if fitting:
            return strike, rng.choices(fitting, [mix.topologies.get(system.name, 1.0) for system in fitting])[
                0
            ]
        strikes.remove(strike)
    raise ConfigurationError(
        f"no topology with a positive weight has a place for fault {fault.name}; give more topologies weight"
    )


def places(strike: Strike, topology: Topology) -> list[tuple[str, str]]:
    """Where a strike can hit: (culprit, peer) pairs. The peer is the other service that the mechanism
    concerns.
    """
    roles, edges = topology.roles, topology.edges()
    how = strike.mechanism
    if how in ("caller_edge", "caller_deadline", "slow_link", "bad_request"):
        plain = ("service", "worker", "store", "gateway") if how == "bad_request" else ROLES
        return [pair for pair in edges if roles[pair[0]] in strike.roles and roles[pair[1]] in plain]
    if how == "flood":
        wide = strike.peer_roles or ("service", "store", "gateway", "worker")
        return [pair for pair in edges if roles[pair[0]] in strike.roles and roles[pair[1]] in wide]
    if how == "cold_cache":
        return [
            (callee, caller)
            for caller, callee in edges
            if roles[callee] == "cache" and stores_behind(callee, topology)
        ]
    if strike.peer_roles:
        called = {callee for _, callee in edges}
        return [
            pair
            for pair in edges
            if pair[0] in called and roles[pair[0]] in strike.roles and roles[pair[1]] in strike.peer_roles
        ]
    return [(callee, caller) for caller, callee in edges if roles[callee] in strike.roles]


def stores_behind(cache: str, topology: Topology) -> list[str]:
    """Stores that the readers of `cache` fall back on."""
    readers = [caller for caller, callee in topology.edges() if callee == cache]
    found = [
        callee.service
        for flow in topology.flows
        for reader, _ in pairs(flow.root)
        if reader.service in readers
        for _, callee in pairs(reader)
        if topology.roles[callee.service] == "store"
    ]
    return list(dict.fromkeys(found))


def depths(topology: Topology) -> dict[str, int]:
    """How many calls lie between the user and each service, at the most."""
    found: dict[str, int] = {}

    def walk(call: Call, depth: int) -> None:
        found[call.service] = max(depth, found.get(call.service, 0))
        for child in call.children:
            walk(child, depth + 1)

    for flow in topology.flows:
        walk(flow.root, 0)
    return found


def make_plan(
    fault: Fault, strike: Strike, world: World, rng: random.Random, clock: str, onset_ms: float
) -> Plan:
    """Draw the rest. Services far from the users are struck more often than those that users meet."""
    spots = places(strike, world.topology)
    culprits = sorted({culprit for culprit, _ in spots})
    depth = depths(world.topology)
    likely = [DEPTH_WEIGHTS[min(depth[culprit], 2)] for culprit in culprits]
    culprit = rng.choices(culprits, likely)[0]
    peer = rng.choice([peer for who, peer in spots if who == culprit])
    values = Values(rng, peer=world.names[peer], svc=world.names[culprit], clock=clock)
    longest = rng.uniform(4500, 9500)
    return Plan(
        fault,
        strike,
        culprit,
        peer,
        values,
        onset_ms,
        share=rng.uniform(0.6, 0.95),
        late_ms=(2200, longest),
        ends_ok=rng.random() < ENDS_OK.get(strike.mechanism, 0.8),
        inferred=rng.random() < (0.7 if strike.mechanism == "caller_edge" else 0.15),
        victims=tuple(stores_behind(culprit, world.topology)) if strike.mechanism == "cold_cache" else (),
    )
