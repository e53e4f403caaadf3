"""The engine: base models, their checkpoints, batched replies and training, behind `engine.Engine`.

Replies: the request becomes tokens (`chat_format`, on a thread of its own), joins the batch of its base model
(`generation`), and becomes an OpenAI choice with the exact tokens. Jobs: a private copy of the checkpoint's
model is trained on the job's thread while the batch goes on. A few checkpoints per base model are kept
loaded; the least recently used one goes first.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from training_service.base_models import Base, locate, pick_device
from training_service.chat_format import Prompt
from training_service.checkpoints import (
    Kind,
    load_optimizer,
    read_state,
    save_optimizer,
    write_state,
)
from training_service.engine import Cancelled, Engine, Report, RequestError, TrainingError, TrainResult
from training_service.fit_jobs import FitJob
from training_service.generation import Generator, Job, Stop, Written
from training_service.kv_cache import Arena, shape_of
from training_service.lazy_memory import trim_heap
from training_service.precision import Asked, Chosen, choose
from training_service.sampling import Sampling
from training_service.sequences import batch_of
from training_service.training import JobConfig, Trainer, TrainingOptions, make_optimizer, planned_steps
from training_service.wire import ChatRequest, JobKind, NamedToolChoice

log = logging.getLogger(__name__)
LONGEST_CONTEXT = 16 << 10
"""Tokens of a sequence where --max-context says nothing and the model could read more."""
NO_TOOLS = (
    "this model's chat template knows no tools, so the model would never see them; send calls as text "
    "(--call-format text), or put a chat_template.jinja that renders tools into the model's folder"
)


def cache_bytes() -> int:
    """Return what keys and values of one base model may take: an eighth of the memory, 3 GiB at most."""
    return min(3 << 30, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 8)


@dataclass(frozen=True)
class EngineOptions:
    """Limits of one engine."""

    concurrent_sequences: int = 64
    """Sequences decoded together; more wait their turn."""
    kept_sequences: int = 64
    """Further sequences whose keys and values are kept for their next turn."""
    cache_bytes: int = field(default_factory=cache_bytes)
    """Upper bound of the keys and values of one base model."""
    cache_tokens: int = 64 << 10
    """Tokens whose keys and values are kept at most: 64 conversations of 1024, half a
    gigabyte of the small model's.

    Twice as many took twice the memory and made a training step no faster.
    """
    max_context: int | None = None
    """Tokens of one sequence at most. None: the model's context, LONGEST_CONTEXT at most."""
    loaded_checkpoints: int = 4
    training: TrainingOptions = field(default_factory=TrainingOptions)


class _Served:
    """A base model with its batch."""

    def __init__(self, base: Base, options: EngineOptions) -> None:
        self.base, self._limit = base, options.loaded_checkpoints
        self._precision = options.training.precision
        self._loaded: OrderedDict[str, nn.Module] = OrderedDict()
        self.arena = _arena(base, options)
        self.generator = Generator(self.arena, self._load, base.device, options.concurrent_sequences)
        log.info("%s: %s", base.name, self.capacity_words())
        self.text = ThreadPoolExecutor(max_workers=1, thread_name_prefix="text")

    @property
    def context(self) -> int:
        """Return how many tokens one sequence may have."""
        return self.arena.capacity

    def capacity_words(self) -> str:
        """Say how many sequences run at once, and how long they may be."""
        return (
            f"{self.generator.together} sequences at once, {self.context} tokens each at most, keys and values "
            f"of {self.arena.most_tokens} tokens are kept"
        )

    def _load(self, checkpoint: str) -> nn.Module:
        """Called on the generating thread only."""
        if checkpoint not in self._loaded:
            policy = self.base.policy(Path(checkpoint))
            self._loaded[checkpoint] = self.base.for_generating(policy, self._precision)
            while len(self._loaded) > self._limit:
                oldest, _ = self._loaded.popitem(last=False)
                self.arena.forget(oldest)
        self._loaded.move_to_end(checkpoint)
        return self._loaded[checkpoint]

    def close(self) -> None:
        self.generator.close()
        self.text.shutdown()


