"""One system as a scenario shows it: drawn names, and habits that differ between services and scenarios.

Three styles of names: neutral words (`harbor`), compounds of them (`harbor-web`, `ts-harbor.v2`) and words of
the trade (`orders-svc`). A name tells neither role nor fault. Habits are the deadline and the everyday
trouble of each call, the base latency of each service, and how its logger writes. Names and wordings come
from dice of their own, so that a scenario can be made again with others (`redraw`).
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

from chaos.topologies import Node, Topology

_WORDS = """
amber anchor aspen atlas basil beacon birch bramble breeze brook canyon cedar cinder clover cobalt comet coral cove
crest larkspur dune ember fern finch fjord flint garnet glade granite grove harbor hazel heron indigo iris ivory jasper
juniper kestrel lagoon lantern larch lilac linden lotus lynx maple marble meadow mesa mistral moss nectar nova ochre
onyx opal orchid osprey otter pebble pine plover quartz quill raven reef robin saffron sage sierra slate sparrow
spruce tern thistle timber topaz tulip tundra umber valley velvet violet walnut willow wren zephyr
"""
NAMES = tuple(_WORDS.split())
COMPOUNDS = ("{}-web", "{}-svc", "{}-api", "ts-{}.v2", "{}-core", "{}.prod", "x-{}-eu", "{}-2")
TRADE = ("{}-svc", "ts-{}.v2", "{}-web", "{}-service", "{}.main", "{}-b")


@dataclass(frozen=True)
class Habit:
    """How a service behaves and writes."""

    base_ms: float
    failure_level: str
    style: int
    """Picks one of several wordings for each kind of line."""
    layout: int
    """Picks the format of its log lines."""
    pods: int
    """Instances that run."""


@dataclass(frozen=True)
class World:
    """A topology with names and habits."""

    topology: Topology
    names: dict[str, str]
    habits: dict[str, Habit]
    limits_ms: dict[tuple[str, str], float]
    """How long each caller waits for each callee."""
    troubles: dict[tuple[str, str], float]
    """Share of first attempts of each call that fail on any day."""
    skew_ms: dict[str, float]
    """How far the clocks of some services are off."""
    blind: frozenset[str]
    """Services that send no spans."""

    def role(self, service: str) -> str:
        """The role of a service key."""
        return self.topology.roles[service]


BASE_MS = {
    "edge": 4.0, "service": 12.0, "worker": 30.0, "store": 9.0, "cache": 2.0, "queue": 6.0, "gateway": 70.0,
    "job": 15.0,
}  # fmt: skip
LIMITS_MS = ((300, 400, 500, 600), (900, 1100, 1400), (2200, 2600, 3000), (4500, 5000, 6000))
"""Deadlines by how many calls lie below the callee."""


def make_world(topology: Topology, rng: random.Random, words: random.Random) -> World:
    """Draw habits with `rng`; names and styles of writing with `words`."""
    names = _names(topology, words)
    habits = {
        key: Habit(
            BASE_MS[role] * rng.uniform(0.6, 1.8),
            "ERROR" if rng.random() < 0.65 else "WARN",
            words.randrange(1000),
            words.randrange(1000),
            rng.randint(2, 6),
        )
        for key, role in topology.roles.items()
    }
    heights: dict[str, int] = {}
    for flow in topology.flows:
        for node in flow.nodes:
            heights[node.service] = max(heights.get(node.service, 0), _height(node))
    limits, troubles = {}, {}
    chronic = rng.sample(topology.edges, 2)
    for edge in topology.edges:
        limits[edge] = float(rng.choice(LIMITS_MS[min(heights[edge[1]], 3)]))
        troubles[edge] = rng.uniform(0.02, 0.05) if edge in chronic else rng.uniform(0.0003, 0.002)
    return World(topology, names, habits, limits, troubles, _skew(topology, rng), _blind(topology, rng))


def _height(node: Node) -> int:
    return 1 + max(map(_height, node.children)) if node.children else 0


def _names(topology: Topology, words: random.Random) -> dict[str, str]:
    style = words.random()
    keys = list(topology.roles)
    if style < 0.35:  # words of the trade
        bare = {key: re.sub(r"\d+$", "", key) for key in keys}
        shapes = words.choices(TRADE, k=2)
        named = {key: words.choice(shapes).format(bare[key]) for key in keys}
        return _distinct(named)
    drawn = words.sample(NAMES, len(keys))
    if style < 0.65:
        return dict(zip(keys, drawn, strict=True))
    shapes = words.choices(COMPOUNDS, k=3)
    return {key: words.choice(shapes).format(word) for key, word in zip(keys, drawn, strict=True)}


def _distinct(named: dict[str, str]) -> dict[str, str]:
    """The names, with a number behind those that occurred before."""
    seen: dict[str, int] = {}
    found = {}
    for key, name in named.items():
        seen[name] = seen.get(name, 0) + 1
        found[key] = name if seen[name] == 1 else f"{name}-{seen[name]}"
    return found


def _skew(topology: Topology, rng: random.Random) -> dict[str, float]:
    """In one of five scenarios the clocks of one to three services are off by 20 to 120 s."""
    if rng.random() > 0.2:
        return {}
    off = rng.sample(list(topology.roles), rng.randint(1, 3))
    return {service: rng.choice((-1, 1)) * rng.uniform(20_000, 120_000) for service in off}


def _blind(topology: Topology, rng: random.Random) -> frozenset[str]:
    """In one of three scenarios one or two services send no spans."""
    inner = [key for key, role in topology.roles.items() if role not in ("edge", "job")]
    return frozenset(rng.sample(inner, rng.randint(1, 2)) if rng.random() < 0.33 else ())
