"""Continuous batching: sequences join and leave the batch while the others go on decoding.

One thread per base model runs steps. A step is one forward of one checkpoint over everything it has to do: a
token for each sequence that is decoding, and the next stretch of each prompt that is new, packed without
padding (`ragged_attention`). Prompts reuse what the slots of `kv_cache` still hold. Checkpoints with work
take turns.

Whatever happens, every future handed out ends. A cancelled one is dropped at the next step. The same request
with the same seed gives the same tokens whatever it shares a batch with, up to rounding (`sampling`).

Not here: text. Requests and results are tokens (`chat_format` renders and parses, `local_engine` speaks
OpenAI).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from project_types import InvestigatorError
from training_service.kv_cache import Arena, CachedPlan, Segment, Slot
from training_service.prefix_tree import Tokens
from training_service.sampling import Sampling, draw
from training_service.threads import Threads

PREFILL_TOKENS = 4096
"""Prompt tokens computed in one step, at most: bounds how long a decoding sequence waits and how much memory
a step takes.
"""

TRY_AGAIN_S = 0.02
"""Seconds between two looks for a slot while nothing runs and every slot expects its next turn."""

Stop = Callable[[Sequence[int]], bool]


@dataclass(frozen=True)
class Written:
    """What one sequence became. `tokens` includes the end token when there is one."""

    tokens: list[int]
    logprobs: list[float]
    ended: bool
    """False when the length limit cut it."""


@dataclass(eq=False)  # a job equals itself only; arrays have no truth value
class Job:
    """One sequence to write: where it starts, how it is sampled, when it stops."""

    checkpoint: str
    prompt: Tokens
    limit: int
    sampling: Sampling
    end_tokens: frozenset[int]
    stop: Stop | None = None
    """Asked after each token with all written so far."""
    goes_on: bool = False
    """Another turn of this conversation is expected, so that its keys and values are worth keeping."""
    future: Future[Written] = field(default_factory=Future)
    slot: Slot | None = None
    written: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)

    @property
    def length(self) -> int:
        return len(self.prompt) + len(self.written)


@dataclass(frozen=True)
class Row:
    """What one step computes: a packed row of one segment for each of some jobs."""

    jobs: list[Job]
    segments: list[Segment]

    def tokens(self) -> Tensor:
        """Return the new tokens of every segment, `[T]`."""
        pairs = zip(self.jobs, self.segments, strict=True)
        return torch.from_numpy(np.concatenate([_fresh_tokens(job, segment) for job, segment in pairs]))

    def positions(self) -> Tensor:
        """Return the place of each of these tokens in its own sequence, `[T]`."""
        places = [np.arange(segment.past, segment.past + segment.count) for segment in self.segments]
        return torch.from_numpy(np.concatenate(places))

    def complete(self) -> list[int]:
        """Return the numbers of the jobs that are then read to their end, whose next token can be drawn."""
        pairs = enumerate(zip(self.jobs, self.segments, strict=True))
        return [number for number, (job, segment) in pairs if segment.past + segment.count == job.length]

    def last(self, number: int) -> int:
        """Return where in the row the last token of a job stands."""
        segment = self.segments[number]
        return segment.start + segment.count - 1


def _fresh_tokens(job: Job, segment: Segment) -> Tokens:
    if segment.count == 1 and job.written:
        return np.array(job.written[-1:], dtype=np.int32)
    return job.prompt[segment.past : segment.past + segment.count]


class Generator:
    """The batch of one base model."""

    def __init__(
        self, arena: Arena, load: Callable[[str], nn.Module], device: torch.device, together: int = 64
    ) -> None:
        """Start the generating thread. It calls `load` for the model of a checkpoint.

        At most `together` sequences run at once; more wait in order of arrival.
        """
        self._arena, self._load, self._device = arena, load, device
        self.together = min(together, len(arena.slots))
        self._waiting: deque[Job] = deque()
        self._running: dict[str, list[Job]] = {}
        self._wake = threading.Condition()
        self._closed = self._letting_go = False
        self._cores = torch.get_num_threads()
        self._threads: dict[int, Threads] = {}
        """By the magnitude of a step: on two busy cores, splitting the small operations of a tiny model made
        a step of 64 tokens take 130 ms instead of 16 ms of one core. A larger model gains from both.
        """
        self.steps = 0
        self.tokens_computed = 0
        self._thread = threading.Thread(target=self._run, name="generation", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> Future[Written]:
        """Queue a sequence. Raises RuntimeError after close."""
        with self._wake:
            if self._closed:
                raise RuntimeError("the generator is closed")
            self._waiting.append(job)
            self._wake.notify()
        return job.future

    def let_go(self) -> None:
        """Give back the memory of conversations that have ended, before something else needs much of it."""
        with self._wake:
            self._letting_go = True
            self._wake.notify()

    def close(self) -> None:
        """Stop after the current step; whatever has not ended fails."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        self._thread.join()

    # -------------------------------------------------------------------------------------------------
    # generating thread

    def _run(self) -> None:
        try:
            while self._wait_for_work():
                self._admit()
                self._pause_when_all_wait()
                for checkpoint in list(self._running):
                    self._step_or_fail(checkpoint)
        finally:
            with self._wake:
                self._closed = True
                left = [*self._waiting, *(job for jobs in self._running.values() for job in jobs)]
                self._waiting.clear()
                self._running.clear()
            for job in left:
                self._leave(job, RuntimeError("generation has stopped; restart the service"))

    def _wait_for_work(self) -> bool:
        with self._wake:
            self._wake.wait_for(lambda: self._closed or self._letting_go or self._waiting or self._running)
            asked, self._letting_go = self._letting_go, False
        if asked:
            self._arena.let_go()
        return not self._closed

    def _pause_when_all_wait(self) -> None:
        with self._wake:
            if self._waiting and not self._running and not self._closed:
                self._wake.wait(TRY_AGAIN_S)

    def _admit(self) -> None:
        """Give waiting sequences a slot, in order of arrival.

        One that would gain by waiting lets others pass.
        """
        with self._wake:
            candidates, self._waiting = self._waiting, deque()
        passed: list[Job] = []
        room = self.together - sum(map(len, self._running.values()))
        while candidates and room:
            job = candidates.popleft()
            if job.future.cancelled():
                continue
            job.slot = self._arena.acquire(job.checkpoint, job.prompt)
            if job.slot is None:
                passed.append(job)
            else:
                self._running.setdefault(job.checkpoint, []).append(job)
                room -= 1
        with self._wake:
            self._waiting.extendleft(reversed([*passed, *candidates]))

    def _step_or_fail(self, checkpoint: str) -> None:
        try:
            self._step(checkpoint)
        except (
            InvestigatorError,
            RuntimeError,
            ValueError,
            FloatingPointError,
            OSError,
        ) as failure:  # checkpoint, torch, model
            for job in self._running.pop(checkpoint, []):
                self._leave(job, failure)
        if not self._running.get(checkpoint, [None]):
            del self._running[checkpoint]

    def _step(self, checkpoint: str) -> None:
        jobs = self._running[checkpoint]
        for job in [job for job in jobs if job.future.cancelled()]:
            jobs.remove(job)
            self._leave(job, None)
        if not jobs:
            return
        row = self._plan(jobs)
        complete = row.complete()
        tokens, logprobs = self._forward(self._load(checkpoint), row, complete)
        self.steps += 1
        for job, segment in zip(row.jobs, row.segments, strict=True):
            assert job.slot is not None
            job.slot.filled = segment.past + segment.count
            self.tokens_computed += segment.count
        for number, token, logprob in zip(complete, tokens, logprobs, strict=True):
            self._write(row.jobs[number], token, logprob)

    def _forward(self, model: nn.Module, row: Row, complete: Sequence[int]) -> tuple[list[int], list[float]]:
        """Run the model over a row; returns a token and its log-probability for each of the complete jobs."""
        tokens = row.tokens().long().to(self._device)
        last = torch.tensor([row.last(number) for number in complete], dtype=torch.long)
        with self._threaded(len(tokens)), torch.inference_mode():
            logits = model(
                input_ids=tokens[None],
                position_ids=row.positions().to(self._device)[None],
                use_cache=False,
                logits_to_keep=last.to(self._device),
                plan=CachedPlan(self._arena, row.segments, self._device),
            ).logits[0]
            if not complete:
                return [], []
            return draw(logits, [row.jobs[number].sampling for number in complete])

    def _threaded(self, tokens: int) -> AbstractContextManager[None]:
        """Return the context of a step, in which as many threads work as was
        fastest for steps of this size.
        """
        magnitude = tokens.bit_length()
        if magnitude not in self._threads:
            self._threads[magnitude] = Threads(self._cores)
        return self._threads[magnitude].piece(tokens)

    def _plan(self, jobs: Sequence[Job]) -> Row:
        """Choose what this step computes: single tokens first, then stretches of
        prompts up to PREFILL_TOKENS.
        """
        todo = [(job, job.slot, job.length - job.slot.filled) for job in jobs if job.slot is not None]
        todo.sort(key=lambda entry: entry[2] > 1)
        batch, segments, start, room = [], [], 0, PREFILL_TOKENS
        for job, slot, missing in todo:
            count = missing if missing == 1 else min(missing, room)
            if count > 1 or missing == 1:
                batch.append(job)
                segments.append(Segment(slot.index, slot.filled, start, count))
                start += count
                room -= count if missing > 1 else 0
        return Row(batch, segments)

    def _write(self, job: Job, token: int, logprob: float) -> None:
        job.written.append(token)
        job.logprobs.append(logprob)
        ended = token in job.end_tokens or (job.stop is not None and job.stop(job.written))
        if ended or len(job.written) >= job.limit:
            self._running[job.checkpoint].remove(job)
            self._leave(job, None, Written(job.written, job.logprobs, ended))

    def _leave(self, job: Job, failure: BaseException | None, result: Written | None = None) -> None:
        if job.slot is not None:
            tokens = np.concatenate([job.prompt, np.array(job.written, dtype=np.int32)])
            self._arena.release(job.slot, tokens, job.goes_on)
            job.slot = None
        try:
            if failure is not None:
                job.future.set_exception(failure)
            elif result is not None:
                job.future.set_result(result)
        except InvalidStateError:  # cancelled meanwhile: nobody waits
            return
