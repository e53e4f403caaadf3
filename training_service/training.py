"""One training job: sequences in, gradient steps on a private copy of the model, metrics out.

A job's sequences are shuffled whole into `gradient_steps` parts; each part is one AdamW step. Within a step,
sequences are packed into micro-batches without padding and their losses add up to exactly the step's loss.
Log-probabilities are needed of sampled tokens only, so the output layer runs on those positions and nowhere
else.

A loss or gradient that is not finite raises TrainingError; nothing was written, the checkpoint before is
untouched. Not here: what the loss is (`loss`), tokens and advantages (`sequences`), folders (`checkpoints`).
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import AdamW

from training_service.engine import TrainingError
from training_service.loss import LossConfig, LossSums, loss_sums
from training_service.precision import Precision, arithmetic
from training_service.prefix_tree import Places, TokenTree, TreePlan, common_prefix
from training_service.sequences import TokenSequence

LOGITS_AT_ONCE = 1 << 28
"""Logits (sampled tokens x vocabulary) of one micro-batch, at most: 1 GiB in float32."""
READS_PER_TOKEN = 8
"""Tokens whose keys and values a sequence reads that cost as much as one token computed."""


@dataclass(frozen=True)
class TrainingOptions:
    """How this service trains; not sent by clients, whose knobs are `LossConfig` and the learning rate."""

    learning_rate: float = 2e-4
    """Used when the job names none."""
    gradient_steps: int = 1
    """Optimizer steps per job; each takes an equal share of the sequences."""
    micro_batch_tokens: int = 4096
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    threads: int = field(default_factory=torch.get_num_threads)
    """Cores a job uses. Set again before each forward, since generation, on its own thread, sets them for its
    small steps.
    """
    precision: Precision = "float32"
    """bfloat16 runs the training forward under autocast: faster on CPUs with bf16 arithmetic,
    log-probabilities less exact.
    """


@dataclass(frozen=True)
class JobConfig:
    """What a job asks for: `wire.TrainingConfig`, sorted."""

    learning_rate: float
    scale_rewards: bool
    advantage_balance: float
    precalculate_logprobs: bool
    allow_training_without_logprobs: bool
    num_trajectories_learning_rate_multiplier_power: float
    packed_sequence_length: int | None
    loss: LossConfig

    @classmethod
    def of(cls, config: Mapping[str, Any], options: TrainingOptions) -> JobConfig:
        """Sort the keys that were set. Raises TrainingError for an unknown one."""
        names = {field.name for field in fields(LossConfig)}
        own = {field.name for field in fields(cls)} - {"loss"}
        if unknown := sorted(set(config) - names - own):
            raise TrainingError(f"training option {unknown[0]!r} is not known here; leave it out")
        return cls(
            learning_rate=float(config.get("learning_rate", options.learning_rate)),
            scale_rewards=bool(config.get("scale_rewards", True)),
            advantage_balance=float(config.get("advantage_balance", 0.0)),
            precalculate_logprobs=bool(config.get("precalculate_logprobs", False)),
            allow_training_without_logprobs=bool(config.get("allow_training_without_logprobs", True)),
            num_trajectories_learning_rate_multiplier_power=float(
                config.get("num_trajectories_learning_rate_multiplier_power", 0.0)
            ),
            packed_sequence_length=config.get("packed_sequence_length"),
            loss=LossConfig(**{name: config[name] for name in names if name in config}),
        )


@dataclass(frozen=True)
class Scored:
    """Log-probability and entropy of each sampled token of a micro-batch, in order, `[N]`."""

    logprobs: Tensor
    entropies: Tensor


def make_optimizer(model: nn.Module, learning_rate: float, options: TrainingOptions) -> AdamW:
    """AdamW over what is trainable."""
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return AdamW(trainable, lr=learning_rate, betas=options.betas, weight_decay=options.weight_decay)


def score(
    model: nn.Module, sequences: Sequence[TokenSequence], device: torch.device, precision: Precision
) -> Scored:
    """Score every sampled token of the sequences in order.

    The first token of a sequence has nothing before it and is never scored.
    """
    tree = TokenTree([np.array(sequence.tokens, np.int32) for sequence in sequences])
    reads, writes, which = _targets(tree, sequences)
    with arithmetic(precision, device):
        logits = model(
            input_ids=torch.from_numpy(tree.tokens).long().to(device)[None],
            position_ids=torch.from_numpy(tree.positions).to(device)[None],
            use_cache=False,
            logits_to_keep=torch.from_numpy(reads).to(device),
            plan=TreePlan(tree, device),
        ).logits[0]
    every = logits.float().log_softmax(-1)
    with torch.no_grad():
        entropies = -(every.exp() * every).sum(-1)
    written = torch.from_numpy(tree.tokens[writes]).long().to(device)
    order = torch.from_numpy(which).to(device)
    return Scored(every.gather(-1, written[:, None])[:, 0][order], entropies[order])


def _targets(tree: TokenTree, sequences: Sequence[TokenSequence]) -> tuple[Places, Places, Places]:
    """Find where logits are needed: the places that read, the places of the tokens that follow them, and
    which of these each sampled token of the sequences is.
    """
    reads, writes = [], []
    for sequence, path in zip(sequences, tree.paths, strict=True):
        sampled = np.flatnonzero(sequence.sampled[1:])
        reads.append(path[sampled])
        writes.append(path[sampled + 1])
    places, first, which = np.unique(np.concatenate(writes), return_index=True, return_inverse=True)
    return np.concatenate(reads)[first], places, which


def train_sequences(
    model: nn.Module,
    optimizer: AdamW,
    sequences: Sequence[TokenSequence],
    job: JobConfig,
    options: TrainingOptions,
    device: torch.device,
    report: Callable[[Mapping[str, float]], None],
    cancelled: Callable[[], bool],
    *,
    seed: int = 0,
    base: nn.Module | None = None,
) -> list[dict[str, float]]:
    """Take the job's gradient steps; the metrics of each. `base` is the reference of the KL penalty.

    Raises TrainingError when it is cancelled or something is not finite.
    """
    _check_fits(model, sequences)
    if job.precalculate_logprobs:
        _recompute_old(model, sequences, job, options, device)
    history = []
    for part in _parts(sequences, options.gradient_steps, seed):
        if cancelled():
            raise TrainingError("the job was cancelled before it finished; submit it again")
        metrics = _gradient_step(model, optimizer, part, job, options, device, base)
        report(metrics)
        history.append(metrics)
    return history


def planned_steps(sequences: Sequence[TokenSequence], options: TrainingOptions) -> int:
    """How many gradient steps a job on these sequences takes."""
    return min(options.gradient_steps, len(sequences))


def _parts(sequences: Sequence[TokenSequence], steps: int, seed: int) -> Iterator[list[TokenSequence]]:
    order = list(sequences)
    random.Random(seed).shuffle(order)
    count = min(steps, len(order))
    for part in range(count):
        yield order[part::count]


def _micro_batches(
    sequences: Sequence[TokenSequence], limit: int, vocabulary: int
) -> Iterator[list[TokenSequence]]:
    """Yield sequences that begin alike side by side, up to `limit` in cost and LOGITS_AT_ONCE in logits.

    The cost of a sequence is its tokens beyond the beginning it shares with the one before it, and a part of
    its whole length for the keys and values it reads. A sequence above the limit goes alone.
    """
    batch: list[TokenSequence] = []
    before, cost, sampled = np.empty(0, np.int32), 0, 0
    for sequence in sorted(sequences, key=lambda entry: entry.tokens):
        own = np.array(sequence.tokens, np.int32)
        read = len(own) // READS_PER_TOKEN
        cost += len(own) - common_prefix(before, own) + read
        sampled += sequence.sampled_count
        if batch and (cost > limit or sampled * vocabulary > LOGITS_AT_ONCE):
            yield batch
            batch, cost, sampled = [], len(own) + read, sequence.sampled_count
        batch.append(sequence)
        before = own
    if batch:
        yield batch


def _gradient_step(
    model: nn.Module,
    optimizer: AdamW,
    part: Sequence[TokenSequence],
    job: JobConfig,
    options: TrainingOptions,
    device: torch.device,
    base: nn.Module | None,
) -> dict[str, float]:
    started = time.perf_counter()
    tokens, sampled = (
        sum(len(sequence.tokens) for sequence in part),
        sum(sequence.sampled_count for sequence in part),
    )
    sums: list[LossSums] = []
    entropy = 0.0
    optimizer.zero_grad(set_to_none=True)
    for batch in _micro_batches(part, _tokens_at_once(job, options), _vocabulary(model)):
        torch.set_num_threads(options.threads)
        scored = score(model, batch, device, options.precision)
        with torch.no_grad():
            reference = score(base, batch, device, options.precision).logprobs if base is not None else None
        part_sums = loss_sums(scored.logprobs, **_columns(batch, device), config=job.loss, base=reference)
        (part_sums.policy / sampled).backward()  # type: ignore[no-untyped-call]
        sums.append(part_sums)
        entropy += float(scored.entropies.sum())
    loss = sum(float(entry.policy.detach()) for entry in sums) / sampled
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    norm = float(nn.utils.clip_grad_norm_(trainable, options.max_grad_norm))
    if not (math.isfinite(loss) and math.isfinite(norm)):
        what = "gradient" if math.isfinite(loss) else "loss"
        raise TrainingError(
            f"the {what} is not finite; the model was left as it was: lower the learning rate"
        )
    learning_rate = job.learning_rate * len(part) ** job.num_trajectories_learning_rate_multiplier_power
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
    optimizer.step()
    seconds = time.perf_counter() - started
    return {
        "loss": loss,
        "grad_norm": norm,
        "learning_rate": learning_rate,
        "entropy": entropy / sampled,
        "kl_div": sum(entry.kl for entry in sums) / sampled,
        "logprob_drift": sum(entry.drift for entry in sums) / sampled,
        "clipped_fraction": sum(entry.clipped for entry in sums) / sampled,
        "num_datums": float(len(part)),
        "num_tokens": float(tokens),
        "num_trainable_tokens": float(sampled),
        "tokens_per_second": tokens / seconds,
        "gradient_seconds": seconds,
    } | ({"kl_policy_ref": sum(entry.kl_to_base for entry in sums) / sampled} if base is not None else {})


def _columns(batch: Sequence[TokenSequence], device: torch.device) -> dict[str, Tensor]:
    """Per sampled token, each `[N]`: old and sampler's log-probability, advantage, weight, sequence number."""
    rows = [
        (old, sampler, sequence.advantage, sequence.weight, number)
        for number, sequence in enumerate(batch)
        for place, (old, sampler, sampled) in enumerate(
            zip(
                sequence.old_logprobs,
                sequence.sampler_logprobs or sequence.old_logprobs,
                sequence.sampled,
                strict=True,
            )
        )
        if sampled and place
    ]
    old, sampler, advantages, weights, numbers = zip(*rows, strict=True)
    return {
        "sampler": torch.tensor(sampler, dtype=torch.float32, device=device),
        "old": torch.tensor(old, dtype=torch.float32, device=device),
        "advantages": torch.tensor(advantages, dtype=torch.float32, device=device),
        "weights": torch.tensor(weights, dtype=torch.float32, device=device),
        "sequence": torch.tensor(numbers, device=device),
    }


