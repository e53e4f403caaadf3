"""One training job: sequences in, gradient steps on a private copy of the model, metrics out.

A job's sequences are shuffled whole into `gradient_steps` parts; each part is one AdamW step. Within a step
the losses of micro-batches add up to exactly the step's loss.

A loss or gradient that is not finite raises TrainingError; nothing was written, the checkpoint before is
untouched. Not here: the forward pass (`scoring`), what the loss is (`loss`), tokens and advantages
(`sequences`), folders (`checkpoints`).
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW

from training_service.engine import TrainingError
from training_service.loss import LossConfig, LossSums, loss_sums
from training_service.precision import Precision
from training_service.scoring import Scored, micro_batches, score
from training_service.sequences import TokenSequence
from training_service.side_by_side import add_gradients, in_lanes


@dataclass(frozen=True)
class TrainingOptions:
    """How this service trains; not sent by clients, whose knobs are `LossConfig` and the learning rate."""

    learning_rate: float = 2e-4
    """Used when the job names none."""
    gradient_steps: int = 1
    """Optimizer steps per job; each takes an equal share of the sequences."""
    micro_batch_tokens: int = 1536
    """Bounds the memory of a step: about 200 KB for each with tiny-investigator."""
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    precision: Precision = "float32"
    """What the forward of training computes in; weights and optimizer are float32 either way."""


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

    def rate(self, trajectories: int) -> float:
        """Return the learning rate of a step on so many trajectories."""
        power = self.num_trajectories_learning_rate_multiplier_power
        return self.learning_rate * float(trajectories**power)


def make_optimizer(model: nn.Module, learning_rate: float, options: TrainingOptions) -> AdamW:
    """Make an AdamW over what is trainable."""
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return AdamW(trainable, lr=learning_rate, betas=options.betas, weight_decay=options.weight_decay)


def planned_steps(sequences: Sequence[TokenSequence], options: TrainingOptions) -> int:
    """Return how many gradient steps a job on these sequences takes."""
    return min(options.gradient_steps, len(sequences))


@dataclass
class Trainer:
    """One job under way: the private model it trains, and how."""

    model: nn.Module
    optimizer: AdamW
    job: JobConfig
    options: TrainingOptions
    device: torch.device
    base: nn.Module | None = None
    """The reference of the KL penalty."""

    def train(
        self,
        sequences: Sequence[TokenSequence],
        report: Callable[[Mapping[str, float]], None],
        cancelled: Callable[[], bool],
        seed: int = 0,
    ) -> list[dict[str, float]]:
        """Take the job's gradient steps and return the metrics of each.

        `seed` shuffles the sequences into steps. Raises TrainingError when the job is cancelled, when tokens
        do not fit the model, and when something is not finite.
        """
        _check_fits(self.model, sequences)
        if self.job.precalculate_logprobs:
            self._recompute_old(sequences)
        history = []
        for part in _parts(sequences, self.options.gradient_steps, seed):
            if cancelled():
                raise TrainingError("the job was cancelled before it finished; submit it again")
            metrics = self._step(part)
            report(metrics)
            history.append(metrics)
        return history

    def _step(self, part: Sequence[TokenSequence]) -> dict[str, float]:
        """Take one gradient step and return its metrics."""
        started = time.perf_counter()
        sampled = sum(sequence.sampled_count for sequence in part)
        self.optimizer.zero_grad(set_to_none=True)
        batches = list(self._batches(part))
        passes = add_gradients(self.model.parameters(), batches, lambda batch: self._pass(batch, sampled))
        loss = sum(float(sums.policy) for sums, _ in passes) / sampled
        norm = self._clip(loss)
        learning_rate = self.job.rate(len(part))
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.optimizer.step()
        means = _means(passes, sampled)
        if self.base is None:
            del means["kl_policy_ref"]
        tokens, seconds = sum(len(sequence.tokens) for sequence in part), time.perf_counter() - started
        return means | {
            "loss": loss,
            "grad_norm": norm,
            "learning_rate": learning_rate,
            "num_datums": float(len(part)),
            "num_tokens": float(tokens),
            "num_trainable_tokens": float(sampled),
            "tokens_per_second": tokens / seconds,
            "gradient_seconds": seconds,
        }

    def _pass(self, batch: Sequence[TokenSequence], sampled: int) -> tuple[Tensor, tuple[LossSums, float]]:
        """Run a micro-batch forward; returns its loss, its sums, and the sum of its entropies.

        `sampled` is the number of sampled tokens of the whole step, so that micro-batches add up.
        """
        scored = self._score(self.model, batch)
        with torch.no_grad():
            reference = None if self.base is None else self._score(self.base, batch).logprobs
        columns = _columns(batch, self.device)
        sums = loss_sums(scored.logprobs, **columns, config=self.job.loss, base=reference)
        seen = replace(sums, policy=sums.policy.detach()), float(scored.entropies.sum())
        return sums.policy / sampled, seen

    def _score(self, model: nn.Module, batch: Sequence[TokenSequence]) -> Scored:
        return score(model, batch, self.device, self.options.precision)

    def _batches(self, sequences: Sequence[TokenSequence]) -> Iterator[list[TokenSequence]]:
        limit = self.job.packed_sequence_length or self.options.micro_batch_tokens
        return micro_batches(sequences, limit, _vocabulary(self.model))

    def _clip(self, loss: float) -> float:
        """Clip the gradient and return its norm. Raises TrainingError when loss or norm is not finite."""
        trainable = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        norm = float(nn.utils.clip_grad_norm_(trainable, self.options.max_grad_norm))
        if not (math.isfinite(loss) and math.isfinite(norm)):
            what = "gradient" if math.isfinite(loss) else "loss"
            raise TrainingError(
                f"the {what} is not finite; the model was left as it was: lower the learning rate"
            )
        return norm

    def _recompute_old(self, sequences: Sequence[TokenSequence]) -> None:
        """Replace the sampler's log-probabilities by those of the training forward before the first step."""

        def read(batch: Sequence[TokenSequence]) -> list[float]:
            with torch.no_grad():
                logprobs: list[float] = self._score(self.model, batch).logprobs.tolist()
            return logprobs

        batches = list(self._batches(sequences))
        for batch, logprobs in zip(batches, in_lanes(self.model.parameters(), batches, read), strict=True):
            fresh = iter(logprobs)
            for sequence in batch:
                sequence.sampler_logprobs = list(sequence.old_logprobs)
                for place in sequence.scored_places():
                    sequence.old_logprobs[place] = next(fresh)


