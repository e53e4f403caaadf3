"""The loss is ART's: the same numbers and the same gradients on the same tokens, for every option."""

from __future__ import annotations

import json
import math
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from training_service.loss import LossConfig, loss_sums
from training_service.sequences import batch_of

Json = dict[str, Any]
NEEDS_ART = pytest.mark.slow
"""ART takes seconds to import."""
ROOT = Path(__file__).parents[2]

OPTIONS: dict[str, Json] = {
    "cispo": {},
    "cispo with a narrow clip": {"epsilon": 0.1, "epsilon_high": 0.2},
    "cispo with epsilon alone": {"epsilon": 0.3},
    "ppo": {"ppo": True},
    "ppo with a high clip": {"ppo": True, "epsilon": 0.1, "epsilon_high": 0.3},
    "sequence ratios": {"importance_sampling_level": "sequence"},
    "ppo on sequence ratios": {"importance_sampling_level": "sequence", "ppo": True},
    "average ratios": {"importance_sampling_level": "average", "ppo": True},
    "geometric ratios": {"importance_sampling_level": "geometric_average", "ppo": True},
    "ratio cap": {"max_negative_advantage_importance_sampling_weight": 1.05},
    "masked ratios": {"mask_prob_ratio": True, "epsilon": 0.2, "epsilon_high": 0.2},
    "kimi k2": {"kimi_k2_tau": 0.3},
    "kl to the base": {"kl_penalty_coef": 0.2},
    "truncated importance sampling": {"truncated_importance_sampling": 1.05},
    "ppo, average ratios, kimi k2 and kl": {
        "ppo": True,
        "importance_sampling_level": "average",
        "kimi_k2_tau": 0.1,
        "kl_penalty_coef": 0.1,
        "epsilon": 0.3,
    },
}


def row(seed: int) -> Json:
    """Three sequences packed into one row; one sampled token has no old log-probability."""
    numbers = random.Random(seed)
    columns: Json = {
        name: [] for name in ("sampled", "sequence", "old", "sampler", "new", "base", "advantages", "weights")
    }
    for sequence, advantage in enumerate((1.3, -0.7, 0.4)):
        for place in range(12):
            sampled = place > 2 and place % 4 != 0
            old = numbers.uniform(-4, -0.1)
            columns["sampled"].append(sampled)
            columns["sequence"].append(sequence)
            columns["old"].append(old if sampled and (sequence, place) != (1, 5) else None)
            columns["sampler"].append(old + 0.1 * (place % 3 - 1) if sampled and place != 9 else None)
            columns["new"].append(old + numbers.gauss(0, 0.4))
            columns["base"].append(old + numbers.gauss(0, 0.4))
            columns["advantages"].append(advantage if sampled else 0.0)
            columns["weights"].append(0.5 + sequence if sampled else 0.0)
    return columns


def reference(cases: list[Json]) -> list[Json]:
    """What ART computes, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.training_service.art_reference"],
        input=json.dumps(cases),
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    results: list[Json] = json.loads(done.stdout.splitlines()[-1])
    return results


def groups() -> list[Json]:
    """Two groups, one trajectory of which splits into two sequences."""

    def choice(prompt: list[int], count: int) -> Json:
        content = [{"token": "x", "logprob": -1.0, "top_logprobs": []}] * count
        return {
            "message": {},
            "logprobs": {"content": content},
            "prompt_token_ids": prompt,
            "token_ids": [9] * count,
        }

    def trajectory(reward: float, *choices: Json) -> Json:
        return {"reward": reward, "messages_and_choices": list(choices)}

    first = [
        trajectory(1.0, choice([1, 2], 3), choice([5], 4)),
        trajectory(0.0, choice([1, 2], 7)),
        trajectory(0.25, choice([1], 2)),
    ]
    return [
        {"trajectories": first},
        {"trajectories": [trajectory(-2.0, choice([1], 5)), trajectory(3.0, choice([1, 2, 3], 1))]},
    ]


def pack_case(balance: float) -> tuple[Json, list[tuple[float, float]]]:
    """Rows with raw advantages and weights for ART to normalise, and ours normalised."""
    batch = batch_of(groups(), scale_rewards=False, advantage_balance=balance)
    rewards = [[1.0, 0.0, 0.25], [-2.0, 3.0]]
    raw = [reward - sum(group) / len(group) for group in rewards for reward in group]
    owners, counts = [0, 0, 1, 2, 3, 4], [7, 7, 7, 2, 5, 1]
    rows = [
        {
            "tokens": sequence.tokens,
            "sampled": sequence.sampled,
            "advantage": raw[owner],
            "weight": 1 / (count + 1e-6),
        }
        for sequence, owner, count in zip(batch.sequences, owners, counts, strict=True)
    ]
    ours = sorted(
        (sequence.advantage, sequence.weight)
        for sequence in batch.sequences
        for _ in range(sequence.sampled_count)
    )
    return {"kind": "pack", "rows": rows, "balance": balance}, ours


BALANCES = (0.0, 0.5, -0.5)


@pytest.fixture(scope="module")
def art() -> dict[str, Json]:
    """ART's answers, computed once for the module."""
    cases = {name: {"kind": "loss", "config": config, **row(7)} for name, config in OPTIONS.items()}
    cases |= {f"balance {balance}": pack_case(balance)[0] for balance in BALANCES}
    return dict(zip(cases, reference(list(cases.values())), strict=True))


