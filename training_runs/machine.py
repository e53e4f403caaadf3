"""How busy this machine is with other work when a run begins, so that the run can say how long it will take.

Linux says it in /proc/stat. Where there is none, nothing is said.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import NamedTuple

STAT = Path("/proc/stat")
WORTH_SAYING = 0.2
"""Share of the cores that other programs have to use before it is said."""


class Cores(NamedTuple):
    """The processor cores this process may use, and how many of them other programs keep busy."""

    usable: int
    busy: float


def cores(window_s: float = 0.5) -> Cores | None:
    """Measure for `window_s`, in which this process sleeps. None where it cannot be known."""
    before = _ticks()
    time.sleep(window_s)
    after = _ticks()
    shares = [_share(before[core], after[core]) for core in before.keys() & after.keys()]
    return Cores(len(shares), sum(shares)) if shares else None


def slowdown(found: Cores | None) -> str:
    """Say how much longer a run takes because of other programs; '' when they use little or it is unknown."""
    if found is None or found.busy < WORTH_SAYING * found.usable:
        return ""
    # two programs that want one core get half of it each; three get a third, but who wants it is not known
    times = found.usable / max(found.usable - found.busy, found.usable / 2)
    busy = f"other programs use {found.busy:.1f} of {found.usable} processor cores"
    return f"{busy}: expect {times:.1f} times the minutes of a quiet machine, or more"


def _ticks() -> dict[int, tuple[int, int]]:
    """Return (idle, all) clock ticks since boot of every core this process may use."""
    try:
        usable, lines = os.sched_getaffinity(0), STAT.read_text().splitlines()
    except (OSError, AttributeError):  # AttributeError: macOS has no sched_getaffinity
        return {}
    found = {}
    for line in lines:
        name, *numbers = line.split()
        if name.startswith("cpu") and name[3:].isdigit() and int(name[3:]) in usable:
            ticks = [int(number) for number in numbers[:8]]
            found[int(name[3:])] = (ticks[3] + ticks[4], sum(ticks))  # idle, and waiting for a disk
    return found


def _share(before: tuple[int, int], after: tuple[int, int]) -> float:
    idle, total = after[0] - before[0], after[1] - before[1]
    return 0.0 if total <= 0 else 1 - idle / total
