"""The command behind `python -m chaos baselines`: measure the trivial rules, print and document the
table.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from tqdm import tqdm

from chaos.baselines import Table, measure, over_the_bar, to_json, to_markdown
from core.episode_store.scenarios import scenario_paths, split_folder
from make_judge_model import load_judge
from project_types import ConfigurationError, Scenario, read_scenario

BEGIN, END = "<!-- baselines:begin -->", "<!-- baselines:end -->"


def command(arguments: argparse.Namespace) -> int:
    """Measure every folder; returns 1 when a rule passes the bar."""
    judge = load_judge("offline")
    tables: dict[str, Table] = {}
    for name in arguments.folders:
        folder = split_folder(name)
        tables[folder.name] = asyncio.run(
            measure(_read(scenario_paths(folder), folder.name), judge, seed=arguments.seed)
        )
    if arguments.json:
        print(json.dumps({name: to_json(table) for name, table in tables.items()}, indent=2))
    else:
        print(to_markdown(tables))
    if arguments.write_docs:
        write_between_markers(arguments.write_docs, to_markdown(tables))
    too_good = [
        f"{split}: {rule}"
        for split, table in tables.items()
        for rule in over_the_bar(table, arguments.max / 100)
    ]
    for rule in too_good:
        print(f"above the bar of {arguments.max:g} %: {rule}; these scenarios are too easy", file=sys.stderr)
    return 1 if too_good else 0


def write_between_markers(file: Path, text: str) -> None:
    """Replace what stands between the two markers. Raises ConfigurationError when the file lacks them."""
    try:
        page = file.read_text(encoding="utf-8")
    except OSError as trouble:
        raise ConfigurationError(
            f"{file}: cannot be read ({trouble.strerror}); name the page: --write-docs FILE"
        ) from trouble
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ConfigurationError(
            f"{file}: lacks the lines {BEGIN} and {END}; add them where the table belongs"
        )
    file.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


def _read(paths: Iterable[Path], name: str) -> Iterator[Scenario]:
    for path in tqdm(list(paths), desc=f"baselines {name}", unit="scenario", file=sys.stderr, disable=None):
        yield read_scenario(path)
