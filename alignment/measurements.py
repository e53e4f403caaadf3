"""What was measured of each adapter, kept in the registry: its gates, and a reward model's accuracy by slice.

    ADAPTERS/gates.json     NAME@vN -> what it was compared with, and every gate
    ADAPTERS/rewards.json   NAME@vN -> accuracy of it and of judges that understand nothing, by slice

Measurements may be made again, so they stand beside the immutable versions and not in them. Not here: how
things are measured (`gates`, `reward_model`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from alignment.adapters import Registry
from alignment.gates import Gate
from core.files import replace_file
from core.intervals import Interval
from project_types import Frozen

GATES, REWARDS = "gates.json", "rewards.json"


class Gated(Frozen):
    """The gates of one adapter."""

    against: str = ""
    """The row it was compared with; empty for none."""
    gates: tuple[Gate, ...]

    @property
    def passed(self) -> bool:
        """Whether it may be promoted."""
        return all(gate.passed for gate in self.gates)


class Verdict(Frozen):
    """Accuracy of a reward model and of every baseline, and why it is refused."""

    accuracy: dict[str, dict[str, Interval]]
    """Slice, then judge; `model` is the reward model."""
    calibration: float
    """Expected calibration error of its probabilities on all pairs."""
    refusals: tuple[str, ...] = ()


def gated(registry: Registry) -> dict[str, Gated]:
    """Return the gates of every adapter that was gated, by full name."""
    return {name: Gated.model_validate(found) for name, found in _read(registry.folder / GATES).items()}


def judged(registry: Registry) -> dict[str, Verdict]:
    """Return what was measured of every reward model, by full name."""
    return {name: Verdict.model_validate(found) for name, found in _read(registry.folder / REWARDS).items()}


def keep(registry: Registry, full_name: str, measured: Gated | Verdict) -> None:
    """Keep what was measured of a version in place of what was measured before."""
    path = registry.folder / (GATES if isinstance(measured, Gated) else REWARDS)
    every = _read(path) | {full_name: measured.model_dump(mode="json")}
    replace_file(path, (json.dumps(every, indent=1) + "\n").encode())


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return found