@NEEDS_ART
@pytest.mark.parametrize("name", OPTIONS)
def test_loss_and_gradient_are_those_of_art(name: str, art: dict[str, Json]) -> None:
    columns = row(7)
    keep = torch.tensor(columns["sampled"])

    def column(values: list[float | None]) -> torch.Tensor:
        return torch.tensor([math.nan if value is None else value for value in values])[keep]

    new = column(columns["new"]).requires_grad_(True)
    config = LossConfig(**OPTIONS[name])
    sums = loss_sums(
        new,
        column(columns["old"]),
        column(columns["advantages"]),
        column(columns["weights"]),
        torch.tensor(columns["sequence"])[keep],
        config,
        column(columns["base"]) if config.kl_penalty_coef else None,
        column(columns["sampler"]),
    )
    loss = sums.policy / int(keep.sum())
    loss.backward()  # type: ignore[no-untyped-call]
    assert new.grad is not None
    assert float(loss.detach()) == pytest.approx(art[name]["loss"], abs=1e-5)
    assert new.grad.tolist() == pytest.approx(art[name]["gradient"], abs=1e-6)
    if config.kl_penalty_coef:
        assert sums.kl_to_base / int(keep.sum()) == pytest.approx(art[name]["kl_policy_ref"], abs=1e-5)


@NEEDS_ART
@pytest.mark.parametrize("balance", BALANCES)
def test_advantages_and_weights_are_normalised_as_art_does(balance: float, art: dict[str, Json]) -> None:
    _, ours = pack_case(balance)
    theirs = art[f"balance {balance}"]["pairs"]
    assert [value for pair in ours for value in pair] == pytest.approx(
        [value for pair in theirs for value in pair], abs=1e-5
    )


@NEEDS_ART
def test_the_options_do_not_all_compute_the_same_thing(art: dict[str, Json]) -> None:
    losses = {round(art[name]["loss"], 6) for name in OPTIONS}
    assert len(losses) >= len(OPTIONS) - 2


def test_the_kl_penalty_can_be_taken_of_the_sampler() -> None:
    columns = row(7)
    keep = torch.tensor(columns["sampled"])
    new, old, base, advantages, weights = (
        torch.tensor([value or 0.0 for value in columns[name]])[keep]
        for name in ("new", "old", "base", "advantages", "weights")
    )
    numbers = torch.tensor(columns["sequence"])[keep]
    config = LossConfig(kl_penalty_coef=0.2, kl_penalty_source="sample")
    sums = loss_sums(new, old, advantages, weights, numbers, config, base)
    assert sums.kl_to_base == pytest.approx(float((old - base).sum()), abs=1e-4)


def test_split_into_micro_batches_the_sums_add_up() -> None:
    columns = row(3)
    keep = torch.tensor(columns["sampled"])
    new, old, advantages, weights = (
        torch.tensor([value or 0.0 for value in columns[name]])[keep]
        for name in ("new", "old", "advantages", "weights")
    )
    sequence = torch.tensor(columns["sequence"])[keep]
    config = LossConfig(importance_sampling_level="sequence")
    whole = loss_sums(new, old, advantages, weights, sequence, config)
    own = [sequence == number for number in range(3)]
    parts = [loss_sums(new[at], old[at], advantages[at], weights[at], sequence[at] * 0, config) for at in own]
    assert sum(float(part.policy) for part in parts) == pytest.approx(float(whole.policy), abs=1e-4)
    assert sum(part.drift for part in parts) == pytest.approx(whole.drift, abs=1e-4)


def test_on_policy_nothing_is_clipped_and_nothing_has_moved() -> None:
    same = torch.full((5,), -1.0)
    sums = loss_sums(same, same, torch.ones(5), torch.ones(5), torch.zeros(5, dtype=torch.long), LossConfig())
    assert (sums.clipped, sums.drift, sums.kl) == (0, 0, 0)
    assert float(sums.policy) == pytest.approx(5.0)
