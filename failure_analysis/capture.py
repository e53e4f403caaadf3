"""Takes what failed in a run into failures.db: every episode, failed rollout, failed training job and the run
itself.

Incremental and idempotent: a file is read from where the last capture stopped, and the same episode stored
twice is one row. Memory is bounded by one batch of lines. A line that is no episode is skipped and said;
nothing that can be read is lost because of what cannot. Good episodes are listed too, so that counts have a
whole; only failed ones are explained. The runs are never written to.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from core.episode_store.episodes import first_problem, parse_episode
from core.episode_store.failures import last_failure_of_run, parse_failure
from core.episode_store.lines import Line, read_lines
from core.episode_store.run_folder import EpisodeFile, RunFolder, State, moment
from core.episode_store.runs import find_runs
from core.redaction import READ_BACK, redacted_message
from failure_analysis.batches import batches
from failure_analysis.episodes.investigations import failed
from failure_analysis.explaining import Explainer
from failure_analysis.logs.analyzer import LogAnalyzer
from failure_analysis.logs.rules import READ_CHARACTERS
from failure_analysis.records import EpisodeFacts, Experiment, ExperimentType, Failure, Status, experiment_id
from failure_analysis.store import FailureStore, Source
from failure_analysis.tailing import reached, unchanged_start
from failure_analysis.texts import write_texts
from project_types import Episode

LONGEST_QUESTION, LONGEST_ANSWER = 200, 600
BATCH = 200
"""Lines that are explained and then stored in one transaction."""
Progress = Callable[[int], None]


class Captured(NamedTuple):
    """What one capture did."""

    experiments: int
    failures: int
    notes: tuple[str, ...]
    """What could not be read, and what is still being written."""


def capture(
    path: Path, store: FailureStore, analyzer: LogAnalyzer, progress: Progress = lambda lines: None
) -> Captured:
    """Take in a run, a JSONL file of episodes, or every run in a folder.

    Raises:
        StoreError: there is no run at `path`, or failures.db cannot be used.
    """
    totals, notes, touched = Counter[str](), list[str](), set[str]()
    for run in find_runs(path):
        one = _Capture(run, store, analyzer, progress)
        one.take_in()
        totals.update(one.totals)
        notes += one.notes
        touched |= one.touched
    write_texts(store, touched)
    return Captured(totals["experiments"], totals["failures"], tuple(notes))


class _Capture:
    """The capture of one run."""

    def __init__(
        self, run: RunFolder, store: FailureStore, analyzer: LogAnalyzer, progress: Progress
    ) -> None:
        self.run, self.store, self._progress = run, store, progress
        self.explainer = Explainer(analyzer, store)
        self.name = self._relative(run.path)
        self.totals: Counter[str] = Counter()
        self.notes: list[str] = []
        self.touched: set[str] = set()
        self._explained: dict[str, Failure] = {}

    def take_in(self) -> None:
        """Everything that is new in the run."""
        times = self._times()
        for file in self.run.episode_files():
            self._take_file(file.path, lambda line, file=file: self._episode(file, line, times))  # type: ignore[misc]
        if self._failures_are_told():
            self._take_file(self.run.failures_path, self._failure)
        self._store(self._failed_by_reason())
        self._store([self._whole()])
        if self.run.being_written():
            self.notes.append(
                f"{self.run.path}: a run is still writing here; run the same command again for the rest"
            )

    # -- files of lines

    def _take_file(self, path: Path, explain: Callable[[Line], Experiment]) -> None:
        """The lines added since the last capture, batch by batch."""
        name = self._relative(path)
        with self.store.writing() as writer:
            known = writer.source(name)
        start = unchanged_start(path, known or Source(path=name))
        if known and known.offset and not start.offset:
            with self.store.writing() as writer:
                writer.forget_file(name)  # replaced or cut: what it holds now is taken in anew
                writer.put_source(start)
        bad, unended = list[str](), list[Line]()
        for batch in batches(_whole(read_lines(path, start.offset, start.line), unended), BATCH):
            found = list[Experiment]()
            for line in batch:
                try:
                    found.append(explain(line))
                except ValueError as trouble:  # what is no episode, or no failure
                    bad.append(f"{path}:{line.number}: left out, {_first_problem(trouble)}")
            said = "\n".join(bad[:20]) or (start.trouble if start.offset else "")
            self._store(found, reached(path, name, batch[-1], said))
            self._progress(len(batch))
        self.notes += bad[:5]
        if len(bad) > 5:
            self.notes.append(f"{path}: {len(bad) - 5} more lines could not be read")
        for last in unended if not self.run.being_written() else ():
            try:
                self._store([explain(last)])  # where reading goes on stays before it
            except ValueError:
                broken = f"breaks off after {last.length} bytes; everything before it was taken in"
                self.notes.append(f"{path}:{last.number}: {broken}")

    def _store(self, experiments: Sequence[Experiment], source: Source | None = None) -> None:
        with self.store.writing() as writer:
            for experiment in experiments:
                writer.put(experiment)
            if source is not None:
                writer.put_source(source)
        self.totals["experiments"] += len(experiments)
        self.totals["failures"] += sum(experiment.failure is not None for experiment in experiments)
        self.touched |= {experiment.failure.signature for experiment in experiments if experiment.failure}

    def _episode(self, file: EpisodeFile, line: Line, times: dict[tuple[str, int], datetime]) -> Experiment:
        episode = parse_episode(line)
        split = file.split or episode.split
        name = self._relative(file.path)
        at = times.get((_row_name(file), file.step)) if file.step is not None else None
        facts = episode.outcome
        return Experiment(
            id=experiment_id(name, episode.scenario_id, episode.sample),
            type=ExperimentType.EPISODE,
            name=f"{episode.scenario_id} #{episode.sample}",
            at=at or datetime.fromtimestamp(file.path.stat().st_mtime, UTC),
            source=f"{name}:{line.number}",
            **self._about(episode, split),
            sampling=file.sampling,
            step=file.step,
            episode=EpisodeFacts(
                file=name,
                offset=line.offset,
                length=line.length,
                ending=facts.ending,
                correct=facts.correct,
                grounded=facts.grounded,
                reward=episode.reward,
                turns=facts.turns,
                seconds=facts.seconds,
                tokens=facts.prompt_tokens + facts.completion_tokens,
                cost_usd=episode.cost_usd,
                blamed=episode.report.suspected_service if episode.report else "",
                question=_question(episode),
                answer=redacted_message(episode.report.root_cause, LONGEST_ANSWER) if episode.report else "",
            ),
            **self._outcome(episode, split),
        )

    def _outcome(self, episode: Episode, split: str) -> dict[str, Any]:
        if not failed(episode):
            return {"status": Status.OK}
        scenario = self.run.scenario(episode.scenario_id, split)
        return {"status": Status.FAILED, "failure": self.explainer.episode(episode, scenario)}

    def _about(self, episode: Episode, split: str) -> dict[str, Any]:
        """What an experiment says of the episode's scenario and policy."""
        facts = episode.metadata
        return {
            "run": self.name,
            "split": split,
            "policy": episode.policy,
            "scenario_id": episode.scenario_id,
            "sample": episode.sample,
            "fault_type": str(facts.get("fault_type", "")),
            "topology": str(facts.get("topology", "")),
            "unseen": facts.get("unseen") is True,
        }

    def _failure(self, line: Line) -> Experiment:
        """A line of failures.jsonl: a sample that gave no episode, or a training job that failed."""
        row = parse_failure(line)
        name = self._relative(self.run.failures_path)
        id = experiment_id(name, row.scenario_id, row.sample, row.error, row.at)
        common: dict[str, Any] = {
            "id": id,
            "at": row.at or self._changed(),
            "source": f"{name}:{line.number}",
        }
        common["status"], said = Status.FAILED, f"{row.error}: {row.message}"
        if not row.scenario_id:
            failure = self.explainer.error(id, "training_job", said, self._service_log())
            what = f"{self.name}: {row.error}"
            return Experiment(
                **common, type=ExperimentType.TRAINING_JOB, name=what, run=self.name, failure=failure
            )
        common |= {"type": ExperimentType.ROLLOUT, "name": f"{row.scenario_id} #{row.sample}"}
        if row.episode is None:
            place: dict[str, Any] = {
                "run": self.name,
                "scenario_id": row.scenario_id,
                "sample": row.sample,
                "split": self.settings_split(),
            }
            return Experiment(**common, **place, failure=self.explainer.error(id, "rollout", said, ""))
        split = row.episode.split
        scenario = self.run.scenario(row.scenario_id, split)
        explained = self.explainer.episode(row.episode, scenario, row.error, row.message)
        return Experiment(**common, **self._about(row.episode, split), failure=explained)

    def settings_split(self) -> str:
        """The split an evaluation was asked to play."""
        return str(self.run.settings.get("split", ""))

    # -- what rows and folders say

    def _failed_by_reason(self) -> list[Experiment]:
        """Failed rollouts of a training run, which a metrics row counts by reason."""
        found = list[Experiment]()
        if self._failures_are_told():  # failures.jsonl says more of each
            return found
        for row in self.run.rows:
            reasons, split, step = row.get("failures"), str(row.get("split", "")), row.get("step")
            for reason, times in reasons.items() if isinstance(reasons, dict) else ():
                if not isinstance(times, int) or times < 1 or not isinstance(step, int):
                    continue
                id = experiment_id(self.name, "reason", split, step, reason)
                found.append(
                    Experiment(
                        id=id,
                        type=ExperimentType.ROLLOUT,
                        name=f"{times} rollouts of {split} {step}",
                        run=self.name,
                        status=Status.FAILED,
                        at=moment(row.get("at")) or self._changed(),
                        source=f"{self.name}/metrics.jsonl",
                        split=split,
                        step=step,
                        failure=self._once(id, "rollout", reason).model_copy(update={"times": times}),
                    )
                )
        return found

    def _once(self, id: str, experiment_type: str, message: str) -> Failure:
        """An error explained once, however often the run names it."""
        if message not in self._explained:
            self._explained[message] = self.explainer.error(id, experiment_type, message, "")
        return self._explained[message]

    def _whole(self) -> Experiment:
        """The run itself: running, finished, or failed, then with the reason."""
        run, settings = self.run, self.run.settings
        id = experiment_id(self.name, "run")
        training = run.kind == "training"
        status, failure = Status.OK, None
        if run.state is State.RUNNING:
            status = Status.RUNNING
        elif training and run.state is not State.FINISHED:
            status = Status.FAILED
            failure = self._why_it_ended(id)
        return Experiment(
            id=id,
            type=ExperimentType.TRAINING_RUN if training else ExperimentType.EVALUATION,
            name=self.name,
            run=self.name,
            status=status,
            at=self._changed(),
            source=self.name,
            split="" if training else self.settings_split(),
            policy=str(settings.get("policy") or run.config.get("base_model", "")),
            failure=failure,
        )

    def _why_it_ended(self, id: str) -> Failure:
        """The last trouble a training run wrote down; without any it was stopped or killed."""
        wrote = last_failure_of_run(self.run.failures_path)
        if self.run.state is State.OUT_OF_TIME:  # a failure it wrote down was mended by a resume
            said = "time ran out before half of the training steps; go on with --resume and more minutes"
        elif wrote is not None:
            said = f"{wrote.error}: {wrote.message}"
        else:
            said = "the run ended before it was finished: it was stopped or killed; go on with --resume"
        return self.explainer.error(id, "training_run", said, self._service_log())

    def _service_log(self) -> str:
        return self.run.service_log(READ_CHARACTERS + READ_BACK)

    def _failures_are_told(self) -> bool:
        return self.run.path.is_dir() and self.run.failures_path.is_file()

    def _changed(self) -> datetime:
        return self.run.changed or datetime.now(UTC)

    def _times(self) -> dict[tuple[str, int], datetime]:
        """When each split of each step was run, by the rows of metrics.jsonl."""
        found: dict[tuple[str, int], datetime] = {}
        for row in self.run.rows:
            at, step = moment(row.get("at")), row.get("step")
            if at is not None and isinstance(step, int):
                found[str(row.get("split")), step] = at
        return found

    def _relative(self, path: Path) -> str:
        return os.path.relpath(path.resolve(), self.store.folder.resolve())


def _question(episode: Episode) -> str:
    """The first line of what the agent was asked."""
    asked = next((message for message in episode.messages if message.get("role") == "user"), {})
    content = asked.get("content")
    lines = content.splitlines() if isinstance(content, str) else []
    return redacted_message(next((line.strip() for line in lines if line.strip()), ""), LONGEST_QUESTION)


def _row_name(file: EpisodeFile) -> str:
    """The split of the metrics row that tells of a file's episodes."""
    return f"{file.split}_sampled" if file.sampling == "t1" else file.split


def _whole(lines: Iterator[Line], unended: list[Line]) -> Iterator[Line]:
    """Give the lines that end; the last one, when it does not, goes to `unended`."""
    for line in lines:
        if line.whole:
            yield line
        else:
            unended.append(line)


def _first_problem(trouble: ValueError) -> str:
    return first_problem(trouble) if isinstance(trouble, ValidationError) else str(trouble)[:200]
