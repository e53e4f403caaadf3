"""The faults: where each can strike, how its effect travels, and what the struck service says about it.

A `Strike` is one way a fault acts: a mechanism (how the simulator spreads it), the roles it can hit, and the
decisive wordings, the only lines in a scenario that tell the cause. Each fault type has at least one strike,
each strike at least four wordings of 6 to 16 words. `{peer}` is the other service concerned; other `{names}`
are drawn by `values`. The faults themselves are data, in `faults_inside` and `faults_between`. No wording
carries its fault type's own name. What the victims say is in `simulate`.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

Mechanism = Literal[
    "slow_self",
    "fail_self",
    "unreached",
    "caller_edge",
    "caller_deadline",
    "slow_link",
    "bad_request",
    "bad_response",
    "flood",
    "cold_cache",
]
"""How a fault acts.

slow_self: the culprit answers late. fail_self: it answers with an error. unreached: callers cannot get
through to it. caller_edge: its calls to one peer never arrive. caller_deadline: it gives one peer too little
time. slow_link: its calls to one peer take long although the peer is quick. bad_request: it sends one peer
something that the peer refuses. bad_response: its answers cannot be read by who called. flood: it buries one
peer in calls, and everybody who needs that peer suffers. cold_cache: it answers with misses, and the store
behind its readers suffers.
"""


@dataclass(frozen=True)
class Strike:
    """One way a fault acts. `reason` is what callers see, where the mechanism leaves that open."""

    mechanism: Mechanism
    roles: tuple[str, ...]
    wordings: tuple[str, ...]
    cause: str
    """The canonical sentence's core, after 'In {service}, '."""
    reason: str = ""
    peer_roles: tuple[str, ...] = ()
    """Roles the peer may have; empty: any."""
    weight: float = 1.0


@dataclass(frozen=True)
class Fault:
    """A fault type of `project_types.FAULT_TYPES` and the ways it acts."""

    name: str
    strikes: tuple[Strike, ...]
    action: str
    """What the on-call should do."""
    mild: tuple[str, ...]
    """Harmless lines on the same subject: red herrings wherever they stand."""


INNER = ("service", "worker")
CALLEES = ("service", "worker", "store", "cache", "gateway")
"""Roles that a fault inside, or on the way to, a callee can hit."""

PARTNERS = ("paylane", "shipnow", "geogrid", "textwire", "bankhub", "skyfeed")
TABLES = ("entries", "items", "visits", "lines", "accounts_v2", "history")
FIELDS = ("total", "status", "quantity", "created", "region", "weight")
LOCKS = ("refresh", "totals", "session", "writer", "catalog", "batch")
FLAGS = ("fast_path", "new_rules", "bulk_read", "lean_mode", "two_step")

_CONSTANT = (
    "rev",
    "ver",
    "host",
    "port",
    "host2",
    "cap",
    "partner",
    "table",
    "field",
    "field2",
    "lock",
    "flag",
    "few",
    "limit",
    "quota",
    "deadline",
    "usual",
    "serial",
)


class Values(dict[str, object]):
    """Fills the braces of a wording. What describes the incident stays the same in every line; measurements
    differ.
    """

    def __init__(self, rng: random.Random, **known: object) -> None:
        super().__init__(known)
        self.rng = rng

    def __missing__(self, name: str) -> object:
        value = _draw(name, self.rng)
        if name in _CONSTANT:
            self[name] = value
        return value


def _draw(name: str, rng: random.Random) -> object:
    ranges: dict[str, tuple[int, int]] = {
        "k": (3, 9),
        "few": (2, 6),
        "n": (11, 49),
        "n2": (50, 99),
        "big": (1200, 9800),
        "rev": (110, 890),
        "port": (7000, 9900),
        "cap": (10, 60),
        "limit": (512, 3072),
        "high": (92, 99),
        "low": (1, 6),
        "mid": (14, 48),
        "short": (60, 190),
        "ms": (220, 780),
        "long": (2100, 8900),
        "quota": (3, 20),
        "deadline": (40, 90),
        "calm": (31, 64),
        "usual": (400, 900),
    }
    if name in ranges:
        return rng.randint(*ranges[name])
    if name in ("host", "host2"):
        return f"10.{rng.randint(1, 60)}.{rng.randint(1, 9)}.{rng.randint(2, 99)}"
    if name == "ver":
        return f"{rng.randint(2, 9)}.{rng.randint(10, 49)}"
    if name in ("hex", "hex2", "serial"):
        return f"{rng.randrange(16**4):04x}"
    lists = {
        "partner": PARTNERS,
        "table": TABLES,
        "field": FIELDS,
        "field2": ("amount", "state", "count", "zone"),
        "lock": LOCKS,
        "flag": FLAGS,
    }
    return rng.choice(lists[name])
