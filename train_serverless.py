"""Train an investigator with ART's GRPO loop, measure it before and after, and report: the composition root.

The same loop runs on W&B's serverless service (with WANDB_API_KEY), on `training_service`, started here on
loopback (without a key: nothing outside is contacted), or on ART's LocalBackend. A run is a folder,
`runs/NAME`, and everything in it is written so that a killed run goes on at the next step: an episode file
belongs to one checkpoint, a metrics row to one step.

Not here: what an episode is (`rollout`), what a verdict means (`make_judge_model`), how weights change
(`training_service`), which settings there are (`project_types.TrainingConfig`), what the numbers say
(`training_runs.summary`).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import build_logs
from core.episode_store.run_folder import GREEDY, ROLLOUTS, SAMPLED
from core.episode_store.run_writer import RUN_NAME, RunWriter
from core.episode_store.runs import latest_run
from core.episode_store.scenarios import fingerprint
from core.revision import revision
from core.serving.child_service import ChildService
from evaluation.crew import Crew, Interrupted, Played, TooManyFailures, Wanted
from evaluation.wandb_session import begin
from failure_analysis.capture_command import explain
from make_judge_model import check_judge, load_judge, prepare_wandb
from project_types import (
    ConfigurationError,
    InvestigatorError,
    Scenario,
    TrainingConfig,
    read_scenarios,
)
from rollout import rollout_with_episode
from training_runs.plan import plan
from training_runs.report import write_report
from training_runs.settings import add_flags, resolve
from training_runs.summary import measured, table, words
from training_runs.wandb_log import TrainingLog

if TYPE_CHECKING:
    import art

T = TypeVar("T")
EPILOG = """
examples:
  python train_serverless.py
      with WANDB_API_KEY: train on W&B's serverless service; without: train the small shipped model here, about 25 minutes
  python train_serverless.py --dry-run
      print the plan: scenarios, episodes, calls, tokens, cost; contacts nothing and spends nothing
  python train_serverless.py --backend embedded --name quick --max-minutes 3 --test-samples 0
      a short keyless run
  python train_serverless.py --name quick --resume
      go on where that run ended, was stopped or was killed
  python train_serverless.py --config my.yaml --learning-rate 5e-6
      settings from a file (YAML or TOML; the names below with underscores); flags win over the file

