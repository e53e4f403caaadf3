"""What `watch` looks at: rows of a run's metrics.jsonl, free disk, free memory, and tests that are under way.

Reads only. A value that is missing is skipped; one that is no number stays, because
that is the trouble itself.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from core.episode_store.lines import last_text
from failure_analysis.prediction.forecasts import (
    filling,
    policy_collapsing,
    reward_collapsing,
    training_diverging,
)
from failure_analysis.prediction.gaming import alarms
from failure_analysis.records import Experiment, ExperimentType
from failure_analysis.store import LARGEST_PAGE, FailureStore, Wanted

MEMORY = Path("/proc/meminfo")
KEPT_SAMPLES = 60
LEAST_FREE = 0.25
"""Of a disk or of memory: while more is free, no forecast is made."""
TEST_LOG_CHARACTERS = 200_000
_TEST = re.compile(
    r"(?P<file>[\w./-]+\.py)::(?P<rest>[\w.:\[\]-]+)|(?P<dotted>(?:[\w$]+\.){1,8}[\w$]+)::(?P<case>\w+)"
)


class Warned(NamedTuple):
    """One warning."""

    sign: str
    """What it is about, for those who count: loss, reward, policy, disk, memory, test, or
    a name of `gaming.alarms`.
    """
    text: str


def of_rows(rows: Sequence[Mapping[str, Any]]) -> list[Warned]:
    """What the rows of a training run foretell."""
    train = [row for row in rows if row.get("split", "train") == "train"]
    found = {
        "loss": training_diverging(
            series(train, "loss/train", "loss"), series(train, "loss/grad_norm", "grad_norm")
        ),
        "reward": reward_collapsing(series(train, "reward")),
        "policy": policy_collapsing(series(train, "loss/entropy", "entropy"), flat_shares(train)),
    }
    found |= alarms(train)
    return [Warned(sign, text) for sign, text in found.items() if text]


def series(rows: Iterable[Mapping[str, Any]], *names: str) -> list[float]:
    """The values of the first of these names that a row or its job has."""
    found: list[float] = []
    for row in rows:
        job = row.get("job")
        places = (row, job) if isinstance(job, Mapping) else (row,)
        values = [place[name] for name in names for place in places if name in place]
        if values and isinstance(values[0], int | float) and not isinstance(values[0], bool):
            found.append(float(values[0]))
    return found


def flat_shares(rows: Iterable[Mapping[str, Any]]) -> list[float]:
    """Which part of a step's groups had equal rewards."""
    return [
        float(row["flat_groups"]) / float(row["groups"])
        for row in rows
        if isinstance(row.get("groups"), int) and row["groups"] and isinstance(row.get("flat_groups"), int)
    ]


class Space:
    """Free bytes of one thing over time."""

    def __init__(self, sign: str, what: str, within_s: float) -> None:
        self._sign, self._what, self._within_s = sign, what, within_s
        self._times: list[float] = []
        self._free: list[float] = []

    def add(self, free: float, total: float, now: float | None = None) -> list[Warned]:
        """Take a sample. Return a warning when the thing will soon be full."""
        self._times = [*self._times, time.monotonic() if now is None else now][-KEPT_SAMPLES:]
        self._free = [*self._free, free][-KEPT_SAMPLES:]
        left_s = filling(self._times, self._free, self._within_s)
        if left_s is None or free > LEAST_FREE * total:
            return []
        return [
            Warned(
                self._sign,
                f"{self._what} is full in about {left_s / 60:.0f} min: {free / (1 << 20):,.0f} MiB are free",
            )
        ]


def free_disk(path: Path) -> tuple[float, float]:
    """Free and total bytes of the disk that holds a path."""
    usage = shutil.disk_usage(path)
    return float(usage.free), float(usage.total)


def free_memory(path: Path = MEMORY) -> tuple[float, float] | None:
    """Available and total bytes of this machine; None where the system does not say."""
    try:
        text = path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    found = dict(re.findall(r"^(MemAvailable|MemTotal):\s+(\d+) kB", text, re.MULTILINE))
    if len(found) < 2:
        return None
    return float(found["MemAvailable"]) * 1024, float(found["MemTotal"]) * 1024


def of_tests(log: Path, store: FailureStore) -> list[Warned]:
    """Tests in a growing log that failed before, each with when and why."""
    before = failed_tests(store)
    seen: dict[str, Warned] = {}
    for found in _TEST.finditer(last_text(log, TEST_LOG_CHARACTERS)) if log.exists() else ():
        name = name_of_test(found[0])
        if name in before and name not in seen:
            times, latest = before[name]
            why = latest.failure_analysis.root_cause if latest.failure_analysis else ""
            seen[name] = Warned(
                "test", f"{name} failed {times} times before, last on {latest.at:%Y-%m-%d}: {why}"
            )
    return list(seen.values())


def failed_tests(store: FailureStore) -> dict[str, tuple[int, Experiment]]:
    """Test → how often it failed, and the latest failure."""
    found: dict[str, tuple[int, Experiment]] = {}
    if not store.path.exists():
        return found
    for row in store.experiments(Wanted(types=(ExperimentType.CI_TEST,)), limit=LARGEST_PAGE).rows:
        name = name_of_test(row.name)
        times, latest = found.get(name, (0, row))
        found[name] = times + 1, latest
    return found


def name_of_test(name: str) -> str:
    """The same name for `tests/test_cart.py::test_total` and `tests.test_cart::test_total`."""
    place, separator, case = name.partition("::")
    return place.removesuffix(".py").replace("/", ".") + separator + case.replace("::", ".")
