"""What a training job may ask for: both lines of ART, under both names of a setting, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from training_service.training import JobConfig, TrainingOptions
from training_service.wire import ChatRequest, TrainingConfig, TrainingJobRequest

DEFAULTS_OF_0_5_23: dict[str, Any] = {
    "advantage_balance": 0.0,
    "allow_training_without_logprobs": False,
    "epsilon": None,
    "epsilon_high": None,
    "importance_sampling_level": "token",
    "kimi_k2_tau": None,
    "kl_penalty_coef": 0.0,
    "kl_penalty_reference_step": None,
    "kl_penalty_source": "current_learner",
    "kl_penalty_step_lag": None,
    "kl_ref_adapter_path": None,
    "learning_rate": 5e-6,
    "logprob_calculation_chunk_size": 1024,
    "loss_fn": "cispo",
    "mask_prob_ratio": False,
    "max_negative_advantage_importance_sampling_weight": None,
    "normalize_advantages": True,
    "num_trajectories_learning_rate_multiplier_power": 0.0,
    "packed_sequence_length": None,
    "plot_tensors": False,
    "ppo": False,
    "precalculate_logprobs": False,
    "scale_learning_rate_by_reward_std_dev": False,
    "scale_rewards": True,
    "truncated_importance_sampling": None,
}


def job(**config: Any) -> JobConfig:
    return JobConfig.of(TrainingConfig.model_validate(config).given(), TrainingOptions())


def test_what_the_newer_art_sends_unasked_is_what_the_older_one_means() -> None:
    newer = job(**DEFAULTS_OF_0_5_23)
    assert newer.loss == job().loss
    assert newer.scale_rewards == job().scale_rewards


def test_the_newer_names_say_what_the_older_ones_say() -> None:
    assert job(loss_fn="ppo").loss.ppo
    assert job(normalize_advantages=False).scale_rewards is False


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"loss_fn": "ppo", "ppo": False}, "loss_fn=ppo contradicts ppo=False"),
        ({"normalize_advantages": True, "scale_rewards": False}, "contradicts scale_rewards=False"),
        ({"loss_fn": "reinforce"}, "use cispo or ppo"),
        ({"kl_penalty_reference_step": 3}, "kl_penalty_reference_step: not supported here"),
        ({"kl_penalty_step_lag": 1}, "against the base model; leave it out"),
        ({"kl_ref_adapter_path": "/x"}, "kl_ref_adapter_path: not supported here"),
        ({"plot_tensors": True}, "plot_tensors: not supported here"),
        ({"scale_learning_rate_by_reward_std_dev": True}, "set learning_rate for each step instead"),
        ({"truncated_importance_sampling": 2.0}, "needs precalculate_logprobs=true"),
        ({"packed_sequence_length": 1}, "greater than or equal to 64"),
        ({"no_such_option": 1}, "no_such_option"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_what_cannot_be_done_is_refused_by_name(config: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        TrainingConfig.model_validate(config)


def test_a_trajectory_may_leave_out_what_has_its_default() -> None:
    group: dict[str, Any] = {"trajectories": [{}, {"reward": 1.0}]}
    asked = {"model_id": "m", "trajectory_groups": [group]}
    assert TrainingJobRequest.model_validate(asked).trajectory_groups == [group]


def test_a_trajectory_of_exchanges_is_refused_with_what_to_send() -> None:
    group: dict[str, Any] = {"trajectories": [{"exchanges": {"chat_completions": [{}]}}]}
    with pytest.raises(ValidationError, match="make trajectories of messages_and_choices"):
        TrainingJobRequest.model_validate({"model_id": "m", "trajectory_groups": [group]})


def test_what_the_newer_client_adds_to_a_chat_changes_nothing() -> None:
    asked = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    added = {
        "nvext": {"extra_fields": ["engine_data"]},
        "chat_template_kwargs": {"preserve_thinking": True},
        "return_token_ids": True,
    }
    assert ChatRequest.model_validate({**asked, **added}) == ChatRequest.model_validate(asked)
    with pytest.raises(ValidationError, match="chat_template_kwargs: not supported here"):
        ChatRequest.model_validate({**asked, "chat_template_kwargs": {"enable_thinking": False}})
