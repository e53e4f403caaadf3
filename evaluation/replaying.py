"""The command behind `python -m evaluation replay RUN --step N`: whether a step's
stored rollouts give its loss.

The step is trained again on a private copy: from the checkpoint before it, on the token ids and rewards that
are stored, with the settings of the run. Its loss and the norm of its gradient must be the logged ones. Then
what is stored is what was trained on.

Files of ids without log-probabilities are older ones. What was sampled then counts as sampled by the model as
it trains, so that the loss differs where the service computed both in another precision.

Not here: other trainers than the training service, which keep their checkpoints elsewhere.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from core.episode_store.lines import EpisodesError
from core.episode_store.run_folder import ROLLOUTS, RunFolder, number
from core.episode_store.runs import find_run
from core.episode_store.tokens import EpisodeTokens, read_tokens
from core.policies.registry import named_base_model
from core.tables import aligned
from project_types import ConfigurationError, Episode
from rewards import training_reward

ROUNDING = {"float32": 1e-5, "bfloat16": 1e-3}
"""What sums in another order may differ by: the loss, and the gradient's norm as a share of it."""
COMPARED = {
    "loss": "loss/train",
    "grad_norm": "loss/grad_norm",
    "num_trainable_tokens": "data/step_trainer_tokens",
}
"""What the training service calls a metric, and what the run logged it as."""
KNOBS = ("scale_rewards", "advantage_balance", "ppo", "importance_sampling_level")


class Replayed(NamedTuple):
    """One number of a step."""

    name: str
    logged: float
    replayed: float
    allowed: float

    @property
    def holds(self) -> bool:
        """Whether it was reproduced."""
        return abs(self.logged - self.replayed) <= self.allowed


def command(arguments: argparse.Namespace) -> int:
    """Replay a step and tell. Returns 1 when a number was not reproduced."""
    run, step = RunFolder(find_run(arguments.run)[0]), arguments.step
    row = next((row for row in run.of("train") if row.get("step") == step), None)
    if row is None:
        raise ConfigurationError(f"{run.path}: has no training step {step}; it has {run.steps}")
    groups, source = stored_groups(run, step), checkpoint_before(run, int(row["checkpoint"]))
    replayed = retrained(run, groups, source, row["job"])
    found = compared(row["job"], replayed, ROUNDING[precision(run)])
    if arguments.json:
        print(json.dumps([{**one._asdict(), "holds": one.holds} for one in found], indent=1))
    else:
        print(_told(found))
    return int(not all(one.holds for one in found))


def stored_groups(run: RunFolder, step: int) -> list[dict[str, Any]]:
    """Return what the step was trained on: groups of rollouts as the training service takes them.

    Raises:
        EpisodesError: rollouts or token ids are missing.
    """
    episodes, path = run.episodes("train", step, ROLLOUTS), run.episodes_path("train", step, ROLLOUTS)
    if not episodes:
        raise EpisodesError(f"{path}: holds no rollouts; replay another step")
    ids = read_tokens(path)
    groups: dict[str, list[dict[str, Any]]] = {}
    evidence = bool(run.config.get("evidence_reward", True))
    for one in episodes:
        if (tokens := ids.get((one.scenario_id, one.sample))) is None:
            raise EpisodesError(
                f"{path}: {one.scenario_id}#{one.sample} has no token ids; runs keep them since they write .tokens"
            )
        groups.setdefault(one.scenario_id, []).append(_trajectory(one, tokens, evidence))
    return [{"trajectories": group} for group in groups.values() if not _flat(group)]


def _flat(group: Sequence[Mapping[str, Any]]) -> bool:
    """Whether all rollouts are worth the same, so that the run left the group out."""
    return len({each["reward"] for each in group}) < 2


def _trajectory(episode: Episode, tokens: EpisodeTokens, evidence: bool) -> dict[str, Any]:
    turns: list[dict[str, Any]] = []
    for (prompt, written), stored in zip(tokens.sequences(), tokens.replies, strict=True):
        known = [{"logprob": value} for value in stored.logprobs]
        logprobs = {"content": known} if known else None
        ids = {"prompt_token_ids": list(prompt), "token_ids": list(written)}
        turns.append({"message": {}, "logprobs": logprobs, **ids})
    return {"reward": training_reward(episode, evidence=evidence), "messages_and_choices": turns}


