"""What a training run is going to do, before it does anything: its settings, and what they will cost at most.

Settings come from, in rising order: the defaults of `TrainingConfig`, what the embedded backend changes, the
run that is resumed, a file, flags. The flags are made from the fields, so that there is one list of knobs.
`plan` counts and multiplies; it contacts nothing, and says "at most" where only the run itself will tell.
"""

from __future__ import annotations

import argparse
import os
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from project_types import EMBEDDED_TRAINING, ConfigurationError, EpisodeConfig, TrainingConfig

MAY_CHANGE = frozenset(
    {"steps", "max_minutes", "max_failed_share", "max_concurrent", "step_timeout_minutes", "service_url"}
    | {"runs", "scenarios", "database", "usd_per_million_tokens"}
)
"""Settings that a resumed run may change and still be the same run."""
OPENING_TOKENS = 400
"""What a brief system prompt, a description and the tool schemas count for in the estimate; a full prompt
counts three times.
"""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """One flag for every field of TrainingConfig and of its EpisodeConfig."""
    _add(parser.add_argument_group("training"), TrainingConfig, "", EMBEDDED_TRAINING)
    _add(parser.add_argument_group("episode"), EpisodeConfig, "episode.", EMBEDDED_TRAINING["episode"])


def _add(
    group: argparse._ArgumentGroup, model: type[BaseModel], prefix: str, embedded: Mapping[str, Any]
) -> None:
    for name, field in model.model_fields.items():
        if isinstance(field.default, BaseModel):
            continue
        changed = (
            f", embedded {_shown(embedded[name])}"
            if embedded.get(name, field.default) != field.default
            else ""
        )
        words = " ".join((field.description or "").split()).removesuffix(".")
        described = f"{words} (default {_shown(field.default)}{changed})".replace("%", "%%")
        options: dict[str, Any] = {"dest": prefix + name, "default": argparse.SUPPRESS, "help": described}
        if field.annotation is bool:
            options["action"] = argparse.BooleanOptionalAction
        elif get_origin(field.annotation) is Literal:
            options["choices"] = get_args(field.annotation)
        else:
            options["metavar"] = _kind(field.annotation)
        group.add_argument("--" + name.replace("_", "-"), **options)


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value)


def _kind(annotation: Any) -> str:
    while get_origin(annotation) is not None:
        parts = [part for part in get_args(annotation) if part is not type(None)]
        annotation = parts[0] if get_origin(annotation) in (UnionType, Union) or parts else str
    return {int: "N", float: "X", Path: "PATH"}.get(annotation, "TEXT")


def resolve(
    arguments: argparse.Namespace,
    saved: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] = os.environ,
) -> TrainingConfig:
    """The settings of a run. `saved` are those of the run that is resumed. `auto` becomes the backend it
    stands for.

    Of the environment, WANDB_API_KEY decides what `auto` is (an empty one is none) and JUDGE_MODEL names the
    default judge.

    Raises:
        ConfigurationError: a file or a value is wrong, or a resumed run would become another run.
    """
    flags: dict[str, Any] = {"episode": {}}
    for dest, value in vars(arguments).items():
        meant = None if value == "none" else value
        if dest.startswith("episode."):
            flags["episode"][dest.removeprefix("episode.")] = meant
        elif dest in TrainingConfig.model_fields:
            flags[dest] = meant
    given = _merged(saved or {}, _merged(_settings_file(arguments.config) if arguments.config else {}, flags))
    given["backend"] = backend = _backend(
        str(given.get("backend", "auto")), bool(environment.get("WANDB_API_KEY")), given.get("service_url")
    )
    preset: dict[str, Any] = dict(EMBEDDED_TRAINING) if backend == "embedded" else {}
    if judge := environment.get("JUDGE_MODEL"):
        preset["judge"] = judge
    try:
        config = TrainingConfig.model_validate(_merged(preset, given))
    except ValidationError as trouble:
        first = trouble.errors(include_url=False)[0]
        name = str(first["loc"][-1])
        if first["type"] == "extra_forbidden":  # flags are argparse's to refuse
            known = TrainingConfig.model_fields.keys() | EpisodeConfig.model_fields.keys()
            meant = "".join(
                f"; did you mean {close!r}?" for close in get_close_matches(name, sorted(known), 1)
            )
            raise ConfigurationError(f"--config: no setting is called {name!r}{meant}") from trouble
        flag = "--" + name.replace("_", "-")
        raise ConfigurationError(f"{flag}: {first['msg']} (got {first['input']!r}); see --help") from trouble
    if saved is not None:
        old = TrainingConfig.model_validate(saved)
        changed = sorted(
            name for name in TrainingConfig.model_fields if getattr(old, name) != getattr(config, name)
        )
        if refused := [name for name in changed if name not in MAY_CHANGE]:
            raise ConfigurationError(
                f"--resume cannot change {', '.join(refused)}; start a new run with another --name"
            )
    return config


