"""`ask`: let a policy investigate a run with the tools it was trained on, and print
its report with cited rows.

What is missing of the run is brought in first, through the same tools an assistant uses. The episode is
stored like any other, and its answer as a finding. `watch` calls `investigated` too.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from core.command_line import printable
from core.log_stores.contract import LogQuery, LogStore
from core.policies.contract import Policy
from core.policies.registry import access, opened, parse, usual_rules
from core.sct_logs import SERVICES
from log_search_tools import store_tools
from project_types import (
    ConfigurationError,
    Episode,
    EpisodeConfig,
    GroundTruth,
    Level,
    Provenance,
    Report,
    Scenario,
)
from rollout import investigate
from testrun_investigator.argus import run_id_of
from testrun_investigator.argus_run import ArgusRun
from testrun_investigator.bringing_in import Say, brought_in
from testrun_investigator.history import FindingError
from testrun_investigator.sessions import numbered, store_episode
from testrun_investigator.settings import read_settings
from testrun_investigator.toolbox import Toolbox
from testrun_investigator.victoria_logs import clock, loaders_and_nodes


class Answered(NamedTuple):
    """An investigation: the episode, and the finding that was kept."""

    episode: Episode
    finding_id: str | None


def command(arguments: argparse.Namespace) -> int:
    """Investigate and print the report."""
    policy = parse(arguments.policy)
    config = rules(policy.kind, arguments.hints or "")
    toolbox = Toolbox(read_settings())

    async def work() -> Answered:
        async with opened(policy, config, arguments.seed, access(arguments, policy)) as player:
            say = (lambda text: None) if arguments.json else (lambda text: print(printable(text), flush=True))
            return await investigated(
                toolbox, arguments.run_id, arguments.question, player, config, arguments.out, say
            )

    try:
        answered = asyncio.run(work())
        if arguments.json:
            report = answered.episode.report
            print(json.dumps(report.model_dump() if report else None, indent=1))
        else:
            store = toolbox.logs.store(answered.episode.scenario_id)
            print(printable("\n".join(told(answered, store))))
    finally:
        toolbox.close()
    return 0 if answered.episode.report else 1


def rules(kind: str, hints: str = "") -> EpisodeConfig:
    """Return the rules to play by: small models keep those they were trained with, others get every tool."""
    base = usual_rules(parse("embedded:x")) if kind == "embedded" else EpisodeConfig(tools="full")
    try:
        return EpisodeConfig(**{**base.model_dump(), "hints": hints})
    except ValidationError as trouble:
        raise ConfigurationError(f"--hints: {trouble.errors()[0]['msg'].lower()}") from trouble


async def investigated(
    toolbox: Toolbox, run_id: str, question: str, player: Policy, config: EpisodeConfig, out: Path, say: Say
) -> Answered:
    """Bring the run in, let the policy investigate it, and keep episode and finding.

    Raises:
        InvestigatorError: the run has no logs here and Argus gives none, or the policy fails.
    """
    run_id = run_id_of(run_id)
    run = await brought_in(toolbox, run_id, say)
    toolbox.logs.store(run_id)  # raises when nothing was ingested
    store = toolbox.logs.open_store(run_id)  # of its own: no tool waits for a policy's long questions
    scenario = as_scenario(run_id, question, run, store)
    tools = store_tools(store, config)
    sample = numbered(out, run_id)
    say(f"{player.name} investigates {run_id}: {question}")
    episode = await investigate(
        player.chat(run_id, sample),
        scenario,
        tools,
        config=config,
        policy=player.name,
        split="test-runs",
        sample=sample,
    )
    store_episode(out, episode)
    return Answered(episode, await _kept(toolbox, episode))


def as_scenario(run_id: str, question: str, run: ArgusRun | None, store: LogStore) -> Scenario:
    """Return the run as an investigation begins with it. Its truth is not known."""
    loaders, nodes = loaders_and_nodes(store)
    # an Incident has rows; these lie in the store and are too many to copy
    return Scenario.model_construct(
        id=run_id,
        description=" ".join((question, *_told_of_logs(store), *_told_by_argus(run))),
        time_hint=noticed(store),
        # the test's own logs are no suspects
        services=(*nodes, *loaders),
        logs=(),
        spans=(),
        metrics=(),
        topology=(),
        events=(),
        baseline=None,
        expected_root_cause="unknown",
        ground_truth=GroundTruth(service="unknown", fault_type="unknown"),
        distractors=(),
        gold_report=Report(root_cause="unknown", suspected_service="unknown"),
        provenance=Provenance(source="testrun_investigator"),
    )


def _told_of_logs(store: LogStore) -> Iterator[str]:
    if (stretch := store.stretch()) is not None:
        yield f"The logs go from {clock(stretch.first_us)} to {clock(stretch.last_us)}."
    loaders, nodes = loaders_and_nodes(store)
    if loaders and nodes:  # what a loader complains of is often the trouble of a node
        yield f"Calls: {' '.join(loaders)} -> {' '.join(nodes)}."


def _told_by_argus(run: ArgusRun | None) -> Iterator[str]:
    if run is None:
        return
    nemeses = ", ".join(f"{one.name} ({one.status})" for one in run.nemesis_data[-12:])
    yield f"Test run {run.test_name} ended as {run.status}, Scylla {run.scylla_version}."
    yield f"Disruptions made on purpose: {nemeses or 'none'}."
    if nodes := ", ".join(_addressed(run)):  # in their logs nodes call each other by address
        yield f"Nodes: {nodes}."


def _addressed(run: ArgusRun) -> Iterator[str]:
    for one in run.allocated_resources[:60]:
        if one.instance_info and one.instance_info.private_ip:
            yield f"{one.name} ({one.instance_info.private_ip})"


def noticed(store: LogStore) -> str:
    """Return when the test first complained, to the minute: policies know a time as people tell it."""
    query = LogQuery(service=SERVICES["event"], min_level=Level.ERROR)
    complaints = store.lines(query, 0, 1) if SERVICES["event"] in store.services() else []
    stretch = store.stretch()
    if not complaints and stretch is None:
        return "unknown"
    return clock(complaints[0].at_us if complaints else stretch.last_us)[11:16]  # type: ignore[union-attr]


async def _kept(toolbox: Toolbox, episode: Episode) -> str | None:
    """Keep the report as a finding; one whose citations do not hold is not kept."""
    report = episode.report
    if report is None:
        return None
    try:
        saved = await toolbox.save_finding(
            episode.scenario_id,
            report.root_cause,
            report.suspected_service,
            report.key_log_ids,
            fault_type=report.fault_type or "",
            next_actions=report.next_actions,
            confidence=report.confidence,
            author=episode.policy,
        )
    except FindingError:
        return None
    return saved.finding_id


def told(answered: Answered, store: LogStore) -> list[str]:
    """Return the report as lines, with every cited row in full."""
    episode, report = answered.episode, answered.episode.report
    if report is None:
        return [
            "",
            f"No report: the investigation ended as {episode.outcome.ending} after {episode.outcome.turns} turns.",
        ]
    lines = ["", f"cause    {report.root_cause}", f"blamed   {report.suspected_service}"]
    lines += [f"when     {moment}" for moment in report.timeline]
    lines += [f"do next  {action}" for action in report.next_actions]
    rows = [line for one in episode.cited_log_ids for line in store.around(one, 0, 0)]
    missing = "none of the cited rows exists" if episode.cited_log_ids else "no row is cited"
    lines += ["proof" if rows else f"proof    {missing}"]
    lines += [f"  {clock(row.at_us)} {row.service} {row.text}  [{row.id}]" for row in rows]
    kept = (
        f"kept as finding {answered.finding_id}"
        if answered.finding_id
        else "not kept as a finding: the rows it cites do not hold, or there are none"
    )
    return [*lines, kept]
