"""Every ranker on every slice: incidents are ranked one by one, and each result is kept, so
that a killed report goes on.

A ranker that refuses ("insufficient evidence") gets no point. Time is that of the processor, because others
may use the machine; it holds what a ranker needs from an incident in memory to its scores. A slice that is
whole is not generated again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from core.episode_store.lines import append
from core.episode_store.scenarios import scenario_paths
from graph_rca.baselines import BASELINES, Case
from graph_rca.encoders import with_vectors
from graph_rca.graph import IncidentGraph, InsufficientEvidence, build
from graph_rca.paths import path_of
from graph_rca.rank import check_evidence
from graph_rca.scoring import Row, chance, hits
from graph_rca.slices import CHANGES, GENERATED, changed, generated
from graph_rca.weights import Ensemble
from project_types import Scenario, read_jsonl, read_scenario


class Slice(NamedTuple):
    """Incidents that are measured together."""

    name: str
    size: int
    scenarios: Callable[[], Iterator[Scenario]]


class Measured(NamedTuple):
    """One incident of a slice, with what each ranker made of it."""

    slice: str
    id: str
    services: int
    twins: str
    refused: bool
    rows: Mapping[str, Row]


def slices(count: int, hard: int, seed: int, real: str | None) -> list[Slice]:
    """Return every slice: generated ones, changed ones, and the real incidents of a folder."""
    found = [Slice(name, count, partial(generated, name, count, seed)) for name in GENERATED]
    found += [Slice(name, hard, partial(_changed, name, hard, seed)) for name in CHANGES]
    if real:
        paths = scenario_paths(Path(real))
        found.append(Slice("real", len(paths), lambda: map(read_scenario, paths)))
    return found


def _changed(name: str, count: int, seed: int) -> Iterator[Scenario]:
    return (changed(one, CHANGES[name]) for one in generated("seen", count, seed))


def measure(out: Path, rankers: Mapping[str, Ensemble], work: Sequence[Slice]) -> list[Measured]:
    """Rank everything that `out` does not hold yet, and return all."""
    kept = list(read_jsonl(out)) if out.exists() else []
    known = {(one["slice"], one["number"]): one for one in kept}
    with append(out) as add:

        def keep(facts: dict[str, Any]) -> None:
            known[facts["slice"], facts["number"]] = facts
            add(json.dumps(facts))

        for one in work:
            if (one.name, _END) not in known:
                for facts in _of_slice(one, rankers, {number for name, number in known if name == one.name}):
                    keep(facts)
                keep({"slice": one.name, "number": _END})
    return [_read(facts) for (_, number), facts in known.items() if number != _END]


_END = -1
"""The number of the mark that says that a slice is whole."""


def _of_slice(work: Slice, rankers: Mapping[str, Ensemble], known: set[int]) -> Iterator[dict[str, Any]]:
    bar = tqdm(work.scenarios(), total=work.size, desc=work.name, unit="incident", mininterval=1)
    for number, scenario in enumerate(bar):
        if number not in known and not scenario.ground_truth.insufficient:
            yield _measured(work.name, number, scenario, rankers)


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
    started = time.process_time()
    try:
        graph = build(incident)
        check_evidence(graph)
    except InsufficientEvidence:
        nothing = Row((0.0,) * 5, None, 0.0)
        return rows | dict.fromkeys([*BASELINES, *rankers], nothing), True
    encoding_ms = 1000 * (time.process_time() - started)
    graph, vectors_ms = _with_timed_vectors(graph, rankers)
    case, path = Case(incident, graph), list(scenario.ground_truth.propagation_path)
    for name, baseline in BASELINES.items():
        began = time.process_time()
        scores = baseline.score(case)
        ms = 1000 * (time.process_time() - began) + encoding_ms * baseline.needs_graph
        rows[name] = Row(hits(scores, truth), None, ms)
    for name, ensemble in rankers.items():
        began = time.process_time()
        scores = ensemble.probabilities(graph)
        ms = encoding_ms + 1000 * (time.process_time() - began)
        ms += sum(vectors_ms[one] for one in ensemble.encoders)
        told = [graph.services[place] for place in path_of(graph, int(np.argmax(scores)))]
        rows[name] = Row(hits(scores, truth), float(told == path) if path else None, ms)
    return rows, False


def _with_timed_vectors(
    graph: IncidentGraph, rankers: Mapping[str, Ensemble]
) -> tuple[IncidentGraph, dict[str, float]]:
    """Return the graph with the vectors that any ranker reads, and the milliseconds of each encoder."""
    spent = {}
    for name in sorted(set().union(*(one.encoders for one in rankers.values()))):
        started = time.process_time()
        graph = with_vectors(graph, [name])
        spent[name] = 1000 * (time.process_time() - started)
    return graph, spent


def by_slice(found: Sequence[Measured]) -> dict[str, list[Measured]]:
    """Return the results of each slice."""
    grouped: dict[str, list[Measured]] = {}
    for one in found:
        grouped.setdefault(one.slice, []).append(one)
    return grouped