def _tokens_at_once(job: JobConfig, options: TrainingOptions) -> int:
    return job.packed_sequence_length or options.micro_batch_tokens


def _recompute_old(
    model: nn.Module,
    sequences: Sequence[TokenSequence],
    job: JobConfig,
    options: TrainingOptions,
    device: torch.device,
) -> None:
    """Replace the sampler's log-probabilities by those of the training forward before the first step."""
    for batch in _micro_batches(sequences, _tokens_at_once(job, options), _vocabulary(model)):
        with torch.no_grad():
            fresh = iter(score(model, batch, device, options.precision).logprobs.tolist())
        for sequence in batch:
            sequence.sampler_logprobs = list(sequence.old_logprobs)
            for place, sampled in enumerate(sequence.sampled):
                if sampled and place:
                    sequence.old_logprobs[place] = next(fresh)


def _check_fits(model: nn.Module, sequences: Sequence[TokenSequence]) -> None:
    vocabulary, context = _vocabulary(model), int(model.config.max_position_embeddings)  # type: ignore[union-attr, arg-type]
    for sequence in sequences:
        if len(sequence.tokens) > context:
            raise TrainingError(
                f"a trajectory has {len(sequence.tokens)} tokens, the model's context is {context}; shorten it"
            )
        if min(sequence.tokens) < 0 or max(sequence.tokens) >= vocabulary:
            raise TrainingError(
                "a trajectory has token_ids outside the model's vocabulary; another model sampled it"
            )


def _vocabulary(model: nn.Module) -> int:
    return int(model.config.vocab_size)  # type: ignore[union-attr, arg-type]
