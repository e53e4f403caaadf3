"""Scenarios made by the generator, for tests that look into them."""

from __future__ import annotations

import json
from typing import Any

from chaos.compose import Order, make_pair, make_scenario
from chaos.faults import Pool, catalogue
from project_types import Scenario

FAULTS = list(catalogue())


def order(seed: int, fault: str, **fields: Any) -> Order:
    """An order for a fault, of the split that shows it."""
    held_out = catalogue()[fault].held_out
    pool: Pool = "test" if held_out else "train"
    return Order(seed, fault, **{"pool": pool, "unseen": held_out, **fields})


def read(scenario: dict[str, Any]) -> Scenario:
    """A scenario as it would be read from its file."""
    return Scenario.model_validate_json(json.dumps(scenario))


def one(seed: int, fault: str, **fields: Any) -> Scenario:
    """A scenario."""
    return read(make_scenario(order(seed, fault, **fields)))


def pair(seed: int, fault: str, **fields: Any) -> tuple[Scenario, Scenario]:
    """A scenario and its twin."""
    first, second = make_pair(order(seed, fault, **fields))
    return read(first), read(second)
