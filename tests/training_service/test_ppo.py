"""PPO: advantages by hand, a controller that aims, and a toy whose best answer is known."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from training_service.base_models import Base
from training_service.examples import answer
from training_service.heads import ScalarModel
from training_service.ppo import (
    Controller,
    PpoOptions,
    Rollout,
    advantages,
    estimates,
    loss,
    token_rewards,
    update,
    whitened,
)
from training_service.scoring import score
from training_service.sequences import TokenSequence
from training_service.training import JobConfig, Trainer, TrainingOptions

CPU = torch.device("cpu")
ASK = {"role": "user", "content": "checkout is failing"}


def test_without_decay_the_advantage_is_one_step_and_with_all_of_it_the_whole_return() -> None:
    rewards, values = [0.0, 0.0, 1.0], [0.5, 0.25, 0.125]
    one_step, _ = advantages(rewards, values, decay=0.0)
    assert one_step == pytest.approx([0.25 - 0.5, 0.125 - 0.25, 1 - 0.125])
    whole, returns = advantages(rewards, values, decay=1.0)
    assert whole == pytest.approx([1 - 0.5, 1 - 0.25, 1 - 0.125])
    assert returns == pytest.approx([1.0, 1.0, 1.0])


def test_a_discount_makes_what_is_far_away_worth_less() -> None:
    _, returns = advantages([0.0, 0.0, 1.0], [0.0, 0.0, 0.0], discount=0.5, decay=1.0)
    assert returns == pytest.approx([0.25, 0.5, 1.0])


def test_every_token_pays_for_its_distance_and_the_last_one_gets_the_reward() -> None:
    assert token_rewards(2.0, [-1.0, -1.0], [-3.0, -1.0], 0.1) == pytest.approx([-0.2, 2.0])


def test_the_controller_raises_the_coefficient_while_the_policy_is_too_far_away() -> None:
    controller = Controller(0.1, target=5.0, horizon=100)
    assert controller.update(50.0, 100) == pytest.approx(0.12)
    assert controller.update(0.0, 100) == pytest.approx(0.12 * 0.8)
    assert controller.update(5.0, 100) == pytest.approx(0.12 * 0.8)


@pytest.mark.slow
def test_log_probabilities_are_those_of_training(base: Base) -> None:
    sequences = [answer(base.chat, [ASK], text) for text in ("orders failed", "orders are slow today")]
    found = estimates(ScalarModel(base.model, CPU), sequences)
    torch.testing.assert_close(found.logprobs, score(base.model, sequences, CPU, "float32").logprobs)
    assert found.values.eq(0).all(), "a fresh head says nothing"


def rollout(sequence: TokenSequence, model: ScalarModel, reward: float) -> Rollout:
    with torch.no_grad():
        known = estimates(model, [sequence])
    old, values = known.logprobs.tolist(), known.values.tolist()
    earned, returns = advantages(token_rewards(reward, old, old, 0.0), values)
    return Rollout(sequence, old, values, earned, returns)


@pytest.mark.slow
def test_a_ratio_beyond_the_clip_has_no_gradient(base: Base) -> None:
    adapted = Base("random", base.folder, CPU, adapt="lora")
    model = ScalarModel(adapted.fresh_trainee(), CPU)
    one = rollout(answer(base.chat, [ASK], "orders failed"), model, 1.0)
    far = one._replace(
        old_logprobs=[old - 1.0 for old in one.old_logprobs],
        advantages=[1.0] * len(one.advantages),
        returns=one.old_values,
    )
    total, seen = loss(model, [far], PpoOptions(value_weight=0.0))
    total.backward()  # type: ignore[no-untyped-call]
    assert seen["clipped"] == len(one.advantages)
    assert all(p.grad is None or not p.grad.any() for p in model.model.parameters())


def test_whitening_leaves_the_order_of_advantages() -> None:
    rows = [Rollout(TokenSequence(), [], [], [float(number)], []) for number in range(5)]
    ready = [row.advantages[0] for row in whitened(rows)]
    assert np.mean(ready) == pytest.approx(0.0)
    assert ready == sorted(ready)


class Bandit:
    """One prompt, answers of one token, reward 1 for one of eight. The best policy always writes that one."""

    ARMS, BEST, PULLS = tuple(range(40, 48)), 43, 16

    def __init__(self, base: Base) -> None:
        torch.manual_seed(0)
        adapted = Base("random", base.folder, CPU, adapt="lora")
        self.model = ScalarModel(adapted.fresh_trainee(), CPU)
        trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, lr=1e-2)
        self._prompt = list(base.chat.prompt([ASK], []).tokens)
        self._rng = np.random.default_rng(0)

    def pulled(self, arm: int, logprob: float = 0.0) -> TokenSequence:
        sequence = TokenSequence()
        sequence.append(self._prompt, None)
        sequence.append([arm], [logprob])
        return sequence

    def known(self) -> dict[int, tuple[float, float]]:
        """Log-probability and value of every arm."""
        with torch.no_grad():
            found = estimates(self.model, [self.pulled(arm) for arm in self.ARMS])
        pairs = zip(found.logprobs.tolist(), found.values.tolist(), strict=True)
        return dict(zip(self.ARMS, pairs, strict=True))

    def chances(self) -> list[float]:
        weights = [math.exp(logprob) for logprob, _ in self.known().values()]
        return [weight / sum(weights) for weight in weights]

    def draw(self) -> list[int]:
        return [int(arm) for arm in self._rng.choice(self.ARMS, size=self.PULLS, p=self.chances())]

    def ppo(self) -> None:
        found, rollouts = self.known(), []
        for arm in self.draw():
            logprob, value = found[arm]
            earned, returns = advantages([float(arm == self.BEST)], [value])
            rollouts.append(Rollout(self.pulled(arm), [logprob], [value], earned, returns))
        update(self.model, self.optimizer, rollouts, PpoOptions(), together=self.PULLS)

    def grpo(self) -> None:
        """The group is the pulls of a round: as many as PPO has, and the same number
        of gradient steps on them.
        """
        found, arms = self.known(), self.draw()
        mean = sum(arm == self.BEST for arm in arms) / len(arms)
        sequences = []
        for arm in arms:
            sequence = self.pulled(arm, found[arm][0])
            sequence.advantage, sequence.weight = float(arm == self.BEST) - mean, 1.0
            sequences.append(sequence)
        options = TrainingOptions(learning_rate=1e-2)
        trainer = Trainer(self.model.model, self.optimizer, JobConfig.of({}, options), options, CPU)
        for _ in range(PpoOptions().epochs):
            trainer.train(sequences, lambda _: None, lambda: False)


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", [Bandit.ppo, Bandit.grpo], ids=["ppo", "grpo"])
def test_at_the_same_budget_ppo_and_grpo_both_find_the_rewarded_token(
    base: Base, algorithm: Callable[[Bandit], None]
) -> None:
    bandit = Bandit(base)
    best = Bandit.ARMS.index(Bandit.BEST)
    assert bandit.chances()[best] < 0.4
    for _ in range(12):
        algorithm(bandit)
    assert bandit.chances()[best] > 0.9
