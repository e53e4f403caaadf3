"""The command behind `python -m graph_rca report`: rankers and baselines on all
slices, as tables in Markdown.

What is kept belongs to one set of rankers and one size: another set needs another --out. With
--write-docs the tables also go between the markers of a page of the documentation, under the command
and the date that made them.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from core.files import replace_file
from core.marked_text import write_between
from graph_rca.faithfulness import measure as measure_faithfulness
from graph_rca.measuring import by_slice, measure, slices
from graph_rca.report_tables import ENSEMBLE, GAT, tables
from graph_rca.slices import generated
from graph_rca.weights import Ensemble, load_ensemble, shipped
from project_types import ConfigurationError

MEMBERS = {"own": "own features (MLP)", "neighbours": "neighbours' means (MLP)", "gat": GAT}
"""What the shipped networks are called in the tables."""


def command(arguments: argparse.Namespace) -> int:
    """Measure and print. Returns 0."""
    arguments.out.mkdir(parents=True, exist_ok=True)
    rankers = rankers_of(arguments.runs)
    _check_kept(arguments.out / "rankers.json", rankers, arguments)
    work = slices(arguments.count, arguments.hard, arguments.seed, arguments.real)
    found = by_slice(measure(arguments.out / "results.jsonl", rankers, work))
    faithful = None
    if arguments.explained:
        print(f"checking the reasons of {arguments.explained} incidents", flush=True)
        checked = generated("seen", arguments.explained, arguments.seed + 1)
        incidents = [one.incident for one in islice(checked, arguments.explained)]
        faithful = measure_faithfulness(incidents, rankers[ENSEMBLE])
    text = tables(found, {name: one.megabytes for name, one in rankers.items()}, faithful)
    text = f"{_made_by(arguments)}\n\n{text}"
    replace_file(arguments.out / "report.md", text.encode())
    print(text)
    if arguments.write_docs:
        write_between(arguments.write_docs, "graph_rca", text)
    return 0


def rankers_of(runs: Sequence[Path]) -> dict[str, Ensemble]:
    """Return what is compared, by name: each shipped network, their mean, and the networks of runs.

    Raises:
        ConfigurationError: weights are missing or damaged, a run has none, or two runs have one name.
    """
    whole = shipped()
    alone = whole.alone()
    found = {name: alone[kind] for kind, name in MEMBERS.items() if kind in alone} | {ENSEMBLE: whole}
    names = [run.resolve().name for run in runs]
    if len(set(names)) < len(names):
        raise ConfigurationError("--runs: two folders have one name, which rows are called by; rename one")
    for name, run in zip(names, runs, strict=True):
        paths = sorted(run.glob("*.safetensors"))
        if not paths:
            raise ConfigurationError(
                f"{run}: holds no networks; train some: python -m graph_rca train --help"
            )
        for path in paths:
            found[f"{name}/{path.stem}"] = load_ensemble(path)
    return found


def _check_kept(path: Path, rankers: Mapping[str, Ensemble], arguments: argparse.Namespace) -> None:
    facts: dict[str, Any] = {
        "rankers": {name: one.card["sha256"] for name, one in rankers.items()}, "seed": arguments.seed,
        "count": arguments.count, "hard": arguments.hard,
    }  # fmt: skip
    if path.exists() and json.loads(path.read_text(encoding="utf-8")) != facts:
        raise ConfigurationError(
            f"{path.parent} holds results of other weights, sizes or another seed; give another --out"
        )
    replace_file(path, json.dumps(facts).encode())


def _made_by(arguments: argparse.Namespace) -> str:
    runs = f" --runs {' '.join(run.name for run in arguments.runs)}" if arguments.runs else ""
    real = " --real DIR" if arguments.real else ""
    return (
        f"`python -m graph_rca report --count {arguments.count} --hard {arguments.hard} --seed {arguments.seed}"
        f" --explained {arguments.explained}{runs}{real}` on {datetime.now(UTC):%Y-%m-%d}."
    )