Ctrl-C once: the step under way is dropped or finished, the state saved, the report written. Twice: stop at once.
"""


class JobFailed(InvestigatorError):
    """A training job failed or took too long; the text says why."""


def say(text: str) -> None:
    """One line for whoever watches, above any progress bar."""
    from tqdm import tqdm

    tqdm.write(text, file=sys.stdout)
    sys.stdout.flush()


# -------------------------------------------------------------------------------------------------------- run


class Run:
    """One run under way: its folder, its model on the backend, and what has been reached."""

    model: art.TrainableModel
    backend: Any

    def __init__(
        self, folder: RunWriter, config: TrainingConfig, scenarios: Mapping[str, list[Scenario]]
    ) -> None:
        self.folder, self.config, self.scenarios = folder, config, scenarios
        self.judge = load_judge(config.judge)
        self.service: ChildService | None = None
        self.position = 0  # steps trained
        self.checkpoint = 0  # the backend's latest
        self.state: dict[str, Any] = {}
        self.signal: int | None = None
        self.wandb = TrainingLog()
        self._crew: Crew | None = None
        self._clock = time.monotonic()

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Connect to the backend and find out where the run stands."""
        import art

        folder, config, base_model, watch = self.folder.path, self.config, self.config.base_model, None
        key, url = (
            os.environ.get("WANDB_API_KEY") or os.environ.get("TRAINING_SERVICE_TOKEN", "local"),
            config.service_url,
        )
        try:
            if config.backend == "embedded":
                named = _named(base_model)
                learning = ("--precision", config.precision, "--gradient-steps", str(config.gradient_steps))
                options = ("--base-models", named, *learning)
                self.service = ChildService(
                    folder / "service", folder / "service.log", options=options, say=say
                )
                await self.service.start()
                watch = asyncio.create_task(self.service.watch())
                base_model, key, url = named.partition("=")[0], "local", f"{self.service.url}/v1"
            self.model = art.TrainableModel(
                name=folder.name, project=config.project, base_model=base_model, base_path=str(folder / "art")
            )
            if config.backend == "local":
                self.backend = _local_backend(folder / "art")
            else:
                self.backend = art.ServerlessBackend(api_key=key, base_url=url)
            await self._register()
            self.wandb.attach(self.model, self.folder.settings())
            self.checkpoint = await self.model.get_step()
            self._take_up()
            yield
        finally:
            if watch is not None:
                watch.cancel()
            if self.state:
                self._remember()
            if hasattr(self, "backend"):
                await self.backend.close()
            if self.service is not None:
                await self.service.stop()

    async def _register(self) -> None:
        try:
            await self.model.register(self.backend)
        except ImportError as missing:
            if self.config.backend != "local":
                raise
            raise _needs_extra(missing) from missing

    def _take_up(self) -> None:
        """Read what an earlier process of this run left, minus what it was writing when it died."""
        ours = Path(self.model._get_output_dir())
        self.folder.take_up(ours / "history.jsonl")
        trained = self.folder.of("train")
        try:
            self.state = dict((self.model.read_state() or {}).get("run", {}))
        except ValueError:  # killed while ART wrote it; the rows know what matters
            (ours / "state.json").unlink()
            self.state = {"training_seconds": trained[-1]["elapsed_seconds"] if trained else 0.0}
        self.position, reached = (trained[-1]["step"], trained[-1]["checkpoint"]) if trained else (0, 0)
        if self.checkpoint == reached:
            return
        left = self.folder.episodes("train", self.position + 1, ROLLOUTS)
        if self.checkpoint < reached or not left:
            path = self.folder.path
            where = (
                f"model {path.name!r} is at step {self.checkpoint} on the backend but at {reached} in {path}"
            )
            raise ConfigurationError(f"{where}; choose another --name")
        self.position += 1  # killed after a training job had ended and before its row was written
        self._row("train", self.position, Played([], left, Counter(), 0.0), recovered=True)

    def interrupt(self, number: int) -> None:
        """First signal: stop at the next safe point. Second: at once."""
        if self.signal is not None:
            raise KeyboardInterrupt
        self.signal = number
        say(
            "stopping: rollouts under way are dropped, a training job under way is finished; once more to stop at once"
        )
        if self._crew is not None:
            self._crew.interrupt()

    # -- rollouts

    async def play(
        self, title: str, wanted: Sequence[Wanted], path: Path, split: str, at: int, temperature: float
    ) -> Played:
        """Roll out with checkpoint `at` pinned, episodes going to `path`; see `Crew.play`."""
        config = self.config
        one = partial(
            rollout_with_episode,
            self.model,
            database=config.database,
            judge=self.judge,
            config=config.episode.model_copy(update={"temperature": temperature}),
            step=at,
            split=split,
        )
        with path.open("a", encoding="utf-8") as file:
            bounds: dict[str, Any] = {"failed_share": config.max_failed_share, "limit": config.max_concurrent}
            self._crew = Crew(title, wanted, one, file, **bounds, failed=self.folder.fail)
            if self.signal is not None:
                self._crew.interrupt()
            return await self._crew.play()

    async def surviving(self, act: Callable[[], Awaitable[T]]) -> T:
        """Do it; when the embedded service died meanwhile, start that again (once in a run) and do it again."""
        import openai

        while True:
            try:
                return await act()
            except (TooManyFailures, JobFailed, openai.APIConnectionError):
                if (
                    self.service is None
                    or self.signal is not None
                    or await self.service.healthy(timeout_s=60.0)
                ):
                    raise
                await self.service.restart()
                self._remember(service_restarts=self.state.get("service_restarts", 0) + 1)

    # -- measuring

    async def examine(self, split: str, checkpoint: int, kind: str) -> None:
        """Run a split with one checkpoint; what is stored already is not repeated."""
        name = split if kind == GREEDY else f"{split}_sampled"
        samples = (
            1 if kind == GREEDY else {"val": self.config.val_samples, "test": self.config.test_samples}[split]
        )
        done = any(row["step"] == checkpoint for row in self.folder.of(name))
        if done or not self.scenarios[split] or not samples:
            return
        path, temperature = self.folder.episodes_path(split, checkpoint, kind), 0.0 if kind == GREEDY else 1.0
        began, groups, failures = time.monotonic(), list["art.TrajectoryGroup"](), Counter[str]()
        for _ in range(3):  # what failed is asked for again: leaving it out would bias the mean
            have = {
                (episode.scenario_id, episode.sample)
                for episode in self.folder.episodes(split, checkpoint, kind)
            }
            wanted = [
                Wanted(s, [k for k in range(samples) if (s.id, k) not in have]) for s in self.scenarios[split]
            ]
            if not (wanted := [each for each in wanted if each.samples]):
                break
            play = partial(
                self.play, f"{name} at step {checkpoint}", wanted, path, split, checkpoint, temperature
            )
            played = await self.surviving(play)
            groups += played.groups
            failures += played.failures
        if not (episodes := self.folder.episodes(split, checkpoint, kind)):
            raise TooManyFailures(f"{name} at step {checkpoint}: every rollout failed: {'; '.join(failures)}")
        row = self._row(name, checkpoint, Played(groups, episodes, failures, time.monotonic() - began))
        numbers = {
            key: float(row[key])
            for key in ("reward", "accuracy", "accuracy_low", "accuracy_high", "grounded")
        }
        if name == "val":  # of equals, ART shall keep the later one, as we do
            numbers["selection"] = self._val_rewards()[checkpoint] + 1e-9 * checkpoint
        await self.model.log(groups, split=name, metrics=numbers, step=checkpoint)
        self.wandb.examined(name, checkpoint, episodes)
        say(
            f"{name} at step {checkpoint}: {words(row)} [{row['accuracy_low']:.0%}, {row['accuracy_high']:.0%}]"
        )

    def _val_rewards(self) -> dict[int, float]:
        """Mean reward on val of every checkpoint examined there: at temperature 0, or at both when val is
        also sampled.
        """
        sampled = {row["step"]: row["reward"] for row in self.folder.of("val_sampled")}
        return {
            row["step"]: (row["reward"] + sampled.get(row["step"], row["reward"])) / 2
            for row in self.folder.of("val")
        }

    async def validate(self) -> None:
        """Validate the latest checkpoint, remember the best, drop the checkpoints that are neither."""
        await self.examine("val", self.checkpoint, SAMPLED)
        await self.examine("val", self.checkpoint, GREEDY)
        rewards = self._val_rewards()
        self._remember(
            best_checkpoint=max((reward, step) for step, reward in rewards.items())[1]
            if rewards
            else self.checkpoint
        )
        if rewards:
            await self.surviving(partial(self.model.delete_checkpoints, "val/selection"))

    async def test(self, checkpoint: int) -> None:
        """Test a checkpoint at temperature 0, and k times at temperature 1."""
        await self.examine("test", checkpoint, GREEDY)
        await self.examine("test", checkpoint, SAMPLED)

    # -- training

    async def execute(self) -> None:
        """The whole run: judge checked, test, training, test of the best checkpoint."""
        await check_judge(self.judge)
        async with self.opened():
            if self.position:
                say(f"going on after step {self.position}")
            self._remember(finished=False)
            await self.test(0)
            await self.train()
            await self.test(self.state["best_checkpoint"])
            self._remember(finished=True)

    async def train(self) -> None:
        """Steps until there are enough or time is up; validates every few and at the end."""
        from art.utils import iterate_dataset

        config, dataset = self.config, list(self.scenarios["train"])
        random.Random(config.seed).shuffle(dataset)
        epochs = -(-config.steps * config.groups_per_step // len(dataset)) + 1
        before, began = float(self.state.get("training_seconds", 0.0)), time.monotonic()
        most = float("inf") if config.max_minutes is None else 60 * config.max_minutes
        await self.validate()
        for batch in iterate_dataset(
            dataset,
            groups_per_step=config.groups_per_step,
            num_epochs=epochs,
            initial_step=self.position,
            use_tqdm=False,
        ):
            elapsed = before + time.monotonic() - began
            pace = elapsed / self.position if self.position else 0.0
            if self.position >= config.steps or elapsed + pace > most:
                break
            left = min(pace * (config.steps - self.position), most - elapsed) if self.position else most
            behind = max(self.position / config.steps, elapsed / most)
            rate = config.learning_rate * (1 - config.learning_rate_decay * behind)
            await self._step(
                batch.items, rate, elapsed, f"{left / 60:.0f} min left" if left < float("inf") else ""
            )
            if self.position % config.validate_every == 0:
                await self.validate()
            self._remember(training_seconds=before + time.monotonic() - began)
        await self.validate()
        self._remember(training_seconds=before + time.monotonic() - began)

    async def _step(
        self, scenarios: Sequence[Scenario], learning_rate: float, elapsed: float, left: str
    ) -> None:
        """One step: rollouts, one training job, one row."""
        began, step = time.monotonic(), self.position + 1
        path = self.folder.episodes_path("train", step, ROLLOUTS)
        wanted = [Wanted(scenario, range(self.config.rollouts_per_group)) for scenario in scenarios]

        async def rollouts() -> Played:
            path.unlink(missing_ok=True)  # of an attempt that became no step
            return await self.play(
                f"step {step}", wanted, path, "train", self.checkpoint, self.config.episode.temperature
            )

        played = await self.surviving(rollouts)
        groups = [
            group
            for group in played.groups
            if len({trajectory.reward for trajectory in group.trajectories}) > 1
        ]
        flat = len(played.groups) - len(groups)
        submitted = time.monotonic()
        # a step without any lesson is submitted all the same: the backend has to count it
        lessons = groups or [group for group in played.groups if group.trajectories]
        job = await self.surviving(partial(self._job, lessons, learning_rate))
        trained = time.monotonic()
        await self.model.log(played.groups, split="train", metrics=job, step=self.checkpoint)
        self.position = step
        seconds = time.monotonic() - began
        row = self._row(
            "train",
            step,
            played,
            groups=len(played.groups),
            flat_groups=flat,
            seconds=round(seconds, 3),
            job_seconds=round(trained - submitted, 3),
            overhead_seconds=round(seconds - played.seconds - _learning_seconds(job), 3),
            elapsed_seconds=round(elapsed + seconds, 3),
            job=job,
        )
        flats, failed = f"{flat} of {len(played.groups)} groups flat", f"{played.failures.total()} failed"
        say(
            f"step {step}/{self.config.steps}: {words(row)}, {flats}, {failed}, {seconds:.1f} s{', ' if left else ''}{left}"
        )

    async def _job(self, groups: Sequence[art.TrajectoryGroup], learning_rate: float) -> dict[str, float]:
        """Train on the groups, unless the service did that before it died. Moves `checkpoint`."""
        if (reached := await self.model.get_step()) > self.checkpoint:
            self.checkpoint = reached
            return {}
        config = self.config
        clipping = (
            {"loss_fn": "ppo" if config.ppo else "cispo"}
            if config.backend == "local"
            else {"ppo": config.ppo}
        )
        try:
            async with asyncio.timeout(60 * config.step_timeout_minutes):
                result = await self.backend.train(
                    self.model,
                    groups,
                    learning_rate=learning_rate,
                    importance_sampling_level=config.importance_sampling_level,
                    scale_rewards=config.scale_rewards,
                    advantage_balance=config.advantage_balance,
                    **clipping,
                )
        except (TimeoutError, RuntimeError) as trouble:
            why = str(trouble) or f"the training job took longer than {config.step_timeout_minutes:g} minutes"
            raise JobFailed(f"step {self.position + 1}: {why}") from trouble
        self.checkpoint = result.step
        return {name: float(value) for name, value in result.metrics.items()}

    # -- remembering

    def _row(self, split: str, step: int, played: Played, **more: Any) -> dict[str, Any]:
        """Append a row to metrics.jsonl."""
        facts = measured(played.episodes, self.config.seed, played.failures, played.seconds)
        row: dict[str, Any] = {
            "split": split,
            "step": step,
            "checkpoint": self.checkpoint if split == "train" else step,
            **facts,
        }
        row |= more | {"at": _now()}
        self.folder.add(row)
        return row

    def _remember(self, **facts: Any) -> None:
        """Keep facts about the run in ART's state file."""
        now = time.monotonic()
        self.state |= {"seconds": self.state.get("seconds", 0.0) + now - self._clock, **facts}
        self._clock = now
        self.model.merge_state({"run": self.state})


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _learning_seconds(job: Mapping[str, float]) -> float:
    """What of a job was gradient steps, where the backend says so; all else of a step that is not rollouts is
    overhead.
    """
    return job.get("gradient_seconds", 0.0) * job.get("data/step_num_gradient_steps", 0.0)


def _named(base_model: str) -> str:
    """`NAME=FOLDER` for a folder, so that clients have a short name for it."""
    folder = Path(base_model).resolve()
    return f"{folder.name}={folder}" if Path(base_model).is_dir() else base_model


def _backend_error() -> type[Exception]:
    """What a backend's client raises: a refused key, a wrong address, a service that is down."""
    import openai

    return openai.OpenAIError


def _local_backend(folder: Path) -> Any:
    try:
        from art.local import LocalBackend
    except ImportError as missing:
        raise _needs_extra(missing) from missing
    return LocalBackend(path=str(folder))


def _needs_extra(missing: ImportError) -> ConfigurationError:
    """What ART's own backend imports when it is made, or only when it is used."""
    extra = f"openpipe-art[backend]=={version('openpipe-art')}"
    return ConfigurationError(f"--backend local needs a GPU and {missing.name}; run: pip install '{extra}'")


# ---------------------------------------------------------------------------------------------------- command


def import_art(config: TrainingConfig) -> None:
    """Import ART so that, without a key, nothing in this process has a reason to contact anybody."""
    if config.backend != "local":
        sys.modules.setdefault("transformers", None)  # type: ignore[arg-type] # else ART imports and patches it: 3 s and 200 MB
    prepare_wandb()
    import art  # noqa: F401

    ours = config.backend == "embedded" or config.service_url is not None
    if not begin(config.project, allowed=not ours):
        os.environ.pop(
            "WANDB_API_KEY", None
        )  # importing ART reads .env; it takes even an empty key for a wish to log to W&B


def _scenarios(config: TrainingConfig) -> dict[str, list[Scenario]]:
    limits = {"train": config.train_limit, "val": config.val_limit, "test": config.test_limit}
    unused = {split for split, limit in limits.items() if limit == 0}
    return {
        split: [] if split in unused else read_scenarios(config.scenarios / split)[:limit]
        for split, limit in limits.items()
    }


def _next(folder: RunWriter, best: int, steps: int) -> str:
    """The command to type after a run has finished."""
    if not best:
        more = f"python train_serverless.py --name {folder.path.name} --resume --steps {2 * steps} --max-minutes none"
        return f"no checkpoint beat the start on val; train longer: {more}"
    before, after = (folder.episodes_path("test", step, GREEDY) for step in (0, best))
    return f"python -m evaluation compare {before} {after}"


async def _execute(run: Run) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, run.interrupt, number)
    await run.execute()


