"""The command behind `python -m evaluation rescore`: another judge reads stored reports, nothing is played
again.

The new verdicts go beside the episodes, into `verdicts-NAME.jsonl`, one line per episode, and are kept: a
second call asks only for what is missing. Agreement is counted where both judges gave a verdict. The episodes
themselves are never changed, so neither are their rewards.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from chaos.shipped import split_folder
from core.command_line import printable
from core.episode_store.episodes import DIGEST, read_models
from core.episode_store.lines import EpisodesError, append
from core.episode_store.loading import load_run
from core.episode_store.runs import run_of
from core.episode_store.scenarios import PlayedScenarios, digest
from evaluation.agreement import agreement, to_json, to_text
from evaluation.concurrency import drain
from make_judge_model import check_judge, load_judge
from project_types import Episode, Frozen, Judge, JudgeError, Scenario, ScenarioError, Verdict

ReportKey = tuple[str, int, str]
"""Scenario id, sample number and digest of the report: what a verdict is about."""


class Rescored(Frozen):
    """One line of `verdicts-NAME.jsonl`."""

    scenario_id: str
    sample: int
    report_digest: str
    """What was judged: a verdict of a report that has since been replaced does not count."""
    verdict: Verdict


def command(arguments: argparse.Namespace) -> int:
    """Judge what is missing, then compare. Returns 1 when the judge failed on some."""
    found = load_run(arguments.run, split=Path(arguments.split).name, sampling=arguments.sampling)
    for note in found.warnings():
        print(printable(f"note: {note}"), file=sys.stderr)
    judged = [episode for episode in found.episodes if episode.report and episode.verdict]
    if not judged:
        raise EpisodesError(
            f"{found.again}: no episode has a report and a verdict; there is nothing to judge again"
        )
    judge = load_judge(arguments.judge)
    store = verdicts_file(found.again, judge.name)
    missing = [episode for episode in judged if _key(episode) not in _known(store)]
    failed: list[str] = []
    if missing:
        folder = split_folder(arguments.split) if arguments.split else None
        scenarios = Scenarios(run_of(found.file.path).scenarios, folder)
        failed = asyncio.run(_judge(missing, judge, scenarios, store, arguments.concurrency))
    known = _known(store)
    pairs = [(episode, known[_key(episode)]) for episode in judged if _key(episode) in known]
    if not pairs:
        raise EpisodesError(
            f"{judge.name}: judged none of {len(judged)} reports; the first failure: {failed[0]}"
        )
    result = agreement(pairs)
    print(json.dumps(to_json(result), indent=2) if arguments.json else to_text(result, judge.name))
    return _tell_failed(failed, judge.name)


def _known(store: Path) -> dict[ReportKey, Verdict]:
    """Return the verdicts that are kept already."""
    lines = read_models(store, Rescored)
    return {(line.scenario_id, line.sample, line.report_digest): line.verdict for line in lines}


def _tell_failed(failed: Sequence[str], judge: str) -> int:
    """Say which reports have no verdict; returns 1 when some have none."""
    for why in failed[:3]:
        print(printable(f"failed: {why}"), file=sys.stderr)
    if failed:
        print(
            f"{len(failed)} reports have no verdict of {judge}; the same command asks again", file=sys.stderr
        )
    return int(bool(failed))


def verdicts_file(where: Path, judge: str) -> Path:
    """Return where a judge's verdicts on these episodes are kept."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", judge).strip("-.") or "judge"
    if name != judge:
        name += "-" + hashlib.sha256(judge.encode()).hexdigest()[:6]
    return (
        where / f"verdicts-{name}.jsonl"
        if where.is_dir()
        else where.with_name(f"{where.stem}.verdicts-{name}.jsonl")
    )


async def _judge(
    episodes: Sequence[Episode], judge: Judge, scenarios: Scenarios, store: Path, at_once: int
) -> list[str]:
    """Ask about every episode and store the verdicts; returns why some got none."""
    await check_judge(judge)
    failed: list[str] = []
    ordered = sorted(episodes, key=lambda episode: episode.scenario_id)
    bar = tqdm(total=len(ordered), unit="report", desc=judge.name, file=sys.stderr)
    with append(store) as add, bar:

        async def one(episode: Episode) -> None:
            try:
                add((await _rescored(episode, judge, scenarios)).model_dump_json())
            except (JudgeError, ScenarioError) as trouble:
                failed.append(f"{episode.scenario_id}#{episode.sample}: {trouble}")
            bar.update()

        await drain(iter(ordered), one, at_once)
    return failed


async def _rescored(episode: Episode, judge: Judge, scenarios: Scenarios) -> Rescored:
    """Judge one report. Raises JudgeError, ScenarioError."""
    assert episode.report is not None
    scenario, mark = scenarios.of(episode)
    if episode.metadata.get(DIGEST, mark) != mark:
        raise JudgeError("its scenario file has changed since it was played")
    verdict = await judge.verdict(scenario, episode.report)
    scenario_id, sample, report_digest = _key(episode)
    return Rescored(scenario_id=scenario_id, sample=sample, report_digest=report_digest, verdict=verdict)


class Scenarios:
    """The scenarios that the episodes were played on, each read once while its episodes are judged."""

    def __init__(self, played: PlayedScenarios, folder: Path | None) -> None:
        self._played, self._folder = played, folder
        self._latest: tuple[str, Scenario, str] | None = None

    def of(self, episode: Episode) -> tuple[Scenario, str]:
        """Return the scenario of an episode and the digest of its file. Raises ScenarioError."""
        if self._latest is None or self._latest[0] != episode.scenario_id:
            found = self._played.find(episode.scenario_id, episode.split, self._folder)
            if found is None:
                where = self._folder or "where the run had it"
                raise ScenarioError(
                    f"scenario {episode.scenario_id}: no file {where}; name the folder "
                    "these episodes were played on with --split"
                )
            self._latest = episode.scenario_id, found[0], digest(found[1])
        return self._latest[1:]


def _key(episode: Episode) -> ReportKey:
    assert episode.report is not None
    text = episode.report.model_dump_json()
    return episode.scenario_id, episode.sample, hashlib.sha256(text.encode()).hexdigest()[:16]
