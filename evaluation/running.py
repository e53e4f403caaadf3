"""The command behind `python -m evaluation run`: plan, play what is missing, store, summarise.

A run's folder can be interrupted at any moment and continued by the same command: episodes that exist are
kept, samples that are missing or failed are played. The folder remembers what it was asked (`run.json`) and
refuses a different question.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError
from tqdm import tqdm

from build_logs import build
from chaos.shipped import split_folder
from core.command_line import printable
from core.episode_store.evaluation_store import EvaluationStore, check_own
from core.episode_store.lines import EpisodesError
from core.episode_store.run_folder import EPISODES, RUN
from core.episode_store.scenarios import digest, id_by_name, scenario_paths
from core.policies.registry import PolicyName, access, opened, parse, usual_rules
from evaluation.playing import Emit, Job, Plan, Player, Result, in_process, play_in_processes
from evaluation.ray_executor import on_ray, site_of
from evaluation.run_record import check, continued, remember
from evaluation.summarising import conclude
from evaluation.wandb_log import log_evaluation
from evaluation.wandb_session import WandbError, begin
from failure_analysis.capture_command import explain
from make_judge_model import check_judge, load_judge
from project_types import EMBEDDED, ConfigurationError, Ending, EpisodeConfig, Judge

GIVE_UP_AFTER = 20
"""Failures, before any episode succeeds, after which a run stops."""
MOST_MALFORMED = 10
"""Episodes in a row that end without a usable call, after which a run stops: no
further one would do better.
"""
MALFORMED = frozenset(
    {
        Ending.MALFORMED_CALL,
        Ending.UNKNOWN_TOOL,
        Ending.BAD_ARGUMENTS,
        Ending.INVALID_REPORT,
        Ending.EMPTY_REPLY,
    }
)
FREE_BYTES = 200 << 20
"""Disk that must be free before a run starts."""


def command(arguments: argparse.Namespace) -> int:
    """Play, store, print, explain. Returns 1 when samples failed, 130 when interrupted."""
    check_own(arguments.out)
    try:
        return _play(arguments)
    finally:
        asked = not (arguments.dry_run or arguments.no_explain)
        if asked and (arguments.out / RUN).exists():
            print(printable(explain(arguments.out)))


def _play(arguments: argparse.Namespace) -> int:
    name = continued(arguments.out, parse(arguments.policy))
    _check_executor(arguments, name)
    folder = split_folder(arguments.split)
    paths = scenario_paths(folder, arguments.limit)
    config = rules(arguments, name)
    if arguments.dry_run:
        _tell(arguments, name, folder, paths, config)
        return 0
    judge = load_judge(arguments.judge)
    logged = begin(arguments.project, allowed=arguments.wandb)
    with EvaluationStore(arguments.out) as store:
        _refuse_full_disk(store.folder)
        run = _Run(arguments, name, folder, config, judge, store)
        try:
            run.play(paths)
        except KeyboardInterrupt:
            print(
                f"\ninterrupted: {arguments.out} keeps what was played; the same command goes on from there",
                file=sys.stderr,
            )
            return 130
        code = conclude(store.folder)
        if logged and (store.folder / EPISODES).exists():
            _log(store.folder, arguments.project)
        return code


def _check_executor(arguments: argparse.Namespace, name: PolicyName) -> None:
    """Raise ConfigurationError for flags that do not go together."""
    if arguments.executor == "ray":
        if name.kind == "embedded" and not arguments.base_url:
            raise ConfigurationError(
                "--executor ray asks a running server: start one with `python -m training_service serve`, "
                "and give its address as --base-url"
            )
    elif arguments.address:
        raise ConfigurationError("--address is a Ray cluster's; add --executor ray")
    elif arguments.workers > 1 and name.kind != "script":
        raise ConfigurationError("--workers is for scripts; a model is asked in parallel with --concurrency")


def _log(folder: Path, project: str) -> None:
    """Tell W&B. What was played is safe on disk, so that a refusal is said and no more."""
    try:
        run = log_evaluation(folder, project)
    except WandbError as trouble:
        print(f"note: {trouble}; the same command logs it later", file=sys.stderr)
    else:
        print(
            f"W&B run {run} of project {project}" if run else "W&B has these episodes, or there are none",
            file=sys.stderr,
        )


def rules(arguments: argparse.Namespace, name: PolicyName) -> EpisodeConfig:
    """Return the rules of the episodes: those usual for the policy, changed by the flags given."""
    base = {"embedded": EMBEDDED, "general": EpisodeConfig(), None: usual_rules(name)}[arguments.rules]
    flags = (
        "temperature",
        "top_p",
        "max_turns",
        "tool_budget_tokens",
        "max_completion_tokens",
        "call_format",
        "prompt",
        "tools",
        "ranker",
        "hints",
    )
    changes = {flag: getattr(arguments, flag) for flag in flags if getattr(arguments, flag) is not None}
    try:
        return EpisodeConfig.model_validate({**base.model_dump(), **changes})
    except ValidationError as trouble:
        first = trouble.errors(include_url=False)[0]
        flag = "--" + str(first["loc"][0]).replace("_", "-")
        raise ConfigurationError(f"{flag} {str(first['input'])[:80]}: {first['msg'].lower()}") from trouble


class _Counts(NamedTuple):
    played: int = 0
    right: int = 0
    failed: int = 0
    malformed: int = 0
    """Episodes in a row, up to the last one."""

    def and_also(self, result: Result) -> _Counts:
        ok = result.failure is None
        malformed = self.malformed + 1 if result.ending in MALFORMED else 0
        return _Counts(
            self.played + ok,
            self.right + result.correct,
            self.failed + (not ok),
            malformed if ok else self.malformed,
        )


class _Run:
    """One call of the command on one folder."""

    def __init__(
        self,
        arguments: argparse.Namespace,
        name: PolicyName,
        folder: Path,
        config: EpisodeConfig,
        judge: Judge,
        store: EvaluationStore,
    ) -> None:
        self._arguments, self._name, self._folder, self._config = arguments, name, folder, config
        self._judge, self._store = judge, store
        self._done = dict(store.played)
        self._counts = _Counts()

    def play(self, paths: Sequence[Path]) -> None:
        """Play every sample that is missing."""
        check(self._store.folder, self._plan(self._name))
        jobs = self._jobs(paths)
        if not jobs:
            print(f"{self._store.folder}: nothing is missing", file=sys.stderr)
            return
        if self._arguments.executor == "ray":
            asyncio.run(self._play_on_ray(jobs))
        elif self._arguments.workers > 1:
            asyncio.run(check_judge(self._judge))
            plan = self._begin(str(self._name))
            with self._bar(jobs) as emit:
                play_in_processes(plan, jobs, self._done, emit, self._arguments.workers)
        else:
            asyncio.run(self._play_here(jobs))

    def _jobs(self, paths: Sequence[Path]) -> list[Job]:
        """Return what is missing, and what was played on a scenario file that has changed since."""
        jobs = []
        for path in paths:
            known = {n: self._done.get((id_by_name(path), n)) for n in range(self._arguments.k)}
            mark = digest(path) if any(known.values()) else ""
            if wanted := tuple(n for n, of in known.items() if of not in (mark, "")):
                jobs.append(Job(path, wanted))
        return jobs

    async def _play_here(self, jobs: Sequence[Job]) -> None:
        arguments = self._arguments
        await check_judge(self._judge)
        async with opened(self._name, self._config, arguments.seed, access(arguments, self._name)) as policy:
            plan = self._begin(policy.name)
            player = Player(plan, policy.name, in_process(plan, policy, self._judge), self._done)
            with self._bar(jobs) as emit:
                await player.play(
                    jobs, emit, concurrency=1 if self._name.kind == "script" else arguments.concurrency
                )

    async def _play_on_ray(self, jobs: Sequence[Job]) -> None:
        """Open the policy here, too, so that its name is resolved and a wrong one is told at once."""
        arguments, reach = self._arguments, access(self._arguments, self._name)
        await check_judge(self._judge)
        async with opened(self._name, self._config, arguments.seed, reach) as policy:
            plan = self._begin(policy.name)
        database = plan.database.resolve()
        site = site_of(database=database, judge=plan.judge, seed=plan.seed, access=reach)
        # a script computes all the time, a model is waited for
        at_once = arguments.workers if self._name.kind == "script" else arguments.concurrency
        async with on_ray(site, arguments.workers, arguments.address) as executor:
            with self._bar(jobs) as emit:
                player = Player(plan, plan.policy, executor, self._done)
                await player.play(jobs, emit, concurrency=max(at_once, arguments.workers))

    def _plan(self, policy: PolicyName | str) -> Plan:
        arguments = self._arguments
        return Plan(
            policy=str(policy),
            split=self._folder.name,
            seed=arguments.seed,
            judge=arguments.judge,
            config=self._config,
            database=arguments.database or self._store.folder / "logs.db",
        )

    def _begin(self, policy: str) -> Plan:
        """Write down what is asked, and make the logs searchable."""
        plan = self._plan(policy)
        remember(self._store.folder, plan, k=self._arguments.k, scenarios=self._folder)
        if not (self._arguments.database and plan.database.exists()):
            build(self._folder, plan.database, progress=True)
        return plan

    @contextmanager
    def _bar(self, jobs: Sequence[Job]) -> Iterator[Emit]:
        """Show progress; what is given takes each result into the store."""
        with tqdm(
            total=sum(len(job.samples) for job in jobs), unit="episode", file=sys.stderr, smoothing=0.1
        ) as bar:

            def take(result: Result) -> None:
                if result.line is not None:
                    self._store.add_once((result.scenario_id, result.sample), result.digest, result.line)
                if result.failure is not None:
                    self._store.fail(result.failure)
                counts = self._counts = self._counts.and_also(result)
                bar.set_postfix_str(
                    f"right {counts.right / max(1, counts.played):.0%}, failed {counts.failed}", refresh=False
                )
                bar.update()
                if counts.failed >= GIVE_UP_AFTER and not counts.played and result.failure:
                    why = f"{result.failure.error}: {result.failure.message}"
                    raise EpisodesError(f"the first {counts.failed} samples all failed, the last with {why}")
                if counts.malformed >= MOST_MALFORMED and result.ending:
                    raise EpisodesError(_no_calls(counts.malformed, result.ending, self._name, self._config))

            yield take


def _no_calls(times: int, ending: Ending, name: PolicyName, config: EpisodeConfig) -> str:
    """Say that a policy does not call the tools, and what may help."""
    other = "text" if config.call_format == "native" else "native"
    hint = f"try --call-format {other}, or a model that was trained to call tools"
    if name.kind == "embedded":
        hint = (
            "a small model knows only the rules it was trained with: try --rules embedded, or train it first"
        )
    kind = ending.value.replace("_", " ")
    return (
        f"{times} episodes in a row ended without a usable call, the last with {kind}; {hint}. "
        "What was played is kept"
    )


def _refuse_full_disk(folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if free < FREE_BYTES:
        raise ConfigurationError(
            f"{folder}: only {free >> 20} MiB are free; make room or choose another --out"
        )


def _tell(
    arguments: argparse.Namespace,
    name: PolicyName,
    folder: Path,
    paths: Sequence[Path],
    config: EpisodeConfig,
) -> None:
    """Say what a run would do; nothing is played and nothing is written."""
    episodes = len(paths) * arguments.k
    print(f"policy      {name}")
    print(f"scenarios   {len(paths)} of {folder}")
    print(f"episodes    {episodes} ({arguments.k} samples each)")
    print(f"judge       {arguments.judge}")
    print(f"out         {arguments.out}")
    print(f"rules       {config.model_dump_json()}")
    if name.kind == "litellm":
        tokens = config.max_turns * (config.tool_budget_tokens + config.max_completion_tokens)
        calls = f"{episodes * config.max_turns} calls"
        print(f"at most     {calls}; the last of an episode may read about {tokens} tokens")
