"""Continuous batching: sequences join and leave the batch while the others go on decoding.

One thread per base model runs steps. A step is one forward of one checkpoint over everything it has to do: a
token for each sequence that is decoding, and the next stretch of each prompt that is new, packed without
padding (`ragged_attention`). Prompts reuse what the slots of `kv_cache` still hold. Where few sequences are
written, a step also reads guesses of what they say next (`prompt_lookup`). Checkpoints with work take turns.

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
from training_service.prompt_lookup import NO_GUESS, guess
from training_service.sampling import Sampling, draw
from training_service.threads import Threads

PREFILL_TOKENS = 4096
"""Prompt tokens computed in one step, at most: bounds how long a decoding sequence waits and how much memory
a step takes.
"""

GUESSED_TOKENS = 16
"""Tokens that are guessed in one step, at most, shared by all sequences that are being written. SmolLM2 reads eight
tokens of one sequence in 1.4 times the time of one, and three tokens of eight sequences in about as much more.
"""
LONGEST_GUESS = 8
"""Tokens that are guessed of one sequence, at most."""

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

    def tokens(self) -> Tokens:
        """Return all that was read and written."""
        return np.concatenate([self.prompt, np.array(self.written, dtype=np.int32)])


@dataclass(frozen=True)
class Part:
    """What one step computes of one job: tokens of it, or its last token and a guess of the next ones."""

    job: Job
    segment: Segment
    guess: Tokens = field(default_factory=lambda: NO_GUESS)

    @property
    def complete(self) -> bool:
        """Whether the job is then read to its end, so that its next token can be drawn."""
        return self.segment.past + self.segment.count == self.job.length + len(self.guess)

    @property
    def last(self) -> range:
        """Return where in the row the job's last token stands, and its guess behind it."""
        end = self.segment.start + self.segment.count
        return range(end - len(self.guess) - 1, end)

    def tokens(self) -> Tokens:
        """Return what is new."""
        past, count, job = self.segment.past, self.segment.count, self.job
        if past + count <= len(job.prompt):
            return job.prompt[past : past + count]
        last = np.array(job.written[-1:], dtype=np.int32) if job.written else job.prompt[-1:]
        return np.concatenate([last, self.guess])

    def positions(self) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """Return the places of these tokens in their sequence."""
        return np.arange(self.segment.past, self.segment.past + self.segment.count)


@dataclass(frozen=True)
class Row:
    """What one step computes: a packed row of one segment for each of some jobs."""

    parts: list[Part]

    def tokens(self) -> Tensor:
        """Return the new tokens of every segment, `[T]`."""
        return torch.from_numpy(np.concatenate([part.tokens() for part in self.parts]))

    def positions(self) -> Tensor:
        """Return the place of each of these tokens in its own sequence, `[T]`."""
        return torch.from_numpy(np.concatenate([part.positions() for part in self.parts]))

    def complete(self) -> list[Part]:
        """Return the parts of jobs whose next token can be drawn."""
        return [part for part in self.parts if part.complete]