def _train(name: str, config: TrainingConfig, resume: bool) -> int:
    """Everything after the command line. Returns the exit code."""
    folder = RunWriter(config.runs / name)
    with folder.claimed(resume):
        facts: dict[str, Any] = {"name": name, "at": _now(), "revision": revision()}
        facts |= {
            "art": version("openpipe-art"),
            "command": sys.argv,
            "scenarios_sha256": fingerprint(config.scenarios),
        }
        facts |= {"config": config.model_dump(mode="json")}
        if resume:
            earlier = folder.settings()
            if earlier["scenarios_sha256"] != facts["scenarios_sha256"]:
                raise ConfigurationError(
                    f"the scenarios in {config.scenarios} have changed; start a new run with another --name"
                )
            facts["earlier"] = [
                *earlier.get("earlier", []),
                {"at": earlier["at"], "revision": earlier["revision"]},
            ]
        run = Run(folder, config, _scenarios(config))
        folder.write("config.json", (json.dumps(facts, indent=2) + "\n").encode())
        built = build_logs.build(config.scenarios, config.database)
        say(f"{config.database}: {built.built} scenarios built, {built.unchanged} unchanged")
        import_art(config)
        code, trouble = 0, ""
        try:
            asyncio.run(_execute(run))
        except Interrupted:
            code = 128 + (run.signal or signal.SIGINT)
        except KeyboardInterrupt:
            return 130
        except ConfigurationError:
            raise
        except (InvestigatorError, _backend_error()) as problem:
            folder.fail(problem)
            code, trouble = (
                1,
                f"{problem}" if isinstance(problem, InvestigatorError) else f"the backend: {problem}",
            )
        summary = write_report(folder.path)
        run.wandb.conclude(folder.path, summary, folder.rows, code)
    print(f"\n{table(summary)}\n\nreport     {folder.path / 'report.html'}")
    if code == 0:
        print(f"next       {_next(folder, summary['best_checkpoint'], config.steps)}")
    else:
        print(f"go on      python train_serverless.py --name {name} --resume")
    print(explain(folder.path))
    if trouble:
        print(f"train_serverless: {trouble}", file=sys.stderr)
    return code


