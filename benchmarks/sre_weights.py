"""Fit what each number counts for in `script:sre`, on generated scenarios of the wordings of train.

    python benchmarks/sre_weights.py [--count 360] [--seed 77] [--out core/policies/sre/weights.json]

Every scenario is investigated through the real tools, as an episode would. The options that the script has at
the end are kept, with the one that is right. The weights maximise the likelihood of the right options (a
conditional logit with a quadratic penalty). With --check they are only measured, on a split of the wordings
of test.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

sys.path.insert(0, str(Path(__file__).parents[1]))
from build_logs import build
from chaos.splits import jobs, texts, write_split
from core.conversation import opening
from core.policies.scripting import Desk
from core.policies.sre import clues
from core.policies.sre.play import SUSPECTS, Notes, look_around, measure, options, question, read
from log_search_tools import log_tools
from project_types import EpisodeConfig, Scenario, read_scenario

PENALTY = 0.003
RULES = EpisodeConfig(tools="full", max_turns=40)
EVERYBODY = 99
"""While weights are fitted, every service is asked, since nothing says yet who is suspicious."""
Floats = NDArray[np.float64]


class Case(NamedTuple):
    """The options of one investigation: whom they blame, their numbers, and which are right."""

    services: list[str]
    numbers: list[dict[str, float]]
    right: list[bool]
    culprit: str


def play(path: Path, database: Path, most_suspects: int) -> Case | None:
    """Investigate one scenario; None when the script would say that it does not know."""
    import asyncio

    scenario = read_scenario(path)
    tools = {tool.name: tool for tool in log_tools(database, scenario.id, RULES)}
    story = opening(scenario, list(tools.values()), RULES)[1]["content"]
    notes = Notes(Desk(random.Random(0), RULES, story, frozenset(tools)), most_suspects)
    for steps in (look_around, read):
        _drive(steps(notes), tools, asyncio.run)
    if not notes.follow():
        return None
    for steps in (measure, question):
        _drive(steps(notes), tools, asyncio.run)
    return _case(notes, scenario)


def _drive(steps: Any, tools: dict[str, Any], run: Any) -> None:
    """Answer what a part of the script asks."""
    try:
        asked = next(steps)
        while True:
            shown = [
                run(tools[call.tool].run(tools[call.tool].arguments(**call.arguments))).text for call in asked
            ]
            asked = steps.send(shown)
    except StopIteration:
        return


def _case(notes: Notes, scenario: Scenario) -> Case:
    truth = scenario.ground_truth
    numbers, right, services = [], [], []
    for option, known in options(notes):
        silent = isinstance(option, str)
        service = option if isinstance(option, str) else option.service
        quoted = not isinstance(option, str) and any(
            one.startswith(option.id) for one in truth.evidence_log_ids
        )
        numbers.append(known)
        services.append(service)
        right.append(service == truth.service and (quoted or (silent and not truth.evidence_log_ids)))
    return Case(services, numbers, right, truth.service)


def investigate(
    split: str, count: int, seed: int, redraw: int = 0, most_suspects: int = SUSPECTS
) -> list[Case | None]:
    """Generate a split and investigate all of it, with two processes."""
    with tempfile.TemporaryDirectory() as scratch:
        folder, database = Path(scratch) / split, Path(scratch) / "logs.db"
        with texts(jobs(split, count, seed, redraw=redraw), 2) as made:
            write_split(made, folder)
        build(Path(scratch), database)
        paths = sorted(folder.glob("scenario-*.json"))
        with get_context("spawn").Pool(2) as pool:
            return pool.map(partial(play, database=database, most_suspects=most_suspects), paths, chunksize=4)


def fit(cases: Sequence[Case]) -> dict[str, float]:
    """The weights that make the right options likeliest."""
    names = sorted({name for case in cases for numbers in case.numbers for name in numbers})
    tables = [(table(case, names), np.array(case.right)) for case in cases if any(case.right)]

    def loss(weights: Floats) -> tuple[float, Floats]:
        total, slope = 0.0, np.zeros_like(weights)
        for rows, right in tables:
            chance = np.exp(rows @ weights - np.max(rows @ weights))
            chance /= chance.sum()
            hit = chance[right].sum()
            total -= float(np.log(hit + 1e-12))
            slope -= rows.T @ (np.where(right, chance / hit, 0.0) - chance)
        mean = total / len(tables) + PENALTY * float(weights @ weights) / 2
        return mean, slope / len(tables) + PENALTY * weights

    found = minimize(loss, np.zeros(len(names)), jac=True, method="L-BFGS-B").x
    return {
        name: round(float(value), 2) for name, value in zip(names, found, strict=True) if abs(value) >= 0.005
    }


def table(case: Case, names: Sequence[str]) -> Floats:
    """The options of a case as rows of numbers."""

    def row(numbers: Mapping[str, float]) -> list[float]:
        return [numbers.get(name, 0.0) for name in names]

    return np.array([row(numbers) for numbers in case.numbers])


def tell(what: str, cases: Sequence[Case | None]) -> None:
    """Print how often the option that the script takes is right."""
    best = [clues.likeliest(case.services, _likelihoods(case)) if case else -1 for case in cases]
    right = [bool(case and case.right[at]) for case, at in zip(cases, best, strict=True)]
    service = [bool(case and case.services[at] == case.culprit) for case, at in zip(cases, best, strict=True)]
    there = [bool(case and any(case.right)) for case in cases]
    print(
        f"{what}: right {np.mean(right):.1%}, service {np.mean(service):.1%}, the right option was there in "
        f"{np.mean(there):.1%}, unknown {sum(case is None for case in cases)} of {len(cases)}"
    )


def _likelihoods(case: Case) -> list[float]:
    return [clues.likelihood(numbers) for numbers in case.numbers]


def main() -> None:
    """Fit and measure, or only measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=360, help="scenarios to fit on (default %(default)s)")
    parser.add_argument("--seed", type=int, default=77, help="their seed (default %(default)s)")
    parser.add_argument(
        "--out", type=Path, default=clues.WEIGHTS, help="file of the weights (default %(default)s)"
    )
    parser.add_argument(
        "--check", action="store_true", help="fit nothing; measure the weights that are there"
    )
    parser.add_argument("--redraw", type=int, default=0, help="other names and wordings for what is measured")
    arguments = parser.parse_args()
    if not arguments.check:
        cases = investigate("val", arguments.count, arguments.seed, most_suspects=EVERYBODY)
        found = fit([case for case in cases if case])
        arguments.out.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        clues.weights.cache_clear()
        tell("fitted on", cases)
    tell("measured on", investigate("test", 104, arguments.seed + 1, arguments.redraw))


if __name__ == "__main__":
    main()