def _means(passes: Sequence[tuple[LossSums, float]], sampled: int) -> dict[str, float]:
    """Average what was summed over the sampled tokens of a step."""
    return {
        "entropy": sum(entropy for _, entropy in passes) / sampled,
        "kl_div": sum(sums.kl for sums, _ in passes) / sampled,
        "logprob_drift": sum(sums.drift for sums, _ in passes) / sampled,
        "clipped_fraction": sum(sums.clipped for sums, _ in passes) / sampled,
        "kl_policy_ref": sum(sums.kl_to_base for sums, _ in passes) / sampled,
    }


def _parts(sequences: Sequence[TokenSequence], steps: int, seed: int) -> Iterator[list[TokenSequence]]:
    order = list(sequences)
    random.Random(seed).shuffle(order)
    count = min(steps, len(order))
    for part in range(count):
        yield order[part::count]


def _columns(batch: Sequence[TokenSequence], device: torch.device) -> dict[str, Tensor]:
    """Per sampled token, each `[N]`: old and sampler's log-probability,
    advantage, weight, sequence number.
    """
    columns: dict[str, list[float]] = {name: [] for name in ("old", "sampler", "advantages", "weights")}
    numbers: list[int] = []
    for number, sequence in enumerate(batch):
        sampler = sequence.sampler_logprobs or sequence.old_logprobs
        places = sequence.scored_places()
        columns["old"] += [sequence.old_logprobs[place] for place in places]
        columns["sampler"] += [sampler[place] for place in places]
        columns["advantages"] += [sequence.advantage] * len(places)
        columns["weights"] += [sequence.weight] * len(places)
        numbers += [number] * len(places)
    tensors = {
        name: torch.tensor(values, dtype=torch.float32, device=device) for name, values in columns.items()
    }
    return tensors | {"sequence": torch.tensor(numbers, device=device)}


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
