"""The settings of one training run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from core.words.episode import EMBEDDED, EpisodeConfig
from core.words.rows import Frozen, Name


class TrainingConfig(Frozen):
    """One training run. Every field is a flag of train_serverless.py and a key of its `--config` file."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    backend: Literal["auto", "serverless", "embedded", "local"] = "auto"
    """Where to train: serverless (W&B, needs WANDB_API_KEY), embedded (a service started here, no key), local
    (ART on your own GPU), auto (serverless with a key, embedded without).
    """
    base_model: str = "OpenPipe/Qwen3-14B-Instruct"
    """The model to start from: a name the backend knows, or, embedded, the folder of a Hugging Face model."""
    project: Name = "log-investigator"
    """Project that holds the model, here and in W&B."""
    judge: str = "offline"
    """Who decides whether a root cause is right: offline, or a model that make_judge_model.py registered."""
    seed: Annotated[int, Field(ge=0)] = 1
    """Order of the scenarios, and resampling for the intervals. The policy's own samples are not seeded."""
    steps: Annotated[int, Field(ge=0)] = 60
    """Training steps: what a run is made of."""
    max_minutes: Annotated[float, Field(gt=0)] | None = None
    """Cap on the training time, which ends a run before its steps are done; none for no limit."""
    groups_per_step: Annotated[int, Field(ge=1)] = 8
    """Scenarios in one step."""
    rollouts_per_group: Annotated[int, Field(ge=2)] = 8
    """Episodes of each scenario in one step, compared with one another."""
    learning_rate: Annotated[float, Field(gt=0)] = 1e-5
    """Step size of the optimiser."""
    learning_rate_decay: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the learning rate that is gone at the end of the run; it falls in a straight line over the
    steps.
    """
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Arithmetic of the gradient step, embedded only: auto times both at the start
    and takes the faster one.
    """
    gradient_steps: Annotated[int, Field(ge=1)] = 1
    """Optimiser steps that a training job is cut into, embedded only."""
    ppo: bool = False
    """Clip the ratio as PPO does; otherwise CISPO."""
    importance_sampling_level: Literal["token", "sequence", "average", "geometric_average"] = "token"
    """What the ratio of new to old probabilities is taken over."""
    scale_rewards: bool = True
    """Divide a group's advantages by their standard deviation. In a group in which nobody is right this makes
    a small difference between two failures count as much as the difference between right and wrong
    elsewhere.
    """
    evidence_reward: bool = True
    """Pay for evidence in training. Without it a right answer is worth the same however it was found, to
    measure what the evidence term is good for.
    """
    advantage_balance: Annotated[float, Field(ge=-1, le=1)] = 0.0
    """Weight of good episodes against bad ones; 0 is even."""
    validate_every: Annotated[int, Field(ge=1)] = 5
    """Steps between two validations."""
    val_samples: Annotated[int, Field(ge=0, le=64)] = 0
    """Samples of each val scenario at temperature 1, besides the one at temperature 0; the best checkpoint is
    then the best over both.
    """
    test_samples: Annotated[int, Field(ge=0, le=64)] = 4
    """Samples of each test scenario at temperature 1, besides the one at temperature 0."""
    max_failed_share: Annotated[float, Field(ge=0, lt=1)] = 0.25
    """Share of a step's rollouts that may fail (provider or judge) before the run stops."""
    max_concurrent: Annotated[int, Field(ge=1)] = 128
    """Episodes under way at the same time."""
    max_staleness: Annotated[int, Field(ge=0, le=8)] = 0
    """Steps that rollouts may be played ahead of training, while it runs, with weights that are so
    many steps old. 0 plays and trains in turn. It pays where the policy is served by other hardware
    than the one that trains.
    """
    executor: Literal["process", "ray"] = "process"
    """Where rollouts are played: in this process, or by workers on a Ray cluster."""
    address: str | None = None
    """The Ray cluster, as `ray start --head` printed it; without one a cluster is started on this machine."""
    workers: Annotated[int, Field(ge=1)] = 2
    """Worker processes on the Ray cluster."""
    step_timeout_minutes: Annotated[float, Field(gt=0)] = 60.0
    """Longest a training job may take before the run stops."""
    train_limit: Annotated[int, Field(ge=1)] | None = None
    """Use only so many train scenarios."""
    profile: Path | None = None
    """What `python -m evaluation profile RUN --json` wrote. Train scenarios that are always or never
    right in it are left out.
    """
    val_limit: Annotated[int, Field(ge=0)] | None = None
    """Use only so many val scenarios."""
    test_limit: Annotated[int, Field(ge=0)] | None = None
    """Use only so many test scenarios."""
    scenarios: Path = Path("log_scenarios")
    """Folder that holds train/, val/ and test/."""
    database: Path = Path("logs.db")
    """The searchable logs; built when missing or stale."""
    runs: Path = Path("runs")
    """Folder that gets one folder per run."""
    service_url: str | None = None
    """A training service that already runs (http://127.0.0.1:PORT/v1) instead of one started here or W&B's.
    """
    usd_per_million_tokens: Annotated[float, Field(ge=0)] | None = None
    """What your provider charges, for the estimate of --dry-run and the summary."""
    episode: EpisodeConfig = EpisodeConfig()


EMBEDDED_TRAINING: Mapping[str, Any] = {
    "base_model": "tiny-investigator",
    "learning_rate": 2e-4,
    "learning_rate_decay": 0.9,
    "max_minutes": 45.0,
    "scale_rewards": False,
    "steps": 45,
    "val_samples": 2,
    "episode": EMBEDDED.model_dump(),
}
"""What `--backend embedded` changes in the defaults of TrainingConfig."""
