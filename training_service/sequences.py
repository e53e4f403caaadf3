"""From trajectory groups, as ART sends them, to token sequences with masks, advantages, weights and old
log-probabilities.

The tokens are those the choices carry (`prompt_token_ids`, `token_ids`), never rendered again. Turns whose
prompts extend each other become one sequence; a prompt that does not begin with everything before it starts a
new one. Only sampled tokens are trained on; prompts and tool results are masked. Advantages and weights
follow ART 0.5.18 (`preprocessing.tokenize`, `preprocessing.pack`): reward minus the group's mean, over its
standard deviation when rewards are scaled; each trajectory weighs the same however long it is; then both are
normalised over the batch, so the loss does not depend on the rewards' scale.

A group of one, or one whose rewards are all equal, trains nothing. A choice without token ids was not written
by this service: without log-probabilities too it is context, as in ART; with them, TrainingError says what to
do.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from training_service.engine import TrainingError

Json = Mapping[str, Any]

LARGEST_REWARD = 1e9
"""Of a larger one the differences within a group are rounding, and its square may be no number."""
FLAT = 1e-9
"""A standard deviation of rewards below this is rounding: the group is flat."""


@dataclass
class TokenSequence:
    """One row to train on. `sampled`, `old_logprobs` are per token; advantage and
    weight hold for all of it.
    """

    tokens: list[int] = field(default_factory=list)
    sampled: list[bool] = field(default_factory=list)
    old_logprobs: list[float] = field(default_factory=list)
    """NaN where nothing was sampled or nothing is known."""
    sampler_logprobs: list[float] | None = None
    """What the sampler said, once `old_logprobs` has been computed afresh."""
    advantage: float = 0.0
    weight: float = 0.0
    group: int = 0

    def append(self, tokens: Sequence[int], logprobs: Sequence[float] | None) -> None:
        """Add tokens: sampled ones with their log-probabilities, or with None a stretch that is only read."""
        self.tokens += tokens
        self.sampled += [logprobs is not None] * len(tokens)
        self.old_logprobs += logprobs if logprobs is not None else [math.nan] * len(tokens)

    @property
    def sampled_count(self) -> int:
        return sum(self.sampled)

    def scored_places(self) -> list[int]:
        """Return where sampled tokens stand. The first token has nothing before it and is never scored."""
        return [place for place, sampled in enumerate(self.sampled) if sampled and place]


@dataclass(frozen=True)
class Batch:
    """All sequences of a job, and what was left out."""

    sequences: list[TokenSequence]
    groups: int
    flat_groups: int


def batch_of(
    groups: Sequence[Json],
    scale_rewards: bool = True,
    advantage_balance: float = 0.0,
    without_logprobs: bool = True,
) -> Batch:
    """Tokens, advantages and weights of every trajectory that can teach something.

    With `without_logprobs` False a choice that has no log-probabilities is only read.

    Raises TrainingError for a foreign choice, for one without tokens, for log-probabilities that do
    not match the tokens, and for a reward that is not finite or beyond LARGEST_REWARD; names the
    group and the trajectory.
    """
    sequences: list[TokenSequence] = []
    flat = 0
    for number, group in enumerate(groups):
        trajectories = group["trajectories"]
        rewards = [float(trajectory.get("reward", 0.0)) for trajectory in trajectories]
        if not all(map(math.isfinite, rewards)):
            raise TrainingError(
                f"group {number}: a reward is not finite; drop that trajectory or fix its reward"
            )
        if (largest := max(map(abs, rewards), default=0.0)) > LARGEST_REWARD:
            raise TrainingError(
                f"group {number}: a reward of size {largest:g} is beyond {LARGEST_REWARD:g}; scale the rewards down"
            )
        advantages = _advantages(rewards, scale_rewards)
        flat += not any(advantages)
        for place, (trajectory, advantage) in enumerate(zip(trajectories, advantages, strict=True)):
            if advantage == 0:
                continue
            own = list(_of_trajectory(trajectory, without_logprobs, f"group {number}, trajectory {place}"))
            weight = 1 / (sum(sequence.sampled_count for sequence in own) + 1e-6)
            for sequence in own:
                sequence.advantage, sequence.weight, sequence.group = advantage, weight, number
            sequences += own
    _normalise(sequences, advantage_balance)
    return Batch(sequences, groups=len(groups), flat_groups=flat)


def _advantages(rewards: Sequence[float], scale: bool) -> list[float]:
    if not rewards:
        return []
    mean = sum(rewards) / len(rewards)
    deviation = math.sqrt(sum((reward - mean) ** 2 for reward in rewards) / len(rewards))
    if deviation < FLAT:
        return [0.0] * len(rewards)
    return [(reward - mean) / (deviation + 1e-6 if scale else 1) for reward in rewards]


def _normalise(sequences: Sequence[TokenSequence], balance: float) -> None:
    """Mean weight 1 over sampled tokens, then balance, then mean |advantage| x weight 1 over them; as ART's
    packing does.
    """
    count = sum(sequence.sampled_count for sequence in sequences)
    if not count:
        return
    mean_weight = sum(sequence.weight * sequence.sampled_count for sequence in sequences) / count
    for sequence in sequences:
        sequence.weight /= mean_weight
        if balance > 0 > sequence.advantage:
            sequence.advantage *= 1 - balance
        elif balance < 0 < sequence.advantage:
            sequence.advantage *= 1 + balance
    size = (
        sum(abs(sequence.advantage) * sequence.weight * sequence.sampled_count for sequence in sequences)
        / count
    )
    for sequence in sequences:
        sequence.advantage /= size or 1.0


def _of_trajectory(trajectory: Json, without_logprobs: bool, where: str) -> Iterator[TokenSequence]:
    histories = [trajectory.get("messages_and_choices") or []]
    histories += [
        history.get("messages_and_choices") or [] for history in trajectory.get("additional_histories") or []
    ]
    for entries in histories:
        sequence = TokenSequence()
        for entry in entries:
            if "message" not in entry or (turn := _turn(entry, where)) is None:
                continue
            prompt, tokens, logprobs = turn
            known = len(sequence.tokens)
            if prompt[:known] != sequence.tokens:
                yield sequence
                sequence, known = TokenSequence(), 0
            unscored = not without_logprobs and not (entry.get("logprobs") or {}).get("content")
            sequence.append(prompt[known:], None)
            sequence.append(tokens, None if unscored else logprobs)
        if sequence.tokens:
            yield sequence


def _turn(choice: Json, where: str) -> tuple[list[int], list[int], list[float]] | None:
    """Prompt, reply and log-probabilities of a choice; None for a foreign one that is only context."""
    prompt, tokens = choice.get("prompt_token_ids"), choice.get("token_ids")
    content = (choice.get("logprobs") or {}).get("content")
    if prompt is None or tokens is None:
        if content is None:
            return None
        raise TrainingError(
            f"{where}: a choice has log-probabilities but no token_ids and prompt_token_ids, so this service did not write it; "
            "sample it from this service, or put its message into the trajectory instead of the choice"
        )
    if not tokens:
        raise TrainingError(
            f"{where}: token_ids of a choice is empty, so it trains nothing; drop that choice"
        )
    if content is None:
        return list(prompt), list(tokens), [math.nan] * len(tokens)
    if len(content) != len(tokens):
        raise TrainingError(
            f"{where}: a choice has {len(tokens)} token_ids but {len(content)} log-probabilities; send choices unchanged"
        )
    return list(prompt), list(tokens), [float(entry["logprob"]) for entry in content]
