"""The command behind `python -m graph_rca report`: rankers and baselines on all slices, as tables in Markdown.

What is kept belongs to one set of rankers: another set needs another --out. With --write-docs the tables also go
between the markers of a page of the documentation.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path

from core.files import replace_file, sha256_of
from core.marked_text import write_between
from graph_rca.faithfulness import Faithfulness
from graph_rca.faithfulness import measure as measure_faithfulness
from graph_rca.measuring import Measured, by_slice, measure, slices
from graph_rca.scoring import Scores, summed
from graph_rca.slices import generated
from graph_rca.weights import SHIPPED, load_ensemble
from project_types import ConfigurationError

EXPLAINED = 6
"""Incidents on which reasons are checked."""


def command(arguments: argparse.Namespace) -> int:
    """Measure and print. Returns 0."""
    arguments.out.mkdir(parents=True, exist_ok=True)
    files = rankers_of(arguments.runs)
    _check_kept(arguments.out / "rankers.json", files, arguments)
    rankers = {name: load_ensemble(path) for name, path in files.items()}
    work = slices(arguments.count, arguments.hard, arguments.seed, arguments.real)
    found = by_slice(measure(arguments.out / "results.jsonl", rankers, work))
    incidents = [one.incident for one in islice(generated("seen", EXPLAINED, arguments.seed + 1), EXPLAINED)]
    faithful = measure_faithfulness(
        incidents, rankers["shipped"] if "shipped" in rankers else next(iter(rankers.values()))
    )
    text = tables(found, {name: path.stat().st_size / 1e6 for name, path in files.items()}, faithful)
    replace_file(arguments.out / "report.md", text.encode())
    print(text)
    if arguments.write_docs:
        write_between(arguments.write_docs, "graph_rca", text)
    return 0


def rankers_of(runs: Sequence[Path]) -> dict[str, Path]:
    """Return the weights that are compared, by name. Raises ConfigurationError when there are none."""
    found = {"shipped": SHIPPED} if SHIPPED.exists() else {}
    for run in runs:
        found |= {f"{run.name}/{path.stem}": path for path in sorted(run.glob("*.safetensors"))}
    if not found:
        raise ConfigurationError(
            "there are no weights to measure; train some: python -m graph_rca train --help"
        )
    return found


def _check_kept(path: Path, files: Mapping[str, Path], arguments: argparse.Namespace) -> None:
    facts = {"rankers": {name: sha256_of(one) for name, one in files.items()}, "seed": arguments.seed}
    if path.exists() and json.loads(path.read_text(encoding="utf-8")) != facts:
        raise ConfigurationError(
            f"{path.parent} holds results of other weights or another seed; give another --out"
        )
    replace_file(path, json.dumps(facts).encode())


def tables(
    found: Mapping[str, Sequence[Measured]], megabytes: Mapping[str, float], faithful: Faithfulness
) -> str:
    """Return the tables as Markdown."""
    scores = {name: _scores(items) for name, items in found.items()}
    rankers = list(next(iter(scores.values())))
    lines = ["AC@1 by slice, percent with 95 % intervals; n is how many incidents.", ""]
    lines += [f"| ranker | {' | '.join(f'{name} (n {len(found[name])})' for name in scores)} |"]
    lines += ["|---" * (1 + len(scores)) + "|"]
    for ranker in rankers:
        lines.append(f"| {ranker} | {' | '.join(one[ranker].first.percent() for one in scores.values())} |")
    for name in ("seen", "unseen systems", "real"):
        if name in scores:
            lines += ["", *_detail(name, scores[name], megabytes)]
    refused = sum(one.refused for items in found.values() for one in items)
    lines += ["", f"Refused for lack of evidence: {refused} incidents. {_told(faithful)}"]
    return "\n".join(lines) + "\n"


def _scores(items: Sequence[Measured]) -> dict[str, Scores]:
    counts, twins = [one.services for one in items], [one.twins for one in items]
    return {name: summed([one.rows[name] for one in items], counts, twins) for name in items[0].rows}


def _detail(name: str, scores: Mapping[str, Scores], megabytes: Mapping[str, float]) -> list[str]:
    lines = [
        f"Slice: {name}.",
        "",
        "| ranker | AC@1 | AC@3 | Avg@5 | lift | both twins | path | ms | MB |",
        "|---" * 9 + "|",
    ]
    for ranker, one in scores.items():
        size = f"{megabytes[ranker]:.2f}" if ranker in megabytes else "-"
        lines.append(
            f"| {ranker} | {one.first.percent()} | {one.third.percent()} | {one.average.percent()} | {one.lift:.1f} | "
            f"{one.twins.percent()} | {one.path.percent()} | {one.ms:.0f} | {size} |"
        )
    return lines


def _told(one: Faithfulness) -> str:
    return (
        f"Reasons against real removal of the data ({one.pairs} reasons): mean error {100 * one.error:.1f} points, "
        f"correlation {one.correlation:.2f}, the strongest reason agrees in {100 * one.strongest_agrees:.0f} %. "
        f"Correlation of attention with the drop without a call: {one.attention_correlation:.2f}."
    )
