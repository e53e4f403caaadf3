"""Make generated incidents as rough as real ones, so that a network does not trust
what only a simulator shows.

Real telemetry has spans without a status, metrics once a minute that jump for no reason, many idle services,
no useful description and no declared calls. Each is drawn for each incident. The answer stays. What is
roughened was chosen after the real sample had been seen to fail; the ranges are wide and fit no single
incident.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from project_types import Incident, MetricSeries

STATUS, TEXT, COARSE, JUMPY, IDLE, UNDECLARED = 0.6, 0.5, 0.6, 0.8, 0.6, 0.4
"""How often each happens."""
_MOST_IDLE = 25


def rough(incident: Incident, rng: np.random.Generator) -> Incident:
    """Return a rougher incident with the same answer."""
    changed: dict[str, Any] = {"metrics": _metrics(incident, rng)}
    if rng.random() < IDLE:
        changed |= _with_idle(incident, changed["metrics"], rng)
    if rng.random() < STATUS:
        changed["spans"] = tuple(one.model_copy(update={"status": "unknown"}) for one in incident.spans)
    if rng.random() < TEXT:
        changed["description"] = "Something is wrong."
    if rng.random() < UNDECLARED:
        changed["topology"] = ()
    return incident.model_copy(update=changed)


def _metrics(incident: Incident, rng: np.random.Generator) -> tuple[MetricSeries, ...]:
    step = int(rng.integers(3, 7)) if rng.random() < COARSE else 1
    noise = float(rng.uniform(0.02, 0.35)) if rng.random() < JUMPY else 0.0
    kept = [_rougher(one, step, noise, rng) for one in incident.metrics]
    return tuple(kept)


def _rougher(series: MetricSeries, step: int, noise: float, rng: np.random.Generator) -> MetricSeries:
    values = np.array([np.nan if one is None else one for one in series.values], np.float64)
    values = values[int(rng.integers(step)) :: step]
    if noise:
        values = values * np.exp(rng.normal(0, noise * rng.random(), len(values)))
        jumps = rng.random(len(values)) < 0.03 * rng.random()
        values = np.where(jumps, values * np.exp(rng.normal(0, 1.2, len(values))), values)
    told = tuple(None if np.isnan(one) else float(one) for one in values)
    return series.model_copy(update={"values": told, "step_s": (series.step_s or 0) * step})


def _with_idle(
    incident: Incident, metrics: tuple[MetricSeries, ...], rng: np.random.Generator
) -> dict[str, Any]:
    """Return services that nobody calls and that write nothing; their metrics are
    shuffled copies of others'.
    """
    names = [f"idle-{number}" for number in range(int(rng.integers(5, _MOST_IDLE)))]
    owners = rng.choice(incident.services, len(names))
    copies = []
    for name, owner in zip(names, owners.tolist(), strict=True):
        for one in metrics:
            if one.service == owner:
                values = tuple(rng.permutation(np.array(one.values, dtype=object)).tolist())
                copies.append(one.model_copy(update={"service": name, "values": values}))
    return {"services": (*incident.services, *names), "metrics": (*metrics, *copies)}
