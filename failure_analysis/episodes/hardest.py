"""`python -m failure_analysis hardest`: what fails most becomes a request for more such scenarios.

A fault type or topology weighs its failure rate, smoothed by one failure in two, relative to the rate of all:
1 is ordinary, 2 fails twice as often. Episodes of the test split and of unseen faults do not count, so that
what measures a model does not shape what it learns from. The file is what `python -m chaos generate
--request` reads.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from core.episode_store.runs import parse_run
from failure_analysis.records import ExperimentType, Status, StoreError
from failure_analysis.store import JOINED, FailureStore, Wanted
from project_types import FAULT_TYPES

LEAST, MOST = 0.25, 4.0
"""No weight lies outside: a fault that never fails still occurs."""


class Rate(NamedTuple):
    """How often episodes of one name failed."""

    failed: int
    tried: int

    @property
    def smoothed(self) -> float:
        """As if one more of two had failed."""
        return (self.failed + 1) / (self.tried + 2)


def request(store: FailureStore, wanted: Wanted, splits: tuple[str, ...]) -> dict[str, dict[str, float]]:
    """Weights by fault type and topology. Raises StoreError when nothing that counts was captured."""
    where, values = wanted.model_copy(update={"types": (ExperimentType.EPISODE,)}).sql()
    marks = ",".join("?" * len(splits))
    query = (
        f"SELECT e.fault_type, e.topology, e.status, count(*) FROM {JOINED} WHERE {where} AND e.unseen = 0 "
        f"AND e.split IN ({marks}) GROUP BY 1, 2, 3"
    )
    faults: dict[str, Counter[bool]] = {}
    topologies: dict[str, Counter[bool]] = {}
    with store.reading() as database:
        for fault, topology, status, count in database.execute(query, [*values, *splits]):
            if fault not in FAULT_TYPES or topology in ("", "unknown"):
                continue  # written by hand or imported: the simulator cannot make more of it
            for names, name in ((faults, fault), (topologies, topology)):
                names.setdefault(name, Counter())[status == Status.FAILED] += count
    if not faults:
        asked = f"of the splits {', '.join(splits)}"
        raise StoreError(
            f"{store.path}: no captured episodes {asked}; capture a run first, or name others with --split"
        )
    return {"faults": _weights(faults), "topologies": _weights(topologies)}


def _weights(names: dict[str, Counter[bool]]) -> dict[str, float]:
    rates = {name: Rate(counts[True], counts.total()) for name, counts in names.items()}
    whole = Rate(
        sum(rate.failed for rate in rates.values()), sum(rate.tried for rate in rates.values())
    ).smoothed
    return {name: round(min(MOST, max(LEAST, rates[name].smoothed / whole)), 2) for name in sorted(rates)}


def command(arguments: argparse.Namespace) -> int:
    """Write the request and print what it asks for."""
    splits = tuple(arguments.split or ("train", "val"))
    run, step = parse_run(arguments.run) if arguments.run else (None, None)
    found = request(FailureStore(arguments.failures), Wanted(run=run, step=step), splits)
    out: Path = arguments.out
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    except OSError as trouble:
        raise StoreError(f"{out}: cannot be written ({trouble.strerror}); choose another --out") from trouble
    for kind, weights in found.items():
        worst = sorted(weights.items(), key=lambda pair: (-pair[1], pair[0]))[:5]
        print(f"{kind}: {', '.join(f'{name} {weight:g}' for name, weight in worst)}")
    print(
        f"next: python -m chaos generate --split train --count 192 --seed 7 --out more_scenarios/train --request {out}"
    )
    return 0
