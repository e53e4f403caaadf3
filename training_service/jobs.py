"""Training jobs: a queue, one worker thread, and what a job's fate means for the model.

Jobs run one at a time in the order they came; inference goes on meanwhile. Whatever a job raises becomes
`training_failed` with a reason and leaves the model at its last step. Whatever it trains, nothing included,
becomes exactly one new step. Jobs are not resumed after a crash: at start the unfinished ones are failed with
a request to submit the batch again.
"""

from __future__ import annotations

import errno
import logging
import math
import shutil
import threading
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from training_service.engine import Engine, RequestError, TrainingError, TrainResult
from training_service.folders import Folders, carry_over
from training_service.store import Model, ModelGone, Store
from training_service.wire import JobKind, Json

log = logging.getLogger(__name__)


@dataclass
class Job:
    """One accepted job. `cancel` holds the reason once somebody wants it to end."""

    id: str
    model: Model
    kind: JobKind
    rows: list[Json]
    config: Json
    target: Path
    cancel: threading.Event = field(default_factory=threading.Event)
    cancel_reason: str = ""


class Jobs:
    """The queue of one service. `submit`, `cancel` and `stop` may be called from any thread."""

    def __init__(self, store: Store, folders: Folders, engine: Engine, max_waiting: int = 16) -> None:
        self._store, self._folders, self._engine, self._max_waiting = store, folders, engine, max_waiting
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="training")
        self._live: dict[str, Job] = {}
        self._guard = threading.RLock()  # a job that ends at once settles inside submit
        self._idle = threading.Condition(self._guard)
        self._stopping = False

    def fail_left_over(self) -> int:
        """At start: fail the jobs that a previous process did not finish. Returns how many."""
        left = self._store.unfinished_jobs()
        for job in left:
            step = self._store.latest_step(job["model_id"])
            was = "was running" if job["state"] == "running" else "was waiting"
            reason = f"the service stopped while this job {was}; the model is at step {step}, submit the batch again"
            self._store.fail_job(job["id"], reason)
        return len(left)

    def submit(self, model: Model, rows: list[Json], config: Json, kind: JobKind = "grpo") -> str:
        """Queue a job and return its id. Raises RequestError when it cannot be taken."""
        self._folders.require_space(self._engine.job_bytes(self._source(model)))
        with self._guard:
            if self._stopping:
                raise RequestError(
                    503, "the service is stopping; submit the batch again after it has started", "stopping"
                )
            if len(self._live) > self._max_waiting:
                raise RequestError(
                    429,
                    f"{len(self._live)} jobs are waiting already; submit again when one has ended",
                    "queue_full",
                )
            job = Job(self._store.add_job(model.id), model, kind, rows, config, self._folders.fresh())
            self._live[job.id] = job
            self._worker.submit(self._run, job).add_done_callback(lambda future: self._settle(job, future))
        log.info("%s: %s queued for %s, %d rows", job.id, kind, model.full_name, len(rows))
        return job.id

    def cancel_model(self, model_id: str) -> None:
        """Ask the model's jobs to end, because it is being deleted."""
        with self._guard:
            for job in self._live.values():
                if job.model.id == model_id:
                    _cancel(job, "the model was deleted")

    def waiting(self) -> int:
        """Jobs queued or running."""
        with self._guard:
            return len(self._live)

    def mend(self, job_id: str) -> None:
        """Fail a job that ended without a trace, as when the disk was too full to write down why. Raises
        RequestError 404.
        """
        with self._guard:
            if job_id not in self._live and self._store.job(job_id)["state"] in ("queued", "running"):
                self._store.fail_job(
                    job_id, "the outcome could not be recorded; see the service's log, then submit again"
                )

    def begin_stop(self) -> None:
        """Take no more jobs and ask those there are to end; returns at once. The gradient step in progress is
        finished first.
        """
        with self._guard:
            self._stopping = True
            for job in self._live.values():
                _cancel(job, "the service was stopped; start it and submit the batch again")

    def stop(self, grace_s: float) -> bool:
        """Wait for the end that `begin_stop` asked for. False when a job still
        runs after `grace_s` seconds.
        """
        self.begin_stop()
        with self._idle:
            ended = self._idle.wait_for(lambda: not self._live, timeout=grace_s)
        self._worker.shutdown(wait=ended, cancel_futures=False)
        return ended

    def _source(self, model: Model) -> Path:
        return self._folders.checkpoint(model.id, self._store.latest_step(model.id))

    def _run(self, job: Job) -> int:
        """The job itself, in the worker thread. Returns the new step; raises for every way it can fail."""
        _raise_if_cancelled(job)
        self._store.start_job(job.id)
        source = self._source(job.model)
        self._folders.require_space(self._engine.job_bytes(source))
        with self._folders.pinned(source):
            reports = Reports(self._store, job.id)
            result = self._engine.train(
                source, job.target, job.rows, job.config, reports, job.cancel.is_set, job.kind
            )
            reports.end(result)
            if result.gradient_steps == 0:
                log.warning("%s: %s", job.id, _untrained(result))
                carry_over(source, job.target)
            step = self._store.latest_step(job.model.id) + 1
            final = self._folders.checkpoint(job.model.id, step)
            self._folders.publish(job.target, final)
            try:
                self._store.finish_job(job.id, job.model.id, step, _finite(result.metrics))
            except ModelGone as gone:
                self._folders.condemn(final)
                raise TrainingError("the model was deleted") from gone
        self._folders.drop_optimizer(source)
        return step

    def _settle(self, job: Job, future: Future[int]) -> None:
        """The job has ended one way or another: say so, and leave nothing behind."""
        trouble = future.exception()
        shutil.rmtree(job.target, ignore_errors=True)
        try:
            if trouble is None:
                log.info("%s: %s is at step %d", job.id, job.model.full_name, future.result())
            else:
                reason = _reason(job, trouble)
                log.error(
                    "%s: failed: %s",
                    job.id,
                    reason,
                    exc_info=None if isinstance(trouble, TrainingError) else trouble,
                )
                self._store.fail_job(job.id, reason)
        finally:
            with self._idle:
                del self._live[job.id]
                self._idle.notify_all()


