"""Metrics of every service at 10 s steps over both windows: requests, errors,
latencies, and what machines show.

Requests, errors and latencies are counted from the simulated requests, so they agree with spans and rows. The
rest follows from load, a daily shape and noise. A candidate moves the metrics that its fault touches, up or
down: fully when it is guilty, a little when it is not. All values are whole numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chaos.dice import Dice, Floats
from chaos.stage import WINDOW_MS, Candidate
from chaos.traffic import OK, Traffic

STEP_MS = 10_000.0
STEPS = round(2 * WINDOW_MS / STEP_MS)
COUNTED = ("requests", "errors", "latency_p50_ms", "latency_p95_ms")
LEVELS = (
    "cpu_percent",
    "memory_percent",
    "disk_percent",
    "open_sockets",
    "connections_in_use",
    "queue_length",
)
RANGES: Mapping[str, tuple[float, float]] = {
    "cpu_percent": (6, 34), "memory_percent": (28, 66), "disk_percent": (15, 74), "open_sockets": (20, 52),
    "connections_in_use": (14, 34), "queue_length": (0, 3),
}  # fmt: skip
NOISE: Mapping[str, float] = {
    "cpu_percent": 1.6, "memory_percent": 0.5, "disk_percent": 0.0, "open_sockets": 1.5,
    "connections_in_use": 1.5,
    "queue_length": 0.7,
}  # fmt: skip
LOAD: Mapping[str, float] = {"cpu_percent": 9.0, "open_sockets": 6.0, "connections_in_use": 5.0}
"""How much the busiest step of a service adds."""
UNDER_WAY: Mapping[str, float] = {"open_sockets": 5.0, "connections_in_use": 4.0}
"""How much each request under way adds: who waits for a slow service holds sockets and connections."""
RAMP_MS = 40_000.0

_MS_BITS = 22
_MOST_MS = (1 << _MS_BITS) - 1

Whole = NDArray[np.int64]


def measure(traffic: Traffic) -> dict[str, dict[str, list[int | None]]]:
    """Service key → metric → one value a step; None where nothing was counted."""
    services = list(traffic.world.topology.roles)
    counts, busy = _counts(traffic, services)
    levels = _levels(traffic, services, counts["requests"], busy)
    found: dict[str, dict[str, list[int | None]]] = {}
    for place, service in enumerate(services):
        series: dict[str, list[int | None]] = {}
        quiet = (counts["requests"][place] == 0).nonzero()[0].tolist()
        for name in COUNTED:
            values: list[Any] = counts[name][place].tolist()
            if name.startswith("latency"):
                for step in quiet:
                    values[step] = None
            series[name] = values
        for name in LEVELS:
            series[name] = levels[name][place].tolist()
        found[service] = series
    return found


def _counts(traffic: Traffic, services: list[str]) -> tuple[dict[str, Whole], Floats]:
    """Requests, errors and latencies, and how many requests are under way, arrays of services × steps."""
    place = {service: number for number, service in enumerate(services)}
    ops = [op for run in traffic.runs for op in run.ops.values()]
    owners = np.repeat([place[op.node.service] for op in ops], [len(op.ms) for op in ops])
    starts = np.concatenate([op.start for op in ops])
    status = np.concatenate([op.status for op in ops])
    tries = np.concatenate([op.tries for op in ops])
    steps = ((starts + WINDOW_MS) / STEP_MS).astype(np.int64).clip(0, STEPS - 1)
    cells = owners * STEPS + steps
    seen = status >= OK
    extra = np.zeros(len(services) * STEPS, np.int64)
    again = seen & (tries > 1)
    np.add.at(extra, cells[again], tries[again] - 1)
    ms = np.concatenate([op.ms for op in ops])[seen]
    cell, failed = cells[seen], status[seen] > OK
    size = len(services) * STEPS
    requests = np.bincount(cell, minlength=size)
    half, high = _latencies(cell, ms, requests)
    flat = {
        "requests": requests + extra,
        "errors": np.bincount(cell[failed], minlength=size),
        "latency_p50_ms": half,
        "latency_p95_ms": high,
    }
    busy: Floats = np.bincount(cell, ms, size) / STEP_MS
    shape = (len(services), STEPS)
    return {name: values.reshape(shape) for name, values in flat.items()}, busy.reshape(shape)


def _latencies(cell: Whole, ms: Floats, requests: Whole) -> tuple[Whole, Whole]:
    """The median and the 95th percentile of each cell, at least 1 ms; `requests` counts those of a cell."""
    # one sort of whole numbers that hold the cell above the milliseconds; they come almost in order, and a
    # stable sort, which merges, needs a fraction of the time for that
    keys = (cell << _MS_BITS) + np.minimum(np.rint(ms), _MOST_MS).astype(np.int64)
    ordered = np.append(np.sort(keys, kind="stable"), 0)
    first = np.cumsum(requests) - requests
    half = ordered[np.minimum(first + requests // 2, len(ms))] & _MOST_MS
    high = ordered[np.minimum(first + (requests * 19) // 20, len(ms))] & _MOST_MS
    return np.maximum(1, half), np.maximum(1, high)


def _levels(traffic: Traffic, services: list[str], requests: Whole, busy: Floats) -> dict[str, Whole]:
    """What machines show, arrays of services × steps."""
    dice = Dice(traffic.stage.seed * 1000 + 999)
    load = requests / np.maximum(1, requests.max(axis=1, keepdims=True))
    day = _day(dice)
    found: dict[str, Whole] = {}
    for name in LEVELS:
        low, high = RANGES[name]
        base = low + dice.uniform(len(services), 1) * (high - low)
        noise = dice.normal(len(services), STEPS) * NOISE[name]
        values: Floats = base + LOAD.get(name, 0.0) * (load - 0.5) + UNDER_WAY.get(name, 0.0) * busy + noise
        if name in LOAD:
            values = values * day
        for one in traffic.stage.candidates:
            if name in one.fault.metrics:
                row = services.index(one.culprit)
                values[row] = _moved(values[row], one, one.fault.metrics[name], guilty=one is traffic.guilty)
        found[name] = np.clip(np.rint(values), 0, None).astype(np.int64)
    return found


def _day(dice: Dice) -> Floats:
    """The share of a day's load that is on at each step: half an hour of a wave of 24 hours."""
    hour = dice.uniform(1)[0] * 24
    hours = hour + np.arange(STEPS) * STEP_MS / 3_600_000
    away = np.abs((hours - 14 + 12) % 24 - 12) / 12  # 0 at two in the afternoon, 1 at two in the night
    shape: Floats = 1.15 - 0.3 * away
    return shape


def _moved(values: Floats, one: Candidate, target: float, *, guilty: bool) -> Floats:
    """A metric that a candidate pulls towards a level while it acts."""
    at = -WINDOW_MS + (np.arange(STEPS) + 0.5) * STEP_MS
    end = one.end_ms if guilty else one.calm_ms
    rise = np.clip((at - one.start_ms) / RAMP_MS, 0.0, 1.0)
    fall = np.clip((end - at) / RAMP_MS + 1.0, 0.0, 1.0)
    pull = np.minimum(rise, fall) * (1.0 if guilty else one.magnitude)
    found: Floats = values + pull * (target - values)
    return found
