"""The command behind `python -m chaos baselines`: measure rules and classifiers,
print and document the table.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from pathlib import Path

from tqdm import tqdm

from chaos.baselines.learned import fit
from chaos.baselines.measuring import TRIVIAL, Rules, Table, measure, over_the_bar, to_json, to_markdown
from chaos.shipped import split_folder
from core.episode_store.scenarios import scenario_paths
from core.marked_text import write_between
from make_judge_model import load_judge
from project_types import read_scenario, read_scenarios

NAME = "baselines"


def command(arguments: argparse.Namespace) -> int:
    """Measure every folder. Returns 1 when a rule passes its bar."""
    rules = {**TRIVIAL, **(_learned(arguments.train) if arguments.train else {})}
    bar = arguments.max / 100 if arguments.max is not None else None
    folders = [split_folder(name) for name in arguments.folders]
    tables = {folder.name: _measured(folder, rules, arguments.seed) for folder in folders}
    if arguments.json:
        print(json.dumps({name: to_json(table) for name, table in tables.items()}, indent=2))
    else:
        print(to_markdown(tables))
    if arguments.write_docs:
        write_between(arguments.write_docs, NAME, to_markdown(tables))
    too_good = [f"{split}: {rule}" for split, table in tables.items() for rule in over_the_bar(table, bar)]
    for rule in too_good:
        print(f"above the bar: {rule}; these scenarios are too easy", file=sys.stderr)
    return 1 if too_good else 0


def _learned(name: str) -> Rules:
    """Classifiers that learnt from a split."""
    folder = split_folder(name)
    print(f"learning from {folder} ...", file=sys.stderr)
    found = fit(read_scenarios(folder))
    return {"words": found.words, "complaints": found.complaints}


def _measured(folder: Path, rules: Rules, seed: int) -> Table:
    paths = list(scenario_paths(folder))
    with tqdm(total=len(paths), desc=f"baselines {folder.name}", unit="scenario", disable=None) as progress:
        scenarios = (read_scenario(path) for path in paths)
        judge = load_judge("offline")
        return asyncio.run(measure(scenarios, judge, rules, seed=seed, note=progress.update))