def checkpoint_before(run: RunFolder, checkpoint: int) -> Path:
    """Return the folder of the checkpoint that the step started from. Raises
    EpisodesError when it is gone.
    """
    kept = {int(path.name.removeprefix("step-")): path for path in run.path.glob("service/models/*/step-*")}
    if checkpoint - 1 not in kept:
        can = [str(row["step"]) for row in run.of("train") if int(row["checkpoint"]) - 1 in kept]
        raise EpisodesError(
            f"{run.path}: checkpoint {checkpoint - 1} is gone; a run keeps the first, the best and the latest. "
            f"Steps that can be replayed: {', '.join(can) or 'none'}"
        )
    return kept[checkpoint - 1]


def precision(run: RunFolder) -> Any:
    """Return the arithmetic of the run's gradient steps."""
    return (run.settings.get("training_service") or {}).get("precision", "float32")


def retrained(
    run: RunFolder, groups: Sequence[Mapping[str, Any]], source: Path, job: Mapping[str, Any]
) -> dict[str, float]:
    """Train the step again on a copy, and return its metrics averaged over its gradient steps."""
    from training_service.base_models import Base, locate, pick_device
    from training_service.checkpoints import load_optimizer, read_state
    from training_service.sequences import batch_of
    from training_service.training import JobConfig, Trainer, TrainingOptions, make_optimizer

    config = run.config
    ((name, folder),) = locate([named_base_model(config["base_model"])]).items()
    base = Base(name, folder, pick_device("cpu"))
    options = TrainingOptions(precision=precision(run), gradient_steps=config.get("gradient_steps", 1))
    asked = {name: config[name] for name in KNOBS} | {"learning_rate": job["loss/learning_rate"]}
    rules, state = JobConfig.of(asked, options), read_state(source)
    model = base.trainee(source)
    optimizer = make_optimizer(model, rules.learning_rate, options)
    load_optimizer(model, optimizer, source, state.optimizer_steps)
    sequences = batch_of(groups, rules.scale_rewards, rules.advantage_balance).sequences
    if not sequences:
        raise ConfigurationError(
            "every group of this step was flat, so nothing was trained; replay another step"
        )
    trainer = Trainer(model, optimizer, rules, options, base.device)
    history = trainer.train(sequences, _say, lambda: False, seed=state.optimizer_steps)
    return {name: _over_all(history, name) for name in COMPARED}


def _over_all(history: Sequence[Mapping[str, float]], name: str) -> float:
    """Add up counts; take the mean of everything else."""
    values = [metrics[name] for metrics in history]
    return sum(values) if name.startswith("num_") else sum(values) / len(values)


def _say(metrics: Mapping[str, float]) -> None:
    print(
        f"gradient step on {metrics['num_tokens']:.0f} tokens, {metrics['gradient_seconds']:.1f} s",
        file=sys.stderr,
    )


def compared(job: Mapping[str, Any], replayed: Mapping[str, float], rounding: float) -> list[Replayed]:
    """Hold what was replayed against what was logged."""
    found = []
    for name, logged_as in COMPARED.items():
        logged = number(job.get(logged_as))
        if logged is None:
            raise ConfigurationError(f"the step logged no {logged_as}; another backend trained it")
        scale = max(1.0, abs(logged)) if name == "grad_norm" else 1.0
        allowed = 0.0 if name.startswith("num_") else scale * rounding
        found.append(Replayed(logged_as, logged, replayed[name], allowed))
    return found


def _told(found: Sequence[Replayed]) -> str:
    rows = [("", "logged", "replayed", "may differ by", "")]
    for one in found:
        numbers = [f"{value:.8g}" for value in (one.logged, one.replayed, one.allowed)]
        rows.append((one.name, numbers[0], numbers[1], numbers[2], "" if one.holds else "DIFFERS"))
    return aligned(rows)
