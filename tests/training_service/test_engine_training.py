"""A job trains exactly what was sampled, on a private copy, and its checkpoint continues where it stopped."""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.training_service.conversations import ASK, Json, choices, request, sampled_group, teaching
from tests.training_service.random_model import random_base
from training_service.base_models import Base
from training_service.engine import RequestError, TrainingError, TrainResult
from training_service.local_engine import EngineOptions, LocalEngine
from training_service.prefix_tree import TokenTree, tree_logits
from training_service.training import TrainingOptions

pytestmark = pytest.mark.slow  # a model learns in each of them

RATE = {"learning_rate": 3e-3}


def run(
    engine: LocalEngine, source: Path, target: Path, groups: list[Json], config: Json | None = None
) -> tuple[TrainResult, list[Mapping[str, float]]]:
    """A job, and everything it reported."""
    target.mkdir()
    reports: list[Mapping[str, float]] = []
    result = engine.train(
        source, target, groups, RATE if config is None else config, reports.append, lambda: False
    )
    return result, reports


def opened(base: Base, **options: Any) -> LocalEngine:
    return LocalEngine(
        [base], EngineOptions(concurrent_sequences=8, kept_sequences=8, training=TrainingOptions(**options))
    )


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return dict(load_file(folder / "model.safetensors"))


def reply_logprob(base: Base, checkpoint: Path, choice: Json) -> float:
    """Log-probability of a whole reply under a checkpoint."""
    prompt, tokens = choice["prompt_token_ids"], choice["token_ids"]
    with torch.inference_mode():
        logits = tree_logits(
            base.policy(checkpoint), TokenTree([np.array(prompt + tokens, np.int32)]), base.device
        )
    picked = logits.log_softmax(-1)[len(prompt) - 1 : -1].gather(-1, torch.tensor(tokens)[:, None])
    return float(picked.sum())


async def test_on_fresh_trajectories_new_and_old_logprobs_agree(
    engine: LocalEngine, step0: Path, tmp_path: Path
) -> None:
    groups = [await sampled_group(engine, step0, first_seed=seed) for seed in (0, 50)]
    result, reports = run(engine, step0, tmp_path / "1", groups)
    assert result.gradient_steps == 1
    assert reports[0] == {"num_sequences": 1}
    metrics = reports[1]
    assert 0 <= metrics["logprob_drift"] <= 1e-5
    assert metrics["clipped_fraction"] == 0
    assert metrics["num_trainable_tokens"] == sum(
        len(choice["token_ids"]) for group in groups for choice in teaching(group)
    )
    assert all(math.isfinite(value) for value in metrics.values())


async def test_a_rewarded_reply_becomes_likelier_and_a_punished_one_less(
    base: Base, engine: LocalEngine, step0: Path, tmp_path: Path
) -> None:
    group = await sampled_group(engine, step0, size=2, turns=1)
    good, bad = group["trajectories"]
    good["reward"], bad["reward"] = 1.0, 0.0
    run(engine, step0, tmp_path / "1", [group])
    rewarded, punished = choices(group)
    assert reply_logprob(base, tmp_path / "1", rewarded) > reply_logprob(base, step0, rewarded) + 0.1
    assert reply_logprob(base, tmp_path / "1", punished) < reply_logprob(base, step0, punished) - 0.1


async def test_the_trained_checkpoint_answers_with_its_own_weights(
    engine: LocalEngine, step0: Path, tmp_path: Path
) -> None:
    run(engine, step0, tmp_path / "1", [await sampled_group(engine, step0)], {"learning_rate": 0.05})
    old, new = [await engine.complete(folder, request(ASK, seed=1)) for folder in (step0, tmp_path / "1")]
    assert old["choices"][0]["token_ids"] != new["choices"][0]["token_ids"]


async def test_reinforcing_a_letter_makes_it_frequent(base: Base, tmp_path: Path) -> None:
    engine = opened(base)
    source = tmp_path / "0"
    source.mkdir()
    engine.create("random", source)
    means = []
    for step in range(1, 13):
        groups = [
            await sampled_group(engine, source, first_seed=1000 * step + 50 * number, turns=1)
            for number in range(3)
        ]
        rewards = [trajectory["reward"] for group in groups for trajectory in group["trajectories"]]
        means.append(sum(rewards) / len(rewards))
        target = tmp_path / str(step)
        run(engine, source, target, groups, {"learning_rate": 1e-2})
        source = target
    engine.close()
    assert sum(means[-2:]) > 2 * sum(means[:2])