def _arena(base: Base, options: EngineOptions) -> Arena:
    """Reserve keys and values for the sequences of one base model, within the limits of the options."""
    config, dtype = base.model.config, base.model.dtype
    token_bytes = 2 * math.prod(shape_of(config)) * dtype.itemsize
    slots = options.concurrent_sequences + options.kept_sequences
    context = min(base.context, options.max_context or LONGEST_CONTEXT)
    if base.device.type != "cpu":  # there a slot takes its memory at once
        slots = max(1, min(slots, options.cache_bytes // (token_bytes * context)))
    room = min(options.cache_tokens, options.cache_bytes // token_bytes)
    most_tokens = min(slots * context, max(context, room))
    return Arena(config, slots, context, dtype, base.device, most_tokens=most_tokens)


class LocalEngine:
    """`engine.Engine` on this machine's CPU or GPU."""

    def __init__(
        self, bases: Sequence[Base], options: EngineOptions | None = None, chosen: Chosen | None = None
    ) -> None:
        """`chosen` says how the arithmetic in `options` was picked."""
        self.options = options or EngineOptions()
        self._chosen = chosen
        self._served = {base.name: _Served(base, self.options) for base in bases}

    def base_models(self) -> Sequence[str]:
        return list(self._served)

    def settings(self) -> Mapping[str, Any]:
        """Return the arithmetic of training and the figures behind the choice."""
        measured = self._chosen.as_json() if self._chosen else {}
        serving = {name: served.capacity_words() for name, served in self._served.items()}
        return measured | {"precision": self.options.training.precision, "serving": serving}

    def create(self, base_model: str, folder: Path) -> None:
        """Write the marker of step 0: the base model itself."""
        if base_model not in self._served:
            known = ", ".join(self._served)
            raise RequestError(
                404,
                f"base model {base_model!r} is not served here; choose one of: {known}",
                "model_not_found",
            )
        write_state(folder, self._served[base_model].base.state())

    def job_bytes(self, checkpoint: Path) -> int:
        """Return what a checkpoint with its optimizer takes: the weights that are trained and two moments."""
        state = read_state(checkpoint)
        served = self._served.get(state.base_model)
        return 0 if served is None else 3 * 4 * served.base.trained_parameters(_kind(served.base, state.kind))

    def close(self) -> None:
        for served in self._served.values():
            served.close()

    # --------------------------------------------------------------------------------------------------------
    # replies

    async def complete(self, checkpoint: Path, request: ChatRequest) -> dict[str, Any]:
        """Write `n` replies. See `engine.Engine.complete`."""
        loop = asyncio.get_running_loop()
        served = self._of(checkpoint)
        prompt = await loop.run_in_executor(served.text, _prompt, served, request)
        room = served.context - len(prompt.tokens)
        if room < 1:
            raise RequestError(
                400,
                f"the prompt has {len(prompt.tokens)} tokens, the context of {served.base.name} is {served.context} "
                f"({served.base.context} of the model itself); shorten the conversation, or restart with --max-context",
                code="context_length_exceeded",
            )
        jobs = [
            Job(
                checkpoint=str(checkpoint),
                prompt=np.array(prompt.tokens, dtype=np.int32),
                limit=min(room, request.max_completion_tokens or room),
                sampling=Sampling.seeded(request.temperature, request.top_p, request.seed, index),
                end_tokens=served.base.chat.end_tokens,
                stop=_stop(served, request.stop),
                goes_on=_goes_on(request),
            )
            for index in range(request.n)
        ]
        futures = [asyncio.wrap_future(served.generator.submit(job)) for job in jobs]
        try:
            written = await asyncio.gather(*futures)
        except FloatingPointError as trouble:
            raise RequestError(500, str(trouble), code="checkpoint_diverged") from trouble
        finally:
            for future in futures:
                future.cancel()
        return await loop.run_in_executor(served.text, _completion, served, request, prompt, written)

    def _of(self, checkpoint: Path) -> _Served:
        state = read_state(checkpoint)
        if state.base_model not in self._served:
            raise RequestError(
                404,
                f"this model's base {state.base_model!r} is not loaded; restart the service with it as a base model",
                code="model_not_found",
            )
        return self._served[state.base_model]

    # --------------------------------------------------------------------------------------------------------
    # training

    def train(
        self,
        source: Path,
        target: Path,
        rows: list[dict[str, Any]],
        config: dict[str, Any],
        report: Report,
        cancelled: Cancelled,
        kind: JobKind = "grpo",
    ) -> TrainResult:
        """Run one job. See `engine.Engine.train`.

        `num_sequences` is the number of gradient steps to come: that is what ART's client counts against it.
        """
        try:
            return self._job(source, target, rows, config, report, cancelled, kind)
        finally:
            trim_heap()

    def _job(
        self,
        source: Path,
        target: Path,
        rows: list[dict[str, Any]],
        config: dict[str, Any],
        report: Report,
        cancelled: Cancelled,
        kind: JobKind,
    ) -> TrainResult:
        if kind == "grpo":
            return self._grpo(source, target, rows, config, report, cancelled)
        try:
            base, state = self._of(source).base, read_state(source)
            job = FitJob(base, source, kind, self.options.training.precision)
            history = job.run(rows, config, report, cancelled) if rows else []
        except RequestError as trouble:
            raise TrainingError(trouble.message) from trouble
        if not history:
            return TrainResult(0)
        job.save(target, state.optimizer_steps + len(history))
        return TrainResult(len(history), _mean(history))

    def _grpo(
        self,
        source: Path,
        target: Path,
        groups: list[dict[str, Any]],
        config: dict[str, Any],
        report: Report,
        cancelled: Cancelled,
    ) -> TrainResult:
        try:
            served, state = self._of(source), read_state(source)
            base = served.base
            job = JobConfig.of(config, self.options.training)
            batch = batch_of(
                groups, job.scale_rewards, job.advantage_balance, job.allow_training_without_logprobs
            )
            steps = planned_steps(batch.sequences, self.options.training)
            report({"num_sequences": steps})
            left_out = {"groups": float(batch.groups), "flat_groups": float(batch.flat_groups)}
            if not steps:
                return TrainResult(0, left_out)
            served.generator.let_go()
            trainer = self._trainer(base, base.trainee(source), job)
        except RequestError as trouble:
            raise TrainingError(trouble.message) from trouble
        load_optimizer(trainer.model, trainer.optimizer, source, state.optimizer_steps)
        history = trainer.train(batch.sequences, report, cancelled, seed=state.optimizer_steps)
        base.save(trainer.model, target, state.optimizer_steps + steps)
        save_optimizer(trainer.model, trainer.optimizer, target)
        return TrainResult(steps, _mean(history) | left_out)

    def _trainer(self, base: Base, model: nn.Module, job: JobConfig) -> Trainer:
        """Put together what one job needs."""
        options = self.options.training
        optimizer = make_optimizer(model, job.learning_rate, options)
        reference = base.model if job.loss.kl_penalty_coef > 0 else None
        return Trainer(model, optimizer, job, options, base.device, reference)


def open_engine(
    base_models: Sequence[str],
    device: str,
    precision: Asked = "auto",
    gradient_steps: int = 1,
    max_context: int | None = None,
) -> Engine:
    """The engine of the command line: `engine.OpenEngine`. Raises ConfigurationError for a model or device
    that is not there.
    """
    place, folders = pick_device(device), locate(base_models)
    chosen = choose(precision, place)
    training = TrainingOptions(precision=chosen.precision, gradient_steps=gradient_steps)
    bases = [Base(name, folder, place) for name, folder in folders.items()]
    return LocalEngine(bases, EngineOptions(training=training, max_context=max_context), chosen)


def _kind(base: Base, before: Kind) -> Kind:
    """Return what a job writes: what its checkpoint was, or what the base model is trained through."""
    if before != "base":
        return before
    return "lora" if base.lora else "full"


def _goes_on(request: ChatRequest) -> bool:
    """Whether another turn is likely: there are tools to call, or turns were taken before."""
    return bool(request.tools) or any(message["role"] == "assistant" for message in request.messages)


def _mean(history: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: math.fsum(map(itemgetter(name), history)) / len(history) for name in history[0]}


def _prompt(served: _Served, request: ChatRequest) -> Prompt:
    named = request.tool_choice.function.name if isinstance(request.tool_choice, NamedToolChoice) else None
    required = named is not None or request.tool_choice == "required"
    if request.tools and request.tool_choice == "auto" and not served.base.chat.knows_tools:
        raise RequestError(400, NO_TOOLS, "tools_not_supported")
    return served.base.chat.prompt(request.messages, request.tools, required=required, name=named)


def _stop(served: _Served, strings: Sequence[str]) -> Stop | None:
    if not strings:
        return None
    return lambda tokens: any(string in served.base.chat.text(tokens) for string in strings)


def _completion(
    served: _Served, request: ChatRequest, prompt: Prompt, written: Sequence[Written]
) -> dict[str, Any]:
    choices = [_choice(served, request, prompt, index, reply) for index, reply in enumerate(written)]
    completion = sum(len(reply.tokens) for reply in written)
    usage = {
        "prompt_tokens": len(prompt.tokens),
        "completion_tokens": completion,
        "total_tokens": len(prompt.tokens) + completion,
    }
    return {"choices": choices, "usage": usage}


def _choice(
    served: _Served, request: ChatRequest, prompt: Prompt, index: int, reply: Written
) -> dict[str, Any]:
    chat = served.base.chat
    text = prompt.forced + chat.text(reply.tokens)
    # a stop string that stands in the forced opening of a call was not written by the model
    places = (text.find(string, len(prompt.forced)) for string in request.stop)
    cut = min((place for place in places if place >= 0), default=len(text))
    message = chat.message(text[:cut], with_calls=bool(request.tools) and request.tool_choice != "none")
    chat.remember(prompt, message, reply.tokens)
    ended = "tool_calls" if message.get("tool_calls") else "stop"
    finish = ended if reply.ended else "length"
    content = []
    for token, logprob in zip(reply.tokens, reply.logprobs, strict=True):
        name = chat.token_name(token)
        raw = None if "\ufffd" in name else list(name.encode())
        content.append({"token": name, "logprob": logprob, "bytes": raw, "top_logprobs": []})
    return {
        "index": index,
        "finish_reason": finish,
        "message": message | {"refusal": None},
        "logprobs": {"content": content, "refusal": None},
        "prompt_token_ids": list(prompt.tokens),
        "token_ids": reply.tokens,
    }
