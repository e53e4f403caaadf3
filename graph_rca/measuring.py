"""Every ranker on every slice: incidents are ranked one by one, and each result is kept, so that a killed report goes on.

A ranker that refuses ("insufficient evidence") gets no point. Encoding is timed apart from ranking; a learned
ranker's time holds both.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from core.episode_store.scenarios import scenario_paths
from graph_rca.baselines import BASELINES, Case
from graph_rca.graph import InsufficientEvidence, build
from graph_rca.rank import check_evidence, path_of
from graph_rca.scoring import Row, chance, hits
from graph_rca.slices import CHANGES, GENERATED, changed, generated
from graph_rca.weights import Ensemble
from project_types import Scenario, read_jsonl, read_scenario


class Measured(NamedTuple):
    """One incident of a slice, with what each ranker made of it."""

    slice: str
    id: str
    services: int
    twins: str
    refused: bool
    rows: Mapping[str, Row]


def slices(
    count: int, hard: int, seed: int, real: str | None
) -> Iterator[tuple[str, int, Iterator[Scenario]]]:
    """Yield (name, size, scenarios) of every slice."""
    for name in GENERATED:
        yield name, count, generated(name, count, seed)
    for name, change in CHANGES.items():
        yield name, hard, (changed(one, change) for one in generated("seen", hard, seed))
    if real:
        paths = scenario_paths(Path(real))
        yield "real", len(paths), (read_scenario(path) for path in paths)


def measure(
    out: Path, rankers: Mapping[str, Ensemble], work: Iterator[tuple[str, int, Iterator[Scenario]]]
) -> list[Measured]:
    """Rank everything that `out` does not hold yet, and return all."""
    known = {(one["slice"], one["number"]): one for one in (read_jsonl(out) if out.exists() else ())}
    with out.open("a", encoding="utf-8") as file:
        for name, size, scenarios in work:
            for number in tqdm(range(size), desc=name, unit="incident"):
                scenario = next(scenarios, None)
                if scenario is None:
                    break
                if (name, number) not in known and not scenario.ground_truth.insufficient:
                    known[name, number] = _measured(name, number, scenario, rankers)
                    print(json.dumps(known[name, number]), file=file, flush=True)
    return [_read(one) for one in known.values()]


def _read(given: Mapping[str, Any]) -> Measured:
    rows = {name: Row(tuple(at), path, ms) for name, (at, path, ms) in given["rows"].items()}
    return Measured(given["slice"], given["id"], given["services"], given["twins"], given["refused"], rows)


def _measured(name: str, number: int, scenario: Scenario, rankers: Mapping[str, Ensemble]) -> dict[str, Any]:
    pair = "/".join(sorted((scenario.id, scenario.provenance.twin))) if scenario.provenance.twin else ""
    rows, refused = _rows(scenario, rankers)
    return {"slice": name, "number": number, "id": scenario.id, "services": len(scenario.services), "twins": pair,
            "refused": refused, "rows": rows}  # fmt: skip


def _rows(scenario: Scenario, rankers: Mapping[str, Ensemble]) -> tuple[dict[str, Row], bool]:
    incident, truth = scenario.incident, scenario.services.index(scenario.ground_truth.service)
    rows = {"chance": Row(chance(len(scenario.services)), None, 0.0)}
    vectors = any(member.model.settings.vectors for one in rankers.values() for member in one.members)
    started = time.perf_counter()
    try:
        graph = build(incident, vectors=vectors)
        check_evidence(graph)
    except InsufficientEvidence:
        nothing = Row((0.0,) * 5, None, 0.0)
        return rows | dict.fromkeys([*BASELINES, *rankers], nothing), True
    encoding_ms = 1000 * (time.perf_counter() - started)
    case, path = Case(incident, graph), list(scenario.ground_truth.propagation_path)
    for name, baseline in BASELINES.items():
        began = time.perf_counter()
        scores = baseline(case)
        rows[name] = Row(hits(scores, truth), None, 1000 * (time.perf_counter() - began))
    for name, ensemble in rankers.items():
        began = time.perf_counter()
        scores = ensemble.probabilities(graph)
        ms = encoding_ms + 1000 * (time.perf_counter() - began)
        told = [graph.services[place] for place in path_of(graph, int(np.argmax(scores)))]
        rows[name] = Row(hits(scores, truth), float(told == path) if path else None, ms)
    return rows, False


def by_slice(found: Sequence[Measured]) -> dict[str, list[Measured]]:
    """Return the results of each slice."""
    grouped: dict[str, list[Measured]] = {}
    for one in found:
        grouped.setdefault(one.slice, []).append(one)
    return grouped