class Generator:
    """The batch of one base model."""

    def __init__(
        self,
        arena: Arena,
        load: Callable[[str], nn.Module],
        device: torch.device,
        together: int = 64,
        guessed_tokens: int = GUESSED_TOKENS,
    ) -> None:
        """Start the generating thread. It calls `load` for the model of a checkpoint.

        At most `together` sequences run at once; more wait in order of arrival. At most `guessed_tokens` are
        guessed in one step.
        """
        self._arena, self._load, self._device = arena, load, device
        self._guessed_tokens = guessed_tokens
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
        logits = self._forward(self._load(checkpoint), row, complete)
        self.steps += 1
        for part in row.parts:
            assert part.job.slot is not None
            part.job.slot.filled += part.segment.count - len(part.guess)
            self.tokens_computed += part.segment.count
        self._draw(complete, logits)

    def _forward(self, model: nn.Module, row: Row, complete: Sequence[Part]) -> Tensor:
        """Run the model over a row; returns the logits [N, V] of the `last` tokens of complete parts."""
        tokens = row.tokens().long().to(self._device)
        last = torch.tensor([place for part in complete for place in part.last], dtype=torch.long)
        segments = [part.segment for part in row.parts]
        with self._threaded(len(tokens)), torch.inference_mode():
            logits: Tensor = model(
                input_ids=tokens[None],
                position_ids=row.positions().to(self._device)[None],
                use_cache=False,
                logits_to_keep=last.to(self._device),
                plan=CachedPlan(self._arena, segments, self._device),
            ).logits[0]
        return logits

    def _draw(self, complete: Sequence[Part], logits: Tensor) -> None:
        """Draw a token for each complete part, and go on with those whose guess was right so far."""
        starts = np.cumsum([0, *(len(part.last) for part in complete)])
        going, depth = list(zip(complete, starts.tolist(), strict=False)), 0
        while going:
            drawn = draw(
                logits[[start + depth for _, start in going]], [part.job.sampling for part, _ in going]
            )
            right = []
            for (part, start), token, logprob in zip(going, *drawn, strict=True):
                slot, goes_on = part.job.slot, self._write(part.job, token, logprob)
                if slot and goes_on and depth < len(part.guess) and token == part.guess[depth]:
                    slot.filled += 1
                    right.append((part, start))
            going, depth = right, depth + 1

    def _threaded(self, tokens: int) -> AbstractContextManager[None]:
        """Return the context of a step, in which as many threads work as was
        fastest for steps of this size.
        """
        magnitude = tokens.bit_length()
        if magnitude not in self._threads:
            self._threads[magnitude] = Threads(self._cores)
        return self._threads[magnitude].piece(tokens)

    def _plan(self, jobs: Sequence[Job]) -> Row:
        """Choose what this step computes: single tokens first, then tokens with a guess and stretches of prompts
        up to PREFILL_TOKENS.
        """
        todo = [(job, job.slot, job.length - job.slot.filled) for job in jobs if job.slot is not None]
        writing = sum(missing == 1 for _, _, missing in todo)
        # where single tokens share one call of the device, a guess would need one of its own
        guessed = 0 if self._arena.padded and writing > 1 else self._guessed_tokens // max(1, writing)
        wanted = []
        for job, slot, missing in todo:
            found = self._guess(job, guessed) if missing == 1 else NO_GUESS
            wanted.append((missing + len(found), job, slot, found))
        wanted.sort(key=lambda one: one[0] > 1)
        parts, start, room = list[Part](), 0, PREFILL_TOKENS
        for missing, job, slot, found in wanted:
            count = missing if missing == 1 or len(found) else min(missing, room)
            if count > 1 or missing == 1:  # one token of a longer stretch would stand behind the single ones
                parts.append(Part(job, Segment(slot.index, slot.filled, start, count), found))
                start += count
                room -= count if missing > 1 else 0
        return Row(parts)

    def _guess(self, job: Job, most: int) -> Tokens:
        most = min(most, LONGEST_GUESS, job.limit - len(job.written) - 1)  # behind the last token comes none
        return guess(job.tokens(), most) if most > 0 else NO_GUESS

    def _write(self, job: Job, token: int, logprob: float) -> bool:
        """Add a token; returns whether the job goes on."""
        job.written.append(token)
        job.logprobs.append(logprob)
        ended = token in job.end_tokens or (job.stop is not None and job.stop(job.written))
        if not ended and len(job.written) < job.limit:
            return True
        self._running[job.checkpoint].remove(job)
        self._leave(job, None, Written(job.written, job.logprobs, ended))
        return False

    def _leave(self, job: Job, failure: BaseException | None, result: Written | None = None) -> None:
        if job.slot is not None:
            self._arena.release(job.slot, job.tokens(), job.goes_on)
            job.slot = None
        try:
            if failure is not None:
                job.future.set_exception(failure)
            elif result is not None:
                job.future.set_result(result)
        except InvalidStateError:  # cancelled meanwhile: nobody waits
            return
