"""Step 3: how far every metric moved, up or down, against its healthy stretch, and when it did.

Scores are robust: distance from the healthy median, in units of the larger of 1.4826 MAD, half a standard
deviation, 5 % of the median and 0.5 % of the largest value. A fall counts like a rise, so a service that
stops is seen. Series are put into kinds by their names (rate, errors, duration, saturation); where a service
has several of one kind, the one that moved furthest speaks. NaN and gaps are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from graph_rca.windows import Windows
from project_types import MetricSeries

Floats = NDArray[np.float64]
_KINDS = (
    ("errors", r"err|fail|5xx|fault|success"),
    ("latency_high", r"p9\d|p99|latency[-_]?9\d|_95|_99"),
    ("latency", r"latenc|duration|p50|response_time|rtt|mrt"),
    # resources before requests: a rate of CPU use is no rate of requests
    ("cpu", r"cpu"),
    ("memory", r"mem|heap"),
    ("disk", r"disk|fs_|diskio|syscall(read|write)"),
    ("requests", r"request|workload|rate\b|rps|qps|ops|throughput|traffic"),
    ("connections", r"connection|pool"),
    ("sockets", r"socket|network|receive|transmit|bytes"),
    ("queue", r"queue|lag|backlog|pending"),
)
KINDS = (
    "requests",
    "errors",
    "latency",
    "latency_high",
    "cpu",
    "memory",
    "disk",
    "sockets",
    "connections",
    "queue",
)
_PATTERNS = [(kind, re.compile(pattern, re.IGNORECASE)) for kind, pattern in _KINDS]
_NODE = re.compile(r"\bnode", re.IGNORECASE)
"""A node's metric is shared by all that runs there, so it says nothing about one service."""
MEASURES = ("up", "down", "at_alert", "onset", "has_onset", "follows")
FEATURES = tuple(f"{kind}.{measure}" for kind in KINDS for measure in MEASURES)
HIGH = 4.0
"""A score from which on a step counts as abnormal."""
STEP_S = 10.0
_AROUND_S = (-90.0, 240.0)
_MOST_STEPS = 400
_LEAST_POINTS = 3
_MOST_SCORE = 60.0
_SUCCESS = re.compile("success", re.IGNORECASE)
_REACH_MIN = 8.0


class Moved(NamedTuple):
    """What became of one series."""

    service: str
    name: str
    kind: str
    score: float
    """The furthest smoothed score in the suspicious stretch; negative for a fall."""
    usual: float
    extreme: float
    """The value furthest from the usual one."""
    onset: float | None
    """When it left its healthy range; seconds UTC."""
    scores: Floats
    """One smoothed score for each step of `grid`."""


@lru_cache(maxsize=4096)
def kind_of(name: str) -> str | None:
    """Return the kind of a metric by its name; None for a name that says nothing and for metrics of nodes."""
    if _NODE.match(name):
        return None
    return next((kind for kind, pattern in _PATTERNS if pattern.search(name)), None)


def read_series(series: MetricSeries) -> tuple[Floats, Floats]:
    """Return moments (seconds UTC) and values; NaN where nothing was measured."""
    if series.start is not None and series.step_s is not None:
        values = np.array(series.values, np.float64)  # None becomes NaN
        times = np.asarray(series.start.timestamp() + series.step_s * np.arange(len(values)), np.float64)
    else:
        points = series.points
        times = np.array([at.timestamp() for at, _ in points], np.float64)
        values = np.array([value for _, value in points], np.float64)
    values[~np.isfinite(values)] = np.nan
    return times, values


def grid(windows: Windows) -> Floats:
    """Return the steps of the suspicious stretch, seconds UTC."""
    step = max(STEP_S, windows.now_s / _MOST_STEPS)
    return np.arange(windows.split, windows.end, step) + step / 2


class Clock(NamedTuple):
    """Series that were measured at the same moments."""

    series: Sequence[MetricSeries]
    times: Floats
    """(moments), seconds UTC."""
    values: Floats
    """(series, moments); NaN where nothing was measured."""


def by_clock(metrics: Iterable[MetricSeries]) -> list[Clock]:
    """Return series grouped by their moments, so that those of one clock are compared together."""
    groups: dict[bytes, tuple[Floats, list[MetricSeries], list[Floats]]] = {}
    for one in metrics:
        times, values = read_series(one)
        if len(times):
            _, series, rows = groups.setdefault(times.tobytes(), (times, [], []))
            series.append(one)
            rows.append(values)
    return [Clock(series, times, np.stack(rows)) for times, series, rows in groups.values()]


def all_moved(metrics: Sequence[MetricSeries], windows: Windows) -> list[Moved]:
    """Return how every series of a known kind moved; those not measured before and after are left out."""
    known = [one for one in metrics if kind_of(one.name)]
    return [found for clock in by_clock(known) for found in _moved_together(clock, windows)]


