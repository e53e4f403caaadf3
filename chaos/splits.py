"""Draws many scenarios and writes them as a split folder, all or nothing.

Every scenario has its own seed, a hash of (split, seed, position) under a prefix that belongs to the split
alone: two splits can never share a scenario, and `pretrain` can never meet a shipped one. The folder is
written beside its place and then renamed, so that an interrupted run leaves no half-written split.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from chaos.compose import make_scenario
from chaos.plans import EVEN, Mix, schedule
from project_types import ConfigurationError

PREFIXES = {"train": 1, "val": 2, "test": 3, "pretrain": 4}
UNSEEN_SHARE = 3 / 13
"""Share of the test split with held-out fault types in held-out topologies: 24 of 104."""


def scenario_seed(split: str, seed: int, position: int) -> int:
    """The seed of one scenario: 48 hashed bits below the split's prefix."""
    digest = hashlib.sha256(f"{split}/{seed}/{position}".encode()).digest()
    return PREFIXES[split] << 48 | int.from_bytes(digest[:6], "big")


def unseen_count(split: str, count: int) -> int:
    """How many of `count` scenarios are of the unseen kind."""
    return round(count * UNSEEN_SHARE) if split == "test" else 0


def scenarios(split: str, count: int, seed: int, mix: Mix = EVEN) -> Iterator[dict[str, Any]]:
    """Generate a split, scenario by scenario."""
    rng = random.Random(f"{split}/{seed}")
    unseen = unseen_count(split, count)
    plan = [(fault, False) for fault in schedule(count - unseen, False, mix, rng)]
    plan += [(fault, True) for fault in schedule(unseen, True, mix, rng)]
    for position, (fault, strange) in enumerate(plan):
        yield make_scenario(scenario_seed(split, seed, position), fault, strange, mix)


def summary_line(scenario: dict[str, Any]) -> str:
    """A scenario without its logs and spans, as one line of `scenarios.jsonl`."""
    return _compact({key: value for key, value in scenario.items() if key not in ("logs", "spans")})


def write_split(made: Iterator[dict[str, Any]], folder: Path) -> int:
    """Write scenario files and `scenarios.jsonl` to `folder`, replacing a split that is there. Returns how
    many.

    Raises:
        ConfigurationError: `folder` holds something that is not a split.
    """
    _refuse_foreign(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as scratch:
        partial = (
            Path(scratch) / "new"
        )  # one level down, where nobody looks for scenarios, should we be killed
        partial.mkdir()
        lines = []
        for scenario in made:
            (partial / f"scenario-{scenario['id']}.json").write_text(
                _compact(scenario) + "\n", encoding="utf-8"
            )
            lines.append(summary_line(scenario))
        (partial / "scenarios.jsonl").write_text("".join(line + "\n" for line in lines), encoding="utf-8")
        if folder.exists():
            folder.rename(Path(scratch) / "old")
        partial.rename(folder)
    return len(lines)


def _refuse_foreign(folder: Path) -> None:
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ConfigurationError(f"{folder} is a file; give a folder with --out")
    foreign = [
        path.name
        for path in folder.iterdir()
        if path.name != "scenarios.jsonl" and not path.match("scenario-*.json")
    ]
    if foreign:
        raise ConfigurationError(
            f"{folder} holds {sorted(foreign)[0]}, which is no part of a split; give an empty or new folder with --out"
        )


def _compact(data: Any) -> str:
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"))
