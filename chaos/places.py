"""Where a fault can strike in a system, whom it makes suffer, and which flows notice.

A place is a culprit and a peer, the other service that the mechanism concerns. Sufferers are the services
whose callers get failures or wait. Nothing here is drawn.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from chaos.faults import Strike
from chaos.mechanisms import MECHANISMS
from chaos.topologies import Flow, Topology


class Place(NamedTuple):
    """Where a strike hits."""

    culprit: str
    peer: str


CALLED = ("service", "worker", "store", "cache", "queue", "gateway")


def places(strike: Strike, topology: Topology) -> list[Place]:
    """Every place for a strike. A culprit that others call is never the entry service."""
    found = [
        place for place in _fitting(strike, topology) if place.culprit in topology.depths or _job(strike)
    ]
    return list(dict.fromkeys(found))


def _job(strike: Strike) -> bool:
    return "job" in strike.roles


def _fitting(strike: Strike, topology: Topology) -> Iterable[Place]:
    roles, how = topology.roles, MECHANISMS[strike.mechanism]
    peer_roles = strike.peer_roles or CALLED
    for caller, callee in topology.edges:
        if strike.mechanism == "cold_cache":
            if roles[callee] == "cache" and roles[caller] != "job" and victims(callee, topology):
                yield Place(callee, caller)
        elif how.inner or how.behind or strike.peer_roles:
            if roles[caller] in strike.roles and roles[callee] in peer_roles:
                yield Place(caller, callee)
        elif roles[callee] in strike.roles and roles[caller] != "job":
            yield Place(callee, caller)


def victims(cache: str, topology: Topology) -> tuple[str, ...]:
    """Stores that the readers of `cache` fall back on."""
    readers = {
        caller for caller, callee in topology.edges if callee == cache and topology.roles[caller] != "job"
    }
    found = [
        callee for caller, callee in topology.edges if caller in readers and topology.roles[callee] == "store"
    ]
    return tuple(dict.fromkeys(found))


def sufferers(strike: Strike, place: Place, topology: Topology) -> tuple[str, ...]:
    """The services whose callers feel the fault."""
    if strike.mechanism == "cold_cache":
        return victims(place.culprit, topology)
    return (place.peer,) if MECHANISMS[strike.mechanism].behind else (place.culprit,)


def reaches(strike: Strike, place: Place, flow: Flow, topology: Topology) -> bool:
    """Whether requests of a flow can be hit by the fault at full strength."""
    how = MECHANISMS[strike.mechanism]
    if how.inner:
        return (place.culprit, place.peer) in flow.edges
    return any(service in flow.services for service in sufferers(strike, place, topology))