def _moved_together(clock: Clock, windows: Windows) -> list[Moved]:
    times, values = clock.times, clock.values
    was, now = times < windows.split, times >= windows.split
    enough = (np.isfinite(values[:, was]).sum(1) >= _LEAST_POINTS) & np.isfinite(values[:, now]).any(1)
    if not enough.any():
        return []
    series = [one for one, good in zip(clock.series, enough.tolist(), strict=True) if good]
    values = values[enough]
    usual = np.nanmedian(values[:, was], axis=1)
    scores = (values[:, now] - usual[:, None]) / _scales(values, values[:, was], usual)[:, None]
    # what was not measured is no anomaly
    smooth = _smoothed(np.clip(np.nan_to_num(scores), -_MOST_SCORE, _MOST_SCORE))
    when, steps = times[now], grid(windows)
    places = np.clip(np.searchsorted(when, steps), 0, len(when) - 1)
    return [
        _one(
            one,
            str(kind_of(one.name)),
            smooth[number],
            float(usual[number]),
            values[number, now],
            when,
            places,
        )
        for number, one in enumerate(series)
    ]


def _one(
    series: MetricSeries,
    kind: str,
    smooth: Floats,
    usual: float,
    now: Floats,
    when: Floats,
    places: NDArray[np.intp],
) -> Moved:
    smooth = -smooth if kind == "errors" and _SUCCESS.search(series.name) else smooth
    far = int(np.argmax(np.abs(smooth)))
    bad = np.abs(smooth) >= HIGH
    onset = float(when[int(np.argmax(bad))]) if bad.any() else None
    extreme = float(now[far]) if np.isfinite(now[far]) else usual
    return Moved(series.service, series.name, kind, float(smooth[far]), usual, extreme, onset, smooth[places])


def _scales(values: Floats, healthy: Floats, usual: Floats) -> Floats:
    mad = np.nanmedian(np.abs(healthy - usual[:, None]), axis=1)
    sizes = [
        1.4826 * mad, 0.5 * np.nanstd(healthy, axis=1), 0.05 * np.abs(usual),
        0.005 * np.nanmax(np.abs(values), axis=1), np.full(len(usual), 1e-9),
    ]  # fmt: skip
    return np.asarray(np.max(sizes, axis=0))


def _smoothed(scores: Floats) -> Floats:
    """Return means over three neighbours: one odd step is often chance."""
    padded = np.pad(scores, ((0, 0), (1, 1)), mode="edge")
    return np.asarray((padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]) / 3)


def strongest(found: Sequence[Moved]) -> Mapping[tuple[str, str], Moved]:
    """Return the series that moved furthest for each service and kind."""
    best: dict[tuple[str, str], Moved] = {}
    for one in found:
        key = one.service, one.kind
        if key not in best or abs(one.score) > abs(best[key].score):
            best[key] = one
    return best


def symptom(best: Mapping[tuple[str, str], Moved], entries: Mapping[str, float], steps: int) -> Floats:
    """Return how much users suffer at each step: errors and high latencies of the
    services they call, weighted.
    """
    total = np.zeros(steps)
    for service, weight in entries.items():
        for kind in ("errors", "latency_high"):
            one = best.get((service, kind))
            if one is not None:
                total += weight * np.clip(one.scores, 0, 20)
    return total


def onset_of(profile: Floats, times: Floats) -> float:
    """Return when a symptom begins: its first step above 35 % of its 95th percentile."""
    if not len(times):
        return 0.0
    level = 0.35 * float(np.quantile(profile, 0.95))
    return float(times[int(np.argmax(profile >= level))]) if level > 0 else float(times[len(times) // 2])


def features(
    best: Mapping[tuple[str, str], Moved],
    services: Sequence[str],
    profile: Floats,
    times: Floats,
    alert: float,
) -> Floats:
    """Return (services, FEATURES); zeros where nothing was measured."""
    rows = np.zeros((len(services), len(KINDS), len(MEASURES)))
    near = (times >= alert + _AROUND_S[0]) & (times <= alert + _AROUND_S[1])
    near = near if near.any() else np.ones(len(times), bool)
    centred = profile - profile.mean() if len(profile) else profile
    found = [(place, number, best[service, kind]) for place, service in enumerate(services)
             for number, kind in enumerate(KINDS) if (service, kind) in best]  # fmt: skip
    if found:
        measured = _measures([one for *_, one in found], centred, near, alert)
        rows[[place for place, *_ in found], [number for _, number, _ in found]] = measured
    return rows.reshape(len(services), len(FEATURES))


def _measures(found: Sequence[Moved], centred: Floats, near: NDArray[np.bool_], alert: float) -> Floats:
    """Return (found, MEASURES)."""
    scores = np.stack([one.scores for one in found])
    onsets = np.array([np.nan if one.onset is None else one.onset for one in found])
    late = np.clip(np.nan_to_num(onsets - alert) / 60, -_REACH_MIN, _REACH_MIN) / _REACH_MIN
    columns = [
        np.maximum(0, scores.max(1)), np.maximum(0, -scores.min(1)), scores[:, near].mean(1),
    ]  # fmt: skip
    logs = [np.arcsinh(column) / 3 for column in columns]
    return np.column_stack([*logs, late, np.isfinite(onsets), correlations(np.abs(scores), centred)])


def correlations(rows: Floats, centred: Floats) -> Floats:
    """Return Pearson's correlation of each row with an already centred profile; 0
    where one of them is constant.
    """
    mine = rows - rows.mean(axis=1, keepdims=True)
    sizes = np.linalg.norm(mine, axis=1) * np.linalg.norm(centred)
    return np.asarray((mine @ centred) / np.where(sizes > 1e-9, sizes, np.inf))