def _backend(asked: str, key: bool, service_url: str | None) -> str:
    if asked == "auto":
        return "serverless" if key or service_url else "embedded"
    if asked == "serverless" and not (key or service_url):
        raise ConfigurationError(
            "--backend serverless needs WANDB_API_KEY; without a key use --backend embedded"
        )
    return asked


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    both = {
        name: _merged(base[name], over[name])
        for name in base.keys() & over.keys()
        if isinstance(base[name], Mapping) and isinstance(over[name], Mapping)
    }
    return {**base, **over, **both}


def _settings_file(path: Path) -> dict[str, Any]:
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
        found = tomllib.loads(text) if path.suffix == ".toml" else yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, yaml.YAMLError) as trouble:
        raise ConfigurationError(f"--config {path}: cannot be read: {trouble}") from trouble
    if not isinstance(found, dict):
        raise ConfigurationError(
            f"--config {path}: must be a table of settings, such as 'learning_rate: 1e-5'"
        )
    return found


def plan(config: TrainingConfig, name: str) -> str:
    """The plan of a run in words and numbers."""
    counts = {
        split: _count(config.scenarios / split, getattr(config, f"{split}_limit"))
        for split in ("train", "val", "test")
    }
    validations = 1 + -(-config.steps // config.validate_every)
    episodes = {
        "training": config.steps * config.groups_per_step * config.rollouts_per_group,
        "validation": validations * counts["val"] * (1 + config.val_samples),
        "tests before and after": 2 * counts["test"] * (1 + config.test_samples),
    }
    total = sum(episodes.values())
    calls = total * config.episode.max_turns
    tokens = total * _episode_tokens(config.episode)
    where = {
        "serverless": config.service_url or "W&B's serverless service",
        "embedded": "a training service started here, on loopback",
        "local": "ART's LocalBackend, on your GPU",
    }[config.backend]
    limit = f", at most {config.max_minutes:g} minutes of training" if config.max_minutes is not None else ""
    lines = [
        f"run        {name}, in {config.runs / name}",
        f"backend    {config.backend}: {where}",
        f"model      {config.base_model}, judged by {config.judge}",
        "scenarios  "
        + ", ".join(f"{count} {split}" for split, count in counts.items())
        + f" ({config.scenarios})",
        f"steps      {config.steps} of {config.groups_per_step} x {config.rollouts_per_group} episodes{limit}",
        "episodes   " + ", ".join(f"{count:,} {what}" for what, count in episodes.items()),
        f"at most    {calls:,} calls of the policy, {total:,} of the judge, {tokens:,} tokens of the policy",
        "cost       " + _cost(config, tokens),
    ]
    if not counts["train"]:
        lines.append(
            f"missing    {config.scenarios / 'train'} holds no scenario-*.json; run: python -m chaos generate --help"
        )
    return "\n".join(lines)


def _count(folder: Path, limit: int | None) -> int:
    found = len(list(folder.glob("scenario-*.json")))
    return found if limit is None else min(found, limit)


def _episode_tokens(episode: EpisodeConfig) -> int:
    """Prompt and completion tokens of an episode that uses every turn, every token of a reply and of a
    result.
    """
    opening = OPENING_TOKENS * (3 if episode.prompt == "full" else 1)
    turn = episode.max_completion_tokens + episode.tool_budget_tokens
    return sum(opening + turns * turn + episode.max_completion_tokens for turns in range(episode.max_turns))


def _cost(config: TrainingConfig, tokens: int) -> str:
    judge = "" if config.judge == "offline" else f"; the judge {config.judge} charges as its provider does"
    if config.backend in ("embedded", "local"):
        return f"nothing, it runs here{judge}"
    if config.usd_per_million_tokens is None:
        return f"unknown: give --usd-per-million-tokens what your plan charges{judge}"
    price = config.usd_per_million_tokens
    return f"at most {tokens * price / 1e6:,.2f} USD at {price:g} USD per million tokens{judge}"
