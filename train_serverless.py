"""Train an investigator with ART's GRPO loop, measure it before and after, and report: the composition root.

The same loop runs on W&B's serverless service (with WANDB_API_KEY), on `training_service`, started here on
loopback (without a key: nothing outside is contacted), or on ART's LocalBackend. A run is a folder,
`runs/NAME`, and everything in it is written so that a killed run goes on at the next step: an episode file
belongs to one checkpoint, a metrics row to one step.

What a run consists of stands in `training_runs`, one module an idea. Not here: what an episode is
(`rollout`), what a verdict means (`make_judge_model`), how weights change (`training_service`).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

import build_logs
from chaos.shipped import ensure
from core.command_line import parser, run, tell_error
from core.episode_store.run_writer import RUN_NAME, RunWriter
from core.episode_store.runs import RUNS, latest_run
from core.episode_store.scenarios import fingerprint
from core.files import disk_trouble
from core.revision import revision
from evaluation.rollout_executor import RolloutExecutor
from evaluation.wandb_session import begin
from failure_analysis.at_once import explained
from failure_analysis.capture_command import explain
from failure_analysis.prediction.gaming import alarms
from make_judge_model import check_judge, load_judge, prepare_wandb
from project_types import (
    ConfigurationError,
    InvestigatorError,
    Scenario,
    TrainingConfig,
    each_scenario,
)
from training_runs import machine
from training_runs.arithmetic import arithmetic
from training_runs.backend import Backend, connected
from training_runs.difficulty import sometimes_solved
from training_runs.duration import forecast as forecast_of_plan
from training_runs.evaluations import Evaluations
from training_runs.interruption import Interruption
from training_runs.plan import plan
from training_runs.progress import Progress, now
from training_runs.report import write_report
from training_runs.resuming import resume_command
from training_runs.rollout_batch import Interrupted
from training_runs.rollouts import Rollouts, executor
from training_runs.rollouts_ahead import RolloutsAhead
from training_runs.settings import add_flags, resolve
from training_runs.terminal import last_lines, say
from training_runs.time_limit import TimeLimit, forecast, is_early, minutes, step_seconds
from training_runs.training_step import TrainingStep, line
from training_runs.wandb_log import TrainingLog

PROGRAM = "python train_serverless.py"
EPILOG = """examples:
  python train_serverless.py
      with WANDB_API_KEY: train on W&B's serverless service; without: train the small shipped model here
  python train_serverless.py --dry-run
      print the plan: scenarios, episodes, calls, tokens, cost, hours; contacts nothing and spends nothing
  python train_serverless.py --backend embedded --name quick --steps 8 --test-samples 0
      a short keyless run
  python train_serverless.py --name quick --resume
      go on where that run ended, was stopped or was killed
  python train_serverless.py --config my.yaml --learning-rate 5e-6
      settings from a file (YAML or TOML; the names below with underscores); flags win over the file

