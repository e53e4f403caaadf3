"""Draws many scenarios and writes them as a split folder, all or nothing, with as many processes as wanted.

Every scenario has its own seed, a hash of (split, seed, position) under a prefix that belongs to the split
alone: two splits can never share a scenario, and `pretrain` can never meet a shipped one. Processes only
share out the positions, so the bytes do not depend on their number. Scenarios of val and test come with their
twins. The folder is written beside its place and then renamed, so that an interrupted run leaves no
half-written split.
"""

from __future__ import annotations

import gc
import hashlib
import os
import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from pydantic_core import to_json

from chaos.compose import Order, make_control, make_pair, make_scenario
from chaos.faults import Pool
from chaos.plans import EVEN, Mix, schedule
from project_types import ConfigurationError

PREFIXES = {"train": 1, "val": 2, "test": 3, "pretrain": 4, "controls": 5}
UNSEEN_SHARE = 3 / 13
"""Share of the test split with held-out fault types in held-out topologies: 24 of 104."""
TWINNED = ("val", "test")
UNSEEN_WORDINGS = ("test", "controls")
"""Splits in which every row is worded unlike train's."""
LEFT_OUT = ("logs", "spans", "metrics", "events")
"""What a line of scenarios.jsonl leaves out."""


class Written(NamedTuple):
    """A scenario as text: its id, its file, and its line of scenarios.jsonl."""

    id: str
    text: str
    line: str


class Job(NamedTuple):
    """What one call of a worker makes."""

    split: str
    order: Order
    most: int
    """Scenarios to keep: 2 with the twin."""


def scenario_seed(split: str, seed: int, position: int) -> int:
    """The seed of one scenario: 48 hashed bits below the split's prefix."""
    digest = hashlib.sha256(f"{split}/{seed}/{position}".encode()).digest()
    return PREFIXES[split] << 48 | int.from_bytes(digest[:6], "big")


def unseen_count(split: str, count: int) -> int:
    """How many of `count` scenarios are of the unseen kind; with twins an even number."""
    return 2 * round(count * UNSEEN_SHARE / 2) if split == "test" else 0


def jobs(split: str, count: int, seed: int, mix: Mix = EVEN, redraw: int = 0) -> list[Job]:
    """What is to be made for a split of `count` scenarios."""
    rng = random.Random(f"{split}/{seed}")
    each = 2 if split in TWINNED else 1
    unseen = unseen_count(split, count) // each
    seen = (count + each - 1) // each - unseen
    plan = [(fault, False) for fault in schedule(seen, False, mix, rng)]
    plan += [(fault, True) for fault in schedule(unseen, True, mix, rng)]
    found = []
    for position, (fault, strange) in enumerate(plan):
        pool: Pool = "test" if split in UNSEEN_WORDINGS else "train"
        order = Order(scenario_seed(split, seed, position), fault, pool, strange, mix, redraw)
        found.append(Job(split, order, min(each, count - each * position)))
    return found


def made(job: Job) -> list[dict[str, Any]]:
    """The scenarios of one job."""
    if job.split == "controls":
        return [make_control(job.order)]
    if job.split not in TWINNED:
        return [make_scenario(job.order)]
    pair = list(make_pair(job.order))[: job.most]
    if job.most == 1:
        del pair[0]["provenance"]["twin"]
    return pair


def scenarios(
    split: str, count: int, seed: int, mix: Mix = EVEN, redraw: int = 0
) -> Iterator[dict[str, Any]]:
    """Generate a split, scenario by scenario, in this process."""
    for job in jobs(split, count, seed, mix, redraw):
        yield from made(job)


# ------------------------------------------------------------------------------------------------- writing


def written(job: Job) -> list[Written]:
    """The scenarios of one job as text."""
    return [as_text(scenario) for scenario in made(job)]


def as_text(scenario: dict[str, Any]) -> Written:
    """One scenario as its file and its line."""
    fields = {key: f'"{key}":{to_json(value).decode()}' for key, value in scenario.items()}
    short = [text for key, text in fields.items() if key not in LEFT_OUT]
    return Written(scenario["id"], f"{{{','.join(fields.values())}}}\n", f"{{{','.join(short)}}}\n")


@contextmanager
def texts(work: list[Job], workers: int = 1) -> Iterator[Iterator[Written]]:
    """The scenarios of all jobs as text, in the order of the jobs, made by so many processes."""
    if min(workers, len(work)) <= 1:
        yield (one for job in work for one in written(job))
        return
    # a scenario makes tens of thousands of objects: to search all 700 for garbage took
    # a twentieth of the time
    with get_context("spawn").Pool(workers, gc.set_threshold, (50_000,)) as pool:
        yield (one for found in pool.imap(written, work, chunksize=4) for one in found)


def cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0))


def write_split(made: Iterable[Written], folder: Path) -> int:
    """Write scenario files and `scenarios.jsonl` to `folder`, replacing a split that is there. Returns how
    many.

    Raises:
        ConfigurationError: `folder` holds something that is not a split.
    """
    _refuse_foreign(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as scratch:
        # one level down, where no command looks for scenarios, should we be killed
        partial = Path(scratch) / "new"
        partial.mkdir()
        lines = []
        for one in made:
            (partial / f"scenario-{one.id}.json").write_text(one.text, encoding="utf-8")
            lines.append(one.line)
        (partial / "scenarios.jsonl").write_text("".join(lines), encoding="utf-8")
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
            f"{folder} holds {sorted(foreign)[0]}, which is no part of a split; "
            "give an empty or new folder with --out"
        )