def _untrained(result: TrainResult) -> str:
    """Say that a job took no gradient step, and why where it is known."""
    said = "nothing could be trained, so the weights stay as they are"
    if "flat_groups" not in result.metrics:
        return said
    flat, groups = result.metrics["flat_groups"], result.metrics["groups"]
    return f"{said}: in {flat:.0f} of {groups:.0f} groups all rewards are equal"


class Reports:
    """What the engine reports becomes events, in the order and with the types the client insists on."""

    def __init__(self, store: Store, job_id: str) -> None:
        self._store, self._job_id = store, job_id
        self._started = False

    def __call__(self, values: Mapping[str, float]) -> None:
        numbers = _finite(values)
        if self._started:
            self._store.add_event(self._job_id, "gradient_step", numbers)
            return
        if set(numbers) != {"num_sequences"}:
            raise TypeError(f"the first report must be num_sequences alone, not {sorted(numbers)}")
        self._started = True
        self._store.add_event(
            self._job_id, "training_started", {"num_sequences": int(numbers["num_sequences"])}
        )

    def end(self, result: TrainResult) -> None:
        """An untrainable batch starts, too: the client expects it."""
        if not self._started and result.gradient_steps == 0:
            self({"num_sequences": 0})
        if not self._started:
            raise TypeError("the engine trained without reporting num_sequences")


def _finite(values: Mapping[str, float]) -> dict[str, float]:
    numbers = {name: float(value) for name, value in values.items()}
    for name, value in numbers.items():
        if not math.isfinite(value):
            raise TrainingError(
                f"training diverged: {name} is {value}; the step was not kept, lower the learning rate"
            )
    return numbers


def _cancel(job: Job, reason: str) -> None:
    job.cancel_reason = job.cancel_reason or reason
    job.cancel.set()


def _raise_if_cancelled(job: Job) -> None:
    if job.cancel.is_set():
        raise TrainingError(job.cancel_reason)


def _reason(job: Job, trouble: BaseException) -> str:
    if job.cancel.is_set():
        return job.cancel_reason
    if isinstance(trouble, (TrainingError, RequestError)):
        return str(trouble)
    if isinstance(trouble, OSError) and trouble.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full; delete old checkpoints (model.delete_checkpoints()) or free some space, then submit again"
    return f"internal error, the step was not kept: {type(trouble).__name__}: {trouble} (the service's log has the traceback)"