A run is defined by its --steps. --max-minutes is only a cap: a run it ends early says so, and how to go on.
Ctrl-C once: the step under way is dropped or finished, the state saved, the report written. Twice: stop at once.
"""


class Run:
    """One run under way: its parts, put together, and the order in which they work."""

    def __init__(
        self, folder: RunWriter, config: TrainingConfig, scenarios: Mapping[str, list[Scenario]]
    ) -> None:
        self.folder, self.config, self.scenarios = folder, config, scenarios
        self.judge = load_judge(config.judge)
        self.interruption = Interruption()
        self.wandb = TrainingLog()

    async def execute(self) -> None:
        """The whole run: judge checked, test, training, test of the best checkpoint."""
        self.interruption.listen()
        await check_judge(self.judge)
        async with connected(self.folder.path, self.config, self.interruption) as backend:
            progress = await self._take_up(backend)
            try:
                async with executor(self.config, backend.model, self.judge) as plays:
                    await self._train_and_test(backend, progress, plays)
            finally:
                progress.remember()

    async def _take_up(self, backend: Backend) -> Progress:
        """Find out where the run stands, and write down how it is trained."""
        how = await backend.how_it_trains()
        self.folder.add_settings(training_service=how)
        if how:
            say(arithmetic(how))
        self.wandb.attach(backend.model, self.folder.settings())
        progress = Progress(self.folder, backend.model, self.config.seed)
        progress.take_up(await backend.model.get_step())
        backend.on_restart = progress.count_restart
        if progress.position:
            say(f"going on after step {progress.position}")
        progress.remember(finished=False, ended_by=None)
        return progress

    async def _train_and_test(self, backend: Backend, progress: Progress, plays: RolloutExecutor) -> None:
        folder, config = self.folder, self.config
        rollouts = Rollouts(folder, config, backend.model, self.judge, plays, self.interruption)
        evaluations = Evaluations(folder, config, self.scenarios, backend, rollouts, progress, self.wandb)
        batches = self._batches(progress.position)
        most, last = config.max_staleness, config.steps
        await evaluations.test(0)
        async with RolloutsAhead(batches, rollouts, backend.surviving, most=most, last=last) as ahead:
            step = TrainingStep(config, backend, rollouts, ahead, progress)
            await self._train(step, evaluations, progress)
        await evaluations.test(progress.facts["best_checkpoint"])
        self._conclude(progress)

    async def _train(self, step: TrainingStep, evaluations: Evaluations, progress: Progress) -> None:
        """Steps until there are enough or time is up; validates every few and at the end."""
        config, limit = self.config, TimeLimit(self.config.max_minutes, progress.training_seconds)
        begun_at, alarmed = progress.position, frozenset[str]()
        await evaluations.validate()
        while progress.position < config.steps:
            if step_seconds(self.folder.rows, config.validate_every) > limit.left_s:
                break
            row = await step.make(limit.elapsed_s)
            pace = step_seconds(self.folder.rows, config.validate_every)
            left_s = max(0.0, min(pace * (config.steps - progress.position), limit.left_s))
            say(f"{line(row, config.steps)}, {minutes(left_s)} min left")
            alarmed = self._alarm(alarmed)
            if progress.position == begun_at + 1 < config.steps:
                say(forecast(config, progress.position, pace, limit.left_s))
            if progress.position % config.validate_every == 0:
                await step.ahead.settle()  # a validation deletes checkpoints, perhaps the one that plays
                await evaluations.validate()
            progress.remember(training_seconds=limit.elapsed_s)
        await step.ahead.drop()
        await evaluations.validate()
        progress.remember(training_seconds=limit.elapsed_s)

    def _alarm(self, known: frozenset[str]) -> frozenset[str]:
        """Say what has become alarming, each thing once."""
        found = alarms(self.folder.rows)
        for name in found.keys() - known:
            say(f"ALARM: {found[name]}")
        return known | found.keys()

    def _batches(self, position: int) -> Iterator[list[Scenario]]:
        """The scenarios of every step after `position`, in an order that follows from the seed."""
        from art.utils import iterate_dataset

        config, dataset = self.config, list(self.scenarios["train"])
        random.Random(config.seed).shuffle(dataset)
        epochs = -(-config.steps * config.groups_per_step // len(dataset)) + 1
        sizes: dict[str, Any] = {"groups_per_step": config.groups_per_step, "num_epochs": epochs}
        for batch in iterate_dataset(dataset, **sizes, initial_step=position, use_tqdm=False):
            yield batch.items

    def _conclude(self, progress: Progress) -> None:
        """Remember how the run ended. One that the clock ended before half of its steps is not finished."""
        done, asked = progress.position, self.config.steps
        progress.remember(finished=not is_early(done, asked), ended_by="steps" if done >= asked else "time")


def import_art(config: TrainingConfig) -> None:
    """Import ART so that, without a key, nothing in this process has a reason to contact anybody."""
    if config.backend != "local":
        # else ART imports and patches it: 3 s and 200 MB
        sys.modules.setdefault("transformers", None)  # type: ignore[arg-type]
    prepare_wandb()
    import art  # noqa: F401

    ours = config.backend == "embedded" or config.service_url is not None
    if not begin(config.project, allowed=not ours):
        # importing ART reads .env; it takes even an empty key for a wish to log to W&B
        os.environ.pop("WANDB_API_KEY", None)


def _scenarios(config: TrainingConfig) -> dict[str, list[Scenario]]:
    limits = {"train": config.train_limit, "val": config.val_limit, "test": config.test_limit}
    unused = {split for split, limit in limits.items() if limit == 0}
    found = {
        split: [] if split in unused else _read(config.scenarios / split, limit)
        for split, limit in limits.items()
    }
    if config.profile is not None:
        found["train"] = sometimes_solved(found["train"], config.profile)
        say(f"{len(found['train'])} train scenarios teach, says {config.profile}")
    return found


def _read(folder: Path, limit: int | None) -> list[Scenario]:
    """The first scenarios of a split without their metrics: tools read them from the
    database, and judges none.
    """
    scenarios = islice(each_scenario(folder), limit)
    return [scenario.model_copy(update={"metrics": ()}) for scenario in scenarios]


def _facts(name: str, config: TrainingConfig, folder: RunWriter, resume: bool) -> dict[str, Any]:
    """What config.json is to hold. Raises ConfigurationError when a resumed run had other scenarios."""
    facts: dict[str, Any] = {"name": name, "at": now(), "revision": revision()}
    facts |= {"art": version("openpipe-art"), "command": sys.argv}
    facts |= {"scenarios_sha256": fingerprint(config.scenarios), "config": config.model_dump(mode="json")}
    if resume:
        before = folder.settings()
        if before["scenarios_sha256"] != facts["scenarios_sha256"]:
            raise ConfigurationError(
                f"the scenarios in {config.scenarios} have changed; start a new run with another --name"
            )
        this = {"at": before["at"], "revision": before["revision"]}
        facts["earlier"] = [*before.get("earlier", []), this]
    return facts


def _say_what_comes(config: TrainingConfig) -> None:
    built = build_logs.build(config.scenarios, config.database)
    say(f"{config.database}: {built.built} scenarios built, {built.unchanged} unchanged")
    cap = "" if config.max_minutes is None else f", at most {config.max_minutes:g} minutes of training"
    say(f"{config.steps} training steps{cap}")
    if config.backend == "embedded" and (busy := machine.slowdown(machine.cores())):
        say(busy)
    if config.backend == "embedded" and config.max_staleness:
        say(
            "--max-staleness: rollouts and training share this machine's cores, so that it saves little or nothing"
        )


def _executed(training: Run) -> tuple[int, str]:
    """Execute the run; the exit code, and what went wrong in words. A second Ctrl-C surfaces."""
    import openai

    try:
        asyncio.run(training.execute())
    except Interrupted:
        return 128 + (training.interruption.signal or signal.SIGINT), ""
    except ConfigurationError:
        raise
    except InvestigatorError as problem:
        training.folder.fail(problem)
        return 1, str(problem)
    except openai.OpenAIError as problem:  # a refused key, a wrong address, a service that is down
        training.folder.fail(problem)
        return 1, f"the backend: {problem}"
    return 0, ""


def _train(name: str, config: TrainingConfig, resume: bool) -> int:
    """Everything after the command line. Returns the exit code."""
    ensure(config.scenarios)
    folder = RunWriter(config.runs / name, explained)
    with folder.claimed(resume):
        facts = _facts(name, config, folder, resume)
        training = Run(folder, config, _scenarios(config))
        folder.write("config.json", (json.dumps(facts, indent=2) + "\n").encode())
        _say_what_comes(config)
        import_art(config)
        try:
            code, trouble = _executed(training)
        except KeyboardInterrupt:
            return 130
        except OSError as problem:
            if not (said := disk_trouble(problem)):
                raise
            raise ConfigurationError(f"{said}, then go on with: {resume_command(folder.path)}") from problem
        summary = write_report(folder.path)
        training.wandb.conclude(folder.path, summary, folder.rows, code)
    print(last_lines(folder.path, summary, stopped=code != 0))
    print(explain(folder.path))
    if trouble:
        tell_error(PROGRAM, trouble)
    return code


def _flags() -> argparse.ArgumentParser:
    flags = parser(
        PROGRAM,
        (__doc__ or "").split("\n\n")[0],
        EPILOG,
        usage="%(prog)s [--name NAME] [--resume] [--config FILE] [--dry-run] [any setting below]",
    )
    flags.add_argument(
        "--name", help="name of the run, of its folder and of its model (default: the date and time)"
    )
    flags.add_argument(
        "--resume", action="store_true", help="go on with the run --name, or with the latest run"
    )
    flags.add_argument("--config", type=Path, metavar="FILE", help="settings from a .yaml or .toml file")
    flags.add_argument(
        "--dry-run", action="store_true", help="print the plan and stop; contacts nothing, spends nothing"
    )
    add_flags(flags)
    return flags


def _train_or_plan(arguments: argparse.Namespace) -> int:
    runs, saved = Path(getattr(arguments, "runs", RUNS)), None
    name = arguments.name or (latest_run(runs) if arguments.resume else f"{datetime.now(UTC):%Y%m%d-%H%M%S}")
    if not RUN_NAME.fullmatch(name):
        raise ConfigurationError(f"--name {name!r}: use letters, digits, '.', '_' and '-', 64 at most")
    if arguments.resume:
        saved = RunWriter(runs / name).settings()["config"]
    config = resolve(arguments, saved)
    if not arguments.dry_run:
        return _train(name, config, arguments.resume)
    print(plan(config, name), flush=True)
    print(forecast_of_plan(config))
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Train, measure, report; or say what would happen."""
    # else importing litellm asks the network for prices
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    # ART's own bars; ours decide for themselves. Read when tqdm is first imported
    os.environ.setdefault("TQDM_DISABLE", "1")
    return run(PROGRAM, lambda: _train_or_plan(_flags().parse_args(argv)))


if __name__ == "__main__":
    sys.exit(main())
