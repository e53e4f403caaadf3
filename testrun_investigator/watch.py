"""`watch`: investigate runs that end badly with no question asked, and keep what was found.

Runs that have a finding are left alone, so it can be stopped and started at any time. A run that cannot be
investigated is told and tried again at the next look.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from pathlib import Path

from core.command_line import printable
from core.policies.contract import Policy
from core.policies.registry import access, opened, parse
from project_types import EpisodeConfig, InvestigatorError
from testrun_investigator.argus import Argus, ArgusError, run_id_of
from testrun_investigator.argus_run import BAD_ENDINGS
from testrun_investigator.ask import investigated, rules
from testrun_investigator.settings import read_settings
from testrun_investigator.toolbox import Toolbox

QUESTION = "The run ended badly. What is the root cause?"


def command(arguments: argparse.Namespace) -> int:
    """Watch until it is stopped, or look once."""
    tests = [run_id_of(one) for one in arguments.tests]
    policy = parse(arguments.policy)
    config = rules(policy.kind)
    toolbox = Toolbox(read_settings())

    async def work() -> None:
        async with opened(policy, config, arguments.seed, access(arguments, policy)) as player:
            while True:
                await look(toolbox, tests, player, config, arguments.out, arguments.limit)
                if arguments.once:
                    return
                await asyncio.sleep(arguments.every)

    try:
        asyncio.run(work())
    finally:
        toolbox.close()
    return 0


async def look(
    toolbox: Toolbox, tests: Sequence[str], player: Policy, config: EpisodeConfig, out: Path, limit: int
) -> list[str]:
    """Investigate the runs that ended badly and have no finding yet; returns their ids."""
    done: list[str] = []
    for test_id in tests:
        for run_id in await _bad_runs(toolbox, test_id, limit):
            if toolbox.history.of_run(run_id):
                continue
            try:
                answered = await investigated(
                    toolbox, run_id, QUESTION, player, config, out, lambda text: None
                )
            except InvestigatorError as trouble:
                print(printable(f"{run_id}: not investigated: {trouble}"), flush=True)
                continue
            report = answered.episode.report
            said = (
                f"{report.root_cause} ({report.suspected_service})"
                if report
                else f"no report, {answered.episode.outcome.ending}"
            )
            print(printable(f"{run_id}: {said}"), flush=True)
            done.append(run_id)
    return done


async def _bad_runs(toolbox: Toolbox, test_id: str, limit: int) -> list[str]:
    try:
        async with Argus(toolbox.settings.argus) as argus:
            runs = await argus.runs_of(test_id, limit)
    except ArgusError as trouble:  # it may answer at the next look
        print(printable(f"{test_id}: {trouble}"), flush=True)
        return []
    return [run.id for run in runs if run.status in BAD_ENDINGS]
