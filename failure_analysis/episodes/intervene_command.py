"""The command behind `python -m failure_analysis intervene`: finds episode, scenario, logs and policy, and
prints the effect.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

from build_logs import build
from core.episode_store.episodes import read_numbered
from core.episode_store.lines import EpisodesError, last_text
from core.episode_store.run_folder import RunFolder
from core.episode_store.runs import run_of
from core.policies.registry import access, opened, parse
from failure_analysis.episodes.intervening import (
    Change,
    Difference,
    Effect,
    Situation,
    intervene,
    replacing_call,
)
from failure_analysis.records import StoreError
from failure_analysis.store import FailureStore
from log_search_tools import log_tools
from make_judge_model import load_judge
from project_types import EMBEDDED, Episode, EpisodeConfig, Scenario

SEED = 0
"""Of the policy's dice; both sides of one sample throw the same."""
LONGEST_RESULT = 100_000
"""Characters of a replacement that are read."""


def command(arguments: argparse.Namespace) -> int:
    """Play both sides and print what changed."""
    episode, run = _episode(arguments)
    parse(arguments.policy)  # a mistake in it is said before anything is built
    scenario, folder = _scenario(arguments, episode, run)
    config = _rules(arguments, run).model_copy(update={"temperature": arguments.temperature})
    change = Change(
        arguments.turn,
        result=_read(arguments.replace_result) if arguments.replace_result else None,
        call=replacing_call(arguments.replace_call) if arguments.replace_call else None,
    )
    with _logs(arguments, folder, scenario) as database:
        effect = asyncio.run(_run(arguments, episode, scenario, database, config, change))
    sys.stdout.write(effect.model_dump_json(indent=2) + "\n" if arguments.json else _told(effect))
    return 0


async def _run(
    arguments: argparse.Namespace,
    episode: Episode,
    scenario: Scenario,
    database: Path,
    config: EpisodeConfig,
    change: Change,
) -> Effect:
    judge, name = load_judge(arguments.judge), parse(arguments.policy)
    async with opened(name, config, SEED, access(arguments, name)) as policy:
        situation = Situation(
            episode,
            scenario,
            lambda: log_tools(database, scenario.id, config),
            lambda sample: policy.chat(scenario.id, sample),
            judge,
            config,
        )
        with tqdm(total=2 * arguments.k, unit="episode", desc="intervene", leave=False, disable=None) as bar:

            def played() -> None:
                bar.update()

            return await intervene(situation, change, arguments.k, arguments.concurrency, played)


def _episode(arguments: argparse.Namespace) -> tuple[Episode, RunFolder]:
    """The episode named, and the run it belongs to."""
    path, colon, line = arguments.episode.rpartition(":")
    if colon and line.isdigit():
        return read_numbered(Path(path), int(line)), run_of(Path(path))
    store = FailureStore(arguments.failures)
    found = store.experiment(arguments.episode)
    if found is None or found.episode is None:
        raise StoreError(
            f"--episode {arguments.episode}: no captured episode has this id; give an id, or FILE:LINE of a JSONL file"
        )
    return store.transcript(found), run_of(store.folder / found.episode.file)


def _scenario(arguments: argparse.Namespace, episode: Episode, run: RunFolder) -> tuple[Scenario, Path]:
    """The scenario the episode was played on, and the file it is in."""
    found = run.scenarios.find(episode.scenario_id, episode.split, arguments.scenarios)
    if found is None:
        where = arguments.scenarios or "where the run found it"
        raise StoreError(f"scenario {episode.scenario_id}: no file {where}; give its folder with --scenarios")
    return found


def _rules(arguments: argparse.Namespace, run: RunFolder) -> EpisodeConfig:
    """The rules of the episode's run, or those asked for."""
    if arguments.rules != "run":
        return EMBEDDED if arguments.rules == "embedded" else EpisodeConfig()
    try:
        return run.rules
    except EpisodesError as trouble:
        raise StoreError(f"{trouble}; give --rules embedded or --rules general") from trouble


def _read(path: Path) -> str:
    try:
        return last_text(path, LONGEST_RESULT).rstrip("\n")
    except OSError as trouble:
        raise StoreError(f"--replace-result {path}: cannot be read ({trouble.strerror})") from trouble


@contextmanager
def _logs(arguments: argparse.Namespace, file: Path, scenario: Scenario) -> Iterator[Path]:
    """The searchable logs: those given, or those of this one scenario, built for
    as long as they are needed.
    """
    if arguments.database:
        yield arguments.database
        return
    with tempfile.TemporaryDirectory(prefix="intervene-") as scratch:
        split = Path(scratch) / "scenarios"
        split.mkdir()
        shutil.copyfile(file, split / f"scenario-{scenario.id}.json")
        build(split, Path(scratch) / "logs.db")
        yield Path(scratch) / "logs.db"


def _told(effect: Effect) -> str:
    def interval(one: Difference) -> str:
        return f"{one.value:+.0%} [{one.low:+.0%}, {one.high:+.0%}]"

    before, after = effect.unchanged, effect.with_change
    lines = [
        f"scenario {effect.scenario_id}: {effect.changed} replaced, then played on",
        f"unchanged   {before.right}/{before.played} right, {before.grounded} grounded",
        f"changed     {after.right}/{after.played} right, {after.grounded} grounded",
        f"success     {interval(effect.success)} (95 % interval)",
        f"grounded    {interval(effect.grounded)}",
        *(
            [f"not counted {before.failed + after.failed} plays without a verdict"]
            if before.failed + after.failed
            else []
        ),
        *(f"note        {note}" for note in effect.notes),
    ]
    return "\n".join(lines) + "\n"
