"""Sampling weights as data: which faults and systems a split holds, and how often.

A request file can replace the weights (`read_mix`). What is drawn from them is in `stage` and `compose`.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from chaos.faults import Fault, catalogue
from chaos.topologies import PARTS, Topology, topologies
from project_types import ConfigurationError

MOST_SERVICES = 46
"""Of a system before its prober and its jobs are added."""


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
    known: dict[str, Iterable[str]] = {"faults": catalogue(), "topologies": topologies()}
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
    """`count` fault types whose shares follow the weights as closely as whole
    numbers can, in a drawn order.
    """
    names = [fault.name for fault in catalogue().values() if fault.held_out == unseen]
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


def pick_fault(unseen: bool) -> list[Fault]:
    """The fault types that candidates are drawn from."""
    return [fault for fault in catalogue().values() if fault.held_out == unseen]


def pick_system(unseen: bool, mix: Mix, rng: random.Random) -> list[Topology]:
    """One to four systems that become one."""
    known = [system for system in topologies().values() if system.held_out == unseen]
    weights = [mix.topologies.get(system.name, 1.0) for system in known]
    if not sum(weights):
        raise ConfigurationError("every topology of this split weighs 0; give more topologies weight")
    parts = rng.choices([count for count, _ in PARTS], [share for _, share in PARTS])[0]
    found: list[Topology] = []
    for system in rng.choices(known, weights, k=parts):
        if not found or (
            system not in found and sum(len(one.roles) for one in [*found, system]) <= MOST_SERVICES
        ):
            found.append(system)
    return found
