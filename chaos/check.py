"""Proves folders of scenarios sound, or says what is not: each scenario by itself, the tools' reach, each
split as a whole.

Everything is read back from the files, nothing from the generator, so that hand-written and imported
scenarios can be checked too; bounds on sizes hold only for generated ones. Of imported scenarios, words and
rows that generated data may not have are warnings, and reach is that of the culprit where no row is known to
prove the cause. The judge is given by who calls.
"""

from __future__ import annotations

import asyncio
import json
import random
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from build_logs import build
from chaos.baselines.trivial import RULES, Rule
from chaos.leaks import leaks
from chaos.reach import Reach, reach
from chaos.soundness import judged, sizes, truth
from chaos.splits import LEFT_OUT
from chaos.twins import twin_problems
from core.episode_store.lines import read_lines
from project_types import EMBEDDED, EpisodeConfig, Judge, Scenario, ScenarioError, read_scenario

MOST_CALLS = 6
SMALL = EMBEDDED.model_copy(update={"tool_budget_tokens": max(600, EMBEDDED.tool_budget_tokens)})
"""The rules of the small model."""
FIRST_PAGE, SECOND_PAGE = 0.65, 0.85
"""Shares of scenarios whose culprit's first page, or first two pages, must show evidence under the small
budget.
"""
RULE_BAR = 0.40
ENOUGH = 40
"""Scenarios from which on shares mean something."""


@dataclass
class Findings:
    """What a check saw. Sound when `problems` is empty."""

    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    """What would be a problem of generated data and is how real data is."""
    facts: list[str] = field(default_factory=list)


def check(folder: Path, judge: Judge) -> Findings:
    """Check a split folder, or a folder of split folders. Raises ScenarioError when there is nothing to
    check.
    """
    below = sorted(path for path in folder.glob("*") if path.is_dir())
    splits = [path for path in [folder, *below] if any(path.glob("scenario-*.json"))]
    if not splits:
        raise ScenarioError(
            f"{folder}: no scenario-*.json here or one folder below; run: python -m chaos generate --help"
        )
    findings, read = Findings(), {}
    for split in splits:
        read[split.name] = _read(split, findings)
    findings.problems += _across(read)
    size = sum(path.stat().st_size for split in splits for path in split.iterdir())
    if findings.problems:  # the tools need readable files with ids of their own
        return findings
    with tempfile.TemporaryDirectory() as scratch:
        database = Path(scratch) / "logs.db"
        build(folder, database)
        for split in splits:
            asyncio.run(_check_split(split, read[split.name], judge, database, findings))
    findings.facts.append(f"{sum(map(len, read.values()))} scenarios, {size / 1e6:.1f} MB")
    return findings


def _read(split: Path, findings: Findings) -> list[Scenario]:
    """Every scenario that can be read; the rest are problems, and so are differences to scenarios.jsonl."""
    scenarios = []
    for path in sorted(split.glob("scenario-*.json")):
        try:
            scenario = read_scenario(path)
        except ScenarioError as trouble:
            findings.problems.append(str(trouble))
            continue
        scenarios.append(scenario)
        found = [*sizes(scenario)] if scenario.provenance.generator else []
        strange = [f"{path}: {problem}" for problem in (*leaks(scenario, path), *truth(scenario))]
        (findings.warnings if is_real(scenario) else findings.problems).extend(strange)
        if path.name != f"scenario-{scenario.id}.json":
            found.append(f"file is not named after its id {scenario.id}")
        findings.problems += [f"{path}: {problem}" for problem in found]
    findings.problems += _combined(
        split, written=any(scenario.provenance.generator for scenario in scenarios)
    )
    return scenarios


def is_real(scenario: Scenario) -> bool:
    """Whether it was imported from somewhere: nobody can mend what real programs wrote."""
    return scenario.provenance.source is not None and scenario.provenance.generator is None


def _combined(split: Path, *, written: bool) -> Iterator[str]:
    """Differences between scenarios.jsonl and the files; folders written by hand need none."""
    combined = split / "scenarios.jsonl"
    if not combined.exists():
        if written:
            yield f"{combined} is missing; generate the split again"
        return
    told = {}
    for line in read_lines(combined):
        try:
            row = json.loads(line.content or b"")
            told[row["id"]] = row
        except (ValueError, TypeError, KeyError):
            yield f"{combined}:{line.number}: not a JSON object with an id"
    for path in sorted(split.glob("scenario-*.json")):
        try:
            full = json.loads(path.read_bytes())
            short = {key: value for key, value in full.items() if key not in LEFT_OUT}
            row = told.pop(short["id"], None)
        except (ValueError, AttributeError, KeyError):
            continue  # reported as unreadable already
        if row != short:
            yield f"{combined}: {'no line for' if row is None else 'another content than'} {path.name}"
    for lost in told:
        yield f"{combined}: {lost} has no file"


def _origin(scenario: Scenario) -> tuple[int | None, str]:
    """A scenario's seed, and what it shares with its twin alone."""
    return scenario.provenance.seed, min(scenario.id, scenario.provenance.twin or scenario.id)