@pytest.mark.parametrize(
    "rewards", [pytest.param([1.0], id="one alone"), pytest.param([1.0, 1.0], id="equal rewards")]
)
async def test_a_batch_that_teaches_nothing_is_no_error_and_writes_nothing(
    engine: LocalEngine, step0: Path, tmp_path: Path, rewards: list[float]
) -> None:
    group = await sampled_group(engine, step0, size=len(rewards), turns=1)
    for trajectory, reward in zip(group["trajectories"], rewards, strict=True):
        trajectory["reward"] = reward
    result, reports = run(engine, step0, tmp_path / "1", [group, {"trajectories": []}])
    assert result.gradient_steps == 0
    assert result.metrics["flat_groups"] == 2
    assert reports == [{"num_sequences": 0}]
    assert list((tmp_path / "1").iterdir()) == []


async def test_the_optimizer_goes_on_after_a_restart_as_if_nothing_had_happened(
    base: Base, tmp_path: Path
) -> None:
    engine, other = opened(base), opened(base)
    source = tmp_path / "0"
    source.mkdir()
    engine.create("random", source)
    first, second = [await sampled_group(engine, source, first_seed=seed) for seed in (0, 50)]
    run(engine, source, tmp_path / "1", [first])
    run(engine, tmp_path / "1", tmp_path / "2", [second])
    run(other, tmp_path / "1", tmp_path / "2 elsewhere", [second])
    (tmp_path / "1" / "optimizer.safetensors").unlink()
    run(other, tmp_path / "1", tmp_path / "2 without", [second])
    engine.close()
    other.close()
    here, there, without = (weights(tmp_path / name) for name in ("2", "2 elsewhere", "2 without"))
    assert all(torch.equal(here[name], there[name]) for name in here)
    assert any(not torch.allclose(here[name], without[name], atol=1e-4) for name in here)


async def test_the_source_is_left_as_it_was(engine: LocalEngine, step0: Path, tmp_path: Path) -> None:
    group = await sampled_group(engine, step0)
    run(engine, step0, tmp_path / "1", [group])
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted((tmp_path / "1").iterdir())]
    before = await engine.complete(step0, request(ASK, seed=9))
    run(engine, tmp_path / "1", tmp_path / "2", [group])
    assert [
        hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted((tmp_path / "1").iterdir())
    ] == digests
    assert (await engine.complete(step0, request(ASK, seed=9)))["choices"][0]["token_ids"] == before[
        "choices"
    ][0]["token_ids"]


async def test_weights_that_are_not_finite_fail_the_job_with_a_reason(
    engine: LocalEngine, step0: Path, tmp_path: Path
) -> None:
    from safetensors.torch import save_file

    group = await sampled_group(engine, step0)
    run(engine, step0, tmp_path / "1", [group])
    broken = weights(tmp_path / "1")
    broken["model.norm.weight"] = torch.full_like(broken["model.norm.weight"], math.nan)
    save_file(broken, tmp_path / "1" / "model.safetensors")
    with pytest.raises(TrainingError, match="not finite"):
        run(engine, tmp_path / "1", tmp_path / "2", [group])
    assert list((tmp_path / "2").iterdir()) == []


async def test_a_cancelled_job_stops_and_writes_nothing(
    engine: LocalEngine, step0: Path, tmp_path: Path
) -> None:
    group = await sampled_group(engine, step0)
    (tmp_path / "1").mkdir()
    with pytest.raises(TrainingError, match="was cancelled"):
        engine.train(step0, tmp_path / "1", [group], RATE, lambda _: None, lambda: True)
    assert list((tmp_path / "1").iterdir()) == []


@pytest.mark.parametrize(
    ("tokens", "message"),
    [([10**6], "outside the model's vocabulary"), ([5] * 600, "the model's context is 512")],
)
async def test_tokens_the_model_cannot_have_written_are_refused(
    engine: LocalEngine, step0: Path, tmp_path: Path, tokens: list[int], message: str
) -> None:
    group = await sampled_group(engine, step0, size=2, turns=1)
    group["trajectories"][0]["reward"] = 50.0
    first = choices(group)[0]
    first["token_ids"] = tokens
    first["logprobs"]["content"] = [{"token": "x", "logprob": -1.0, "top_logprobs": []}] * len(tokens)
    with pytest.raises(TrainingError, match=message):
        run(engine, step0, tmp_path / "1", [group])


async def test_several_gradient_steps_share_the_sequences(base: Base, tmp_path: Path) -> None:
    engine = opened(base, gradient_steps=2)
    source = tmp_path / "0"
    source.mkdir()
    engine.create("random", source)
    result, reports = run(engine, source, tmp_path / "1", [await sampled_group(engine, source)])
    engine.close()
    assert result.gradient_steps == 2
    assert reports[0] == {"num_sequences": 2}
    assert len(reports) == 3
    assert reports[2]["logprob_drift"] > 10 * reports[1]["logprob_drift"]