def main(argv: Sequence[str] | None = None) -> int:
    """Train, measure, report; or say what would happen."""
    flags = argparse.ArgumentParser(
        prog="python train_serverless.py",
        usage="%(prog)s [--name NAME] [--resume] [--config FILE] [--dry-run] [any setting below]",
        description=(__doc__ or "").split("\n\n")[0],
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
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
    arguments = flags.parse_args(argv)
    os.environ.setdefault(
        "LITELLM_LOCAL_MODEL_COST_MAP", "True"
    )  # else importing litellm asks the network for prices
    os.environ.setdefault(
        "TQDM_DISABLE", "1"
    )  # ART's own bars; ours decide for themselves. Read when tqdm is first imported
    try:
        runs, saved = Path(getattr(arguments, "runs", "runs")), None
        name = arguments.name or (
            latest_run(runs) if arguments.resume else f"{datetime.now(UTC):%Y%m%d-%H%M%S}"
        )
        if not RUN_NAME.fullmatch(name):
            raise ConfigurationError(f"--name {name!r}: use letters, digits, '.', '_' and '-', 64 at most")
        if arguments.resume:
            saved = RunWriter(runs / name).settings()["config"]
        config = resolve(arguments, saved)
        if arguments.dry_run:
            print(plan(config, name))
            return 0
        return _train(name, config, arguments.resume)
    except InvestigatorError as trouble:
        print(f"train_serverless: {trouble}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