def _across(read: dict[str, list[Scenario]]) -> Iterator[str]:
    """What must hold between scenarios: ids and seeds of their own, and an unseen slice that is really
    unseen.
    """
    everything = [scenario for scenarios in read.values() for scenario in scenarios]
    ids = Counter(scenario.id for scenario in everything)
    origins = set(map(_origin, everything))
    seeds = Counter(seed for seed, _ in origins if seed is not None)
    counted: dict[str, Counter[Any]] = {"id": ids, "seed": seeds}
    for what, counts in counted.items():
        yield from (
            f"{count} scenarios share the {what} {value}" for value, count in counts.items() if count > 1
        )
    for split, scenarios in read.items():
        yield from (f"{split}: {problem}" for problem in twin_problems(scenarios))
    shown = [scenario for scenario in everything if not scenario.provenance.unseen]
    faults = {scenario.ground_truth.fault_type for scenario in shown}
    systems = {scenario.provenance.topology for scenario in shown}
    for split, scenarios in read.items():
        for scenario in (scenario for scenario in scenarios if scenario.provenance.unseen):
            marked = f"{split}: {scenario.id} is marked unseen, but"
            if split in ("train", "val"):
                yield f"{marked} training shows it"
            if scenario.ground_truth.fault_type in faults:
                yield f"{marked} its fault type {scenario.ground_truth.fault_type} occurs elsewhere"
            if scenario.provenance.topology in systems:
                yield f"{marked} its topology {scenario.provenance.topology} occurs elsewhere"


async def _check_split(
    split: Path, scenarios: list[Scenario], judge: Judge, database: Path, findings: Findings
) -> None:
    small: list[Reach] = []
    real: list[Reach] = []
    for scenario in tqdm(scenarios, desc=f"checking {split.name}", unit="scenario", disable=None):
        found = [problem async for problem in judged(scenario, judge)]
        for config in (SMALL, EpisodeConfig()) if scenario.ground_truth.evidence_log_ids else ():
            way = await reach(scenario, database, config)
            (findings.warnings if is_real(scenario) else found).extend(_too_far(way, config))
            small += [way] if config is SMALL else []
        if is_real(scenario) and not scenario.ground_truth.insufficient:
            real.append(await reach(scenario, database, SMALL))
        findings.problems += [f"{split}/scenario-{scenario.id}.json: {problem}" for problem in found]
    _check_shares(split, scenarios, small, findings)
    if real:
        calls = Counter(way.culprit for way in real)
        told = ", ".join(f"{cost}: {calls[cost]}" for cost in sorted(calls, key=str))
        findings.facts.append(f"{split.name}: calls until a tool shows the culprit of real incidents: {told}")


def _check_shares(split: Path, scenarios: list[Scenario], small: list[Reach], findings: Findings) -> None:
    """What holds for most scenarios of a split: where the evidence is shown, and
    what rules of thumb achieve.
    """
    unseen = sum(scenario.provenance.unseen for scenario in scenarios)
    findings.facts.append(f"{split.name}: {len(scenarios)} scenarios, {unseen} unseen")
    if small:  # controls have no evidence that could be reached
        _check_pages(split, small, findings)
    rules = {}
    for name, rule in RULES.items():
        right = sum(_blamed(rule, one) == one.ground_truth.service for one in scenarios)
        rules[name] = right / len(scenarios)
    told = ", ".join(f"{name} {_percent(share)}" for name, share in rules.items())
    findings.facts.append(f"{split.name}: culprit named by a rule of thumb: {told}")
    for name, share in rules.items():
        if share > RULE_BAR and len(scenarios) >= ENOUGH:
            findings.problems.append(
                f"{split}: the rule {name!r} names the culprit in {_percent(share)}; at most {_percent(RULE_BAR)}"
            )


def _check_pages(split: Path, small: list[Reach], findings: Findings) -> None:
    """After how many calls, and on which page of the culprit's rows, evidence is shown."""
    calls = Counter(way.first_evidence for way in small)
    told = ", ".join(f"{cost}: {calls[cost]}" for cost in sorted(calls, key=str))
    findings.facts.append(f"{split.name}: calls to the first evidence line: {told}")
    pages = {"first page": (_share(small, 1), FIRST_PAGE), "first two pages": (_share(small, 2), SECOND_PAGE)}
    told = ", ".join(f"{where} {_percent(share)}" for where, (share, _) in pages.items())
    findings.facts.append(f"{split.name}: evidence is on the culprit's {told}")
    for where, (share, bar) in pages.items():
        if share < bar and len(small) >= ENOUGH:
            findings.problems.append(
                f"{split}: evidence on the culprit's {where} in {_percent(share)}; wanted {_percent(bar)}"
            )


def _blamed(rule: Rule, scenario: Scenario) -> str:
    return rule(scenario, random.Random(scenario.id)).suspected_service


def _too_far(way: Reach, config: EpisodeConfig) -> Iterator[str]:
    budget = f"with results of {config.tool_budget_tokens} tokens"
    if way.first_evidence is None or way.first_evidence > MOST_CALLS:
        yield f"no clue leads to an evidence row within {MOST_CALLS} calls {budget}"
    for row_id, cost in way.by_id.items():
        if cost is None or cost > MOST_CALLS:
            yield f"evidence {row_id} takes {cost or 'any number of'} calls {budget}; wanted at most {MOST_CALLS}"


def _share(ways: list[Reach], page: int) -> float:
    return sum(way.culprit_page is not None and way.culprit_page <= page for way in ways) / len(ways)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