async def test_micro_batches_change_nothing(base: Base, tmp_path: Path) -> None:
    whole, pieces = opened(base), opened(base, micro_batch_tokens=100)
    source = tmp_path / "0"
    source.mkdir()
    whole.create("random", source)
    groups = [await sampled_group(whole, source)]
    one, _ = run(whole, source, tmp_path / "whole", groups)
    many, _ = run(pieces, source, tmp_path / "pieces", groups)
    whole.close()
    pieces.close()
    for name in ("loss", "grad_norm", "entropy"):
        assert one.metrics[name] == pytest.approx(many.metrics[name], rel=1e-3, abs=1e-6)


async def test_bfloat16_training_is_close_to_float32(base: Base, tmp_path: Path) -> None:
    exact, rough = opened(base), opened(base, precision="bfloat16")
    source = tmp_path / "0"
    source.mkdir()
    exact.create("random", source)
    groups = [await sampled_group(exact, source)]
    one, _ = run(exact, source, tmp_path / "exact", groups)
    other, _ = run(rough, source, tmp_path / "rough", groups)
    exact.close()
    rough.close()
    assert other.metrics["logprob_drift"] < 0.05
    assert other.metrics["grad_norm"] == pytest.approx(one.metrics["grad_norm"], rel=0.1)


async def test_the_base_is_the_reference_of_the_kl_penalty(
    engine: LocalEngine, step0: Path, tmp_path: Path
) -> None:
    group = await sampled_group(engine, step0)
    first, _ = run(engine, step0, tmp_path / "1", [group], {"learning_rate": 0.02, "kl_penalty_coef": 0.1})
    second, _ = run(engine, tmp_path / "1", tmp_path / "2", [group], {"kl_penalty_coef": 0.1})
    assert first.metrics["kl_policy_ref"] == pytest.approx(0, abs=1e-4)
    assert abs(second.metrics["kl_policy_ref"]) > 0.01


async def test_logprobs_can_be_calculated_again_before_training(
    engine: LocalEngine, step0: Path, tmp_path: Path
) -> None:
    group = await sampled_group(engine, step0)
    for choice in choices(group):
        for item in choice["logprobs"]["content"]:
            item["logprob"] -= 1.0
    stale, _ = run(engine, step0, tmp_path / "1", [group])
    fresh, _ = run(engine, step0, tmp_path / "2", [group], {"precalculate_logprobs": True})
    assert stale.metrics["logprob_drift"] == pytest.approx(1, abs=1e-3)
    assert fresh.metrics["logprob_drift"] <= 1e-5


async def test_an_adapter_is_trained_saved_and_loaded_while_the_base_is_shared(tmp_path: Path) -> None:
    base = random_base(tmp_path / "model", adapt="lora")
    engine = opened(base)
    source = tmp_path / "0"
    source.mkdir()
    engine.create("random", source)
    group = await sampled_group(engine, source)
    result, _ = run(engine, source, tmp_path / "1", [group], {"learning_rate": 0.05})
    second, _ = run(engine, tmp_path / "1", tmp_path / "2", [group], {"learning_rate": 0.05})
    old, new = [await engine.complete(folder, request(ASK, seed=1)) for folder in (source, tmp_path / "2")]
    engine.close()
    assert result.metrics["logprob_drift"] <= 1e-5 < second.metrics["logprob_drift"]
    assert (tmp_path / "1" / "adapter_model.safetensors").exists()
    assert not (tmp_path / "1" / "model.safetensors").exists()
    assert old["choices"][0]["token_ids"] != new["choices"][0]["token_ids"]
    (tmp_path / "1" / "adapter_model.safetensors").write_bytes(b"damaged")
    with pytest.raises(RequestError, match="cannot be read"):
        base.policy(tmp_path / "1")
    shared = {parameter.data_ptr() for parameter in base.model.parameters()}
    adapted = base.policy(tmp_path / "2")
    assert shared <= {parameter.data_ptr() for parameter in adapted.parameters()}


async def test_replies_go_on_while_a_job_trains(engine: LocalEngine, step0: Path, tmp_path: Path) -> None:
    group = await sampled_group(engine, step0)
    answered: list[int] = []

    def reports(_: Mapping[str, float]) -> None:
        future = asyncio.run_coroutine_threadsafe(engine.complete(step0, request(ASK, seed=1)), loop)
        answered.append(len(future.result(60)["choices"]))

    loop = asyncio.get_running_loop()
    (tmp_path / "1").mkdir()
    await asyncio.to_thread(engine.train, step0, tmp_path / "1", [group], RATE, reports, lambda: False)
    assert answered == [1, 1]


def test_an_option_nobody_knows_is_refused(engine: LocalEngine, step0: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="'sparrow' is not known"):
        run(engine, step0, tmp_path / "1", [], {"sparrow": 1})
