"""One system as a scenario shows it: drawn names, and habits that differ between services and scenarios.

Names come from a pool of neutral words, so that a name tells neither role nor fault. Habits are the
deadlines, tries and fallbacks of each call, the base latency of each service, and which of several wordings a
service's logger uses.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from chaos.topologies import Call, Topology, pairs

_WORDS = """
amber anchor aspen atlas basil beacon birch bramble breeze brook canyon cedar cinder clover cobalt comet coral cove
crest drift dune ember fern finch fjord flint garnet glade granite grove harbor hazel heron indigo iris ivory jasper
juniper kestrel lagoon lantern larch lilac linden lotus lynx maple marble meadow mesa mistral moss nectar nova ochre
onyx opal orchid osprey otter pebble pine plover quartz quill raven reef robin saffron sage sierra slate sparrow
spruce tern thistle timber topaz tulip tundra umber valley velvet violet walnut willow wren zephyr
"""
NAMES = tuple(_WORDS.split())
SUFFIXES = ("hub", "core", "main", "yard", "bay")


@dataclass(frozen=True)
class Policy:
    """How a caller treats one callee."""

    deadline_ms: int
    tries: int
    fallback: bool


@dataclass(frozen=True)
class Habit:
    """How a service behaves and writes."""

    base_ms: float
    failure_level: str
    style: int
    """Picks one of several wordings for each kind of line."""


@dataclass(frozen=True)
class World:
    """A topology with names and habits."""

    topology: Topology
    names: dict[str, str]
    habits: dict[str, Habit]
    policies: dict[tuple[str, str], Policy]

    def role(self, service: str) -> str:
        """The role of a service key."""
        return self.topology.roles[service]


BASE_MS = {
    "edge": 4.0,
    "service": 12.0,
    "worker": 30.0,
    "store": 9.0,
    "cache": 2.0,
    "queue": 6.0,
    "gateway": 80.0,
}


def make_world(topology: Topology, rng: random.Random) -> World:
    """Draw names and habits for a topology."""
    words = rng.sample(NAMES, len(topology.roles))
    names = {
        key: f"{word}-{rng.choice(SUFFIXES)}" if rng.random() < 0.1 else word
        for key, word in zip(topology.roles, words, strict=True)
    }
    habits = {
        key: Habit(
            BASE_MS[role] * rng.uniform(0.6, 1.8),
            "ERROR" if rng.random() < 0.65 else "WARN",
            rng.randrange(1000),
        )
        for key, role in topology.roles.items()
    }
    heights = {callee.service: _height(callee) for flow in topology.flows for _, callee in pairs(flow.root)}
    policies = {}
    for caller, callee in topology.edges():
        choices = ((800, 1000, 1500), (1500, 2000, 2500), (3000, 4000, 5000))[min(heights[callee], 2)]
        tries = 2 if rng.random() < 0.18 else 1
        policies[caller, callee] = Policy(rng.choice(choices), tries, rng.random() < 0.08)
    return World(topology, names, habits, policies)


def _height(call: Call) -> int:
    return 1 + max(map(_height, call.children)) if call.children else 0
