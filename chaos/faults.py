"""The faults as data: where each can strike, how its effect travels, and what the struck service writes.

`data/faults/<family>.toml` holds them. A strike is one way a fault acts: a mechanism (`mechanisms`), the
roles it can hit, and the sentence that names it. The wordings are all that a service ever writes about the
fault. They stand in a train and a test list that share nothing, and each is written by harmless decoys as
well as by culprits. A fault type without train wordings is held out: only the test split shows it.
"""

from __future__ import annotations

import random
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from project_types import FAULT_TYPES

Pool = Literal["train", "test"]
"""Which of the two lists of wordings a split uses."""
DATA = Path(__file__).parent / "data"


@dataclass(frozen=True)
class Strike:
    """One way a fault acts. `reason` is what callers see, where the mechanism leaves that open."""

    mechanism: str
    roles: tuple[str, ...]
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
    metrics: Mapping[str, float]
    """The level that a metric of the culprit reaches when the fault is in full effect."""
    wordings: Mapping[Pool, tuple[str, ...]]

    @property
    def held_out(self) -> bool:
        """Whether only the test split shows it."""
        return not self.wordings["train"]


def _fault(name: str, data: Mapping[str, Any]) -> Fault:
    wordings: dict[Pool, tuple[str, ...]] = {"train": tuple(data["train"]), "test": tuple(data["test"])}
    return Fault(name, tuple(map(_strike, data["strikes"])), data["action"], data["metrics"], wordings)


def _strike(data: Mapping[str, Any]) -> Strike:
    known: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in data.items()
    }
    return Strike(**known)


@cache
def catalogue() -> Mapping[str, Fault]:
    """Every fault type of `project_types.FAULT_TYPES`, in its order."""
    found: dict[str, Fault] = {}
    for path in sorted((DATA / "faults").glob("*.toml")):
        for name, data in tomllib.loads(path.read_text(encoding="utf-8")).items():
            found[name] = _fault(name, data)
    return {name: found[name] for name in FAULT_TYPES}


# ------------------------------------------------------------------------------------------- filling wordings

LISTS: Mapping[str, tuple[str, ...]] = {
    "partner": ("paylane", "shipnow", "geogrid", "textwire", "bankhub", "skyfeed"),
    "table": ("entries", "items", "visits", "lines", "accounts_v2", "history"),
    "field": ("total", "status", "quantity", "created", "region", "weight"),
    "field2": ("amount", "state", "count", "zone"),
    "lock": ("refresh", "totals", "session", "writer", "catalog", "batch"),
    "flag": ("fast_path", "new_rules", "bulk_read", "lean_mode", "two_step"),
}
RANGES: Mapping[str, tuple[int, int]] = {
    "k": (3, 9), "few": (2, 6), "n": (11, 49), "n2": (50, 99), "big": (1200, 9800), "rev": (110, 890),
    "port": (7000, 9900), "cap": (10, 60), "limit": (512, 3072), "high": (92, 99), "low": (1, 6),
    "mid": (14, 48),
    "short": (60, 190), "ms": (220, 780), "long": (2100, 8900), "quota": (3, 20), "deadline": (40, 90),
    "calm": (31, 64), "usual": (400, 900),
}  # fmt: skip
CONSTANT = frozenset(
    [
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
        "node",
    ]
)
"""What describes the incident stays the same in every line of it; measurements differ."""


class Values(dict[str, object]):
    """Fills the braces of a wording, drawing what is not known."""

    def __init__(self, rng: random.Random, **known: object) -> None:
        super().__init__(known)
        self.rng = rng

    def __missing__(self, name: str) -> object:
        value = _draw(name, self.rng)
        if name in CONSTANT:
            self[name] = value
        return value


def _draw(name: str, rng: random.Random) -> object:
    if name in RANGES:
        low, high = RANGES[name]
        return low + int(rng.random() * (high - low + 1))
    if name in LISTS:
        return rng.choice(LISTS[name])
    if name in ("host", "host2"):
        return f"10.{rng.randint(1, 60)}.{rng.randint(1, 9)}.{rng.randint(2, 99)}"
    if name == "ver":
        return f"{rng.randint(2, 9)}.{rng.randint(10, 49)}"
    if name == "node":
        return f"node-{rng.randint(11, 99)}"
    if name == "uuid":
        text = f"{rng.getrandbits(128):032x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
    return f"{rng.randrange(16**4):04x}"
