"""The command behind `python -m evaluation adversaries`: play the cheats, print the table, find holes."""

from __future__ import annotations

import argparse
import asyncio
import sys

from tqdm import tqdm

from chaos.shipped import split_folder
from core.episode_store.scenarios import scenario_paths
from core.marked_text import write_between
from evaluation.adversaries.table import EVERYBODY, holes, play_all, to_markdown
from make_judge_model import check_judge, load_judge
from project_types import EMBEDDED, EpisodeConfig, read_scenario

NAME = "adversaries"
RULES = {"embedded": EMBEDDED, "general": EpisodeConfig()}


def command(arguments: argparse.Namespace) -> int:
    """Play, print, write down. Returns 1 when a cheat earns more than honesty."""
    paths = scenario_paths(split_folder(arguments.split), arguments.limit)
    judge = load_judge(arguments.judge)
    asyncio.run(check_judge(judge))
    scenarios = [read_scenario(path) for path in paths]
    with tqdm(total=len(EVERYBODY), unit="cheat", disable=None) as bar:
        rows = asyncio.run(play_all(scenarios, judge, RULES[arguments.rules], note=bar.update))
    table = to_markdown(rows)
    print(table)
    if arguments.write_docs:
        write_between(arguments.write_docs, NAME, table)
    found = holes(rows)
    for hole in found:
        print(f"a hole in the reward: {hole}", file=sys.stderr)
    return int(bool(found))
