"""The settings of a training run: where each comes from, and what a flag is called.

In rising order: the defaults of `TrainingConfig`, what the embedded backend changes, the run that is resumed,
a file, flags. The flags are made from the fields, so that there is one list of knobs.
Not here: what the settings will cost (`training_runs.plan`).
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
    | {"runs", "scenarios", "database", "usd_per_million_tokens", "executor", "address", "workers"}
)
"""Settings that a resumed run may change and still be the same run."""


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
        changed = embedded.get(name, field.default) != field.default
        default = _shown(field.default) + (f", embedded {_shown(embedded[name])}" if changed else "")
        words = " ".join((field.description or "").split()).removesuffix(".")
        described = f"{words} (default {default})".replace("%", "%%")  # argparse formats it
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
    """Return the settings of a run. `auto` becomes the backend it stands for.

    `saved` are those of the run that is resumed. Of the environment, WANDB_API_KEY decides what `auto` is (an
    empty one is none) and JUDGE_MODEL names the default judge.

    Raises:
        ConfigurationError: a file or a value is wrong, or a resumed run would become another run.
    """
    from_file = _settings_file(arguments.config) if arguments.config else {}
    given = _merged(saved or {}, _merged(from_file, _from_flags(arguments)))
    asked, key = str(given.get("backend", "auto")), bool(environment.get("WANDB_API_KEY"))
    given["backend"] = backend = _backend(asked, key, given.get("service_url"))
    preset: dict[str, Any] = dict(EMBEDDED_TRAINING) if backend == "embedded" else {}
    if judge := environment.get("JUDGE_MODEL"):
        preset["judge"] = judge
    try:
        config = TrainingConfig.model_validate(_merged(preset, given))
    except ValidationError as trouble:
        raise _refusal(trouble) from trouble
    if config.max_staleness and config.backend == "local":
        raise ConfigurationError(
            "--max-staleness: --backend local plays and trains in turn, on one GPU; leave it at 0"
        )
    if saved is not None:
        _refuse_another_run(TrainingConfig.model_validate(saved), config)
    return config


def _from_flags(arguments: argparse.Namespace) -> dict[str, Any]:
    flags: dict[str, Any] = {"episode": {}}
    for dest, value in vars(arguments).items():
        meant = None if value == "none" else value
        if dest.startswith("episode."):
            flags["episode"][dest.removeprefix("episode.")] = meant
        elif dest in TrainingConfig.model_fields:
            flags[dest] = meant
    return flags


def _refusal(trouble: ValidationError) -> ConfigurationError:
    """Return what to say about the first value that is wrong."""
    first = trouble.errors(include_url=False)[0]
    name = str(first["loc"][-1])
    if first["type"] == "extra_forbidden":  # flags are argparse's to refuse
        known = TrainingConfig.model_fields.keys() | EpisodeConfig.model_fields.keys()
        meant = "".join(f"; did you mean {close!r}?" for close in get_close_matches(name, sorted(known), 1))
        return ConfigurationError(f"--config: no setting is called {name!r}{meant}")
    flag = "--" + name.replace("_", "-")
    return ConfigurationError(f"{flag}: {first['msg']} (got {first['input']!r}); see --help")


def _refuse_another_run(old: TrainingConfig, new: TrainingConfig) -> None:
    changed = [name for name in TrainingConfig.model_fields if getattr(old, name) != getattr(new, name)]
    if refused := sorted(set(changed) - MAY_CHANGE):
        raise ConfigurationError(
            f"--resume cannot change {', '.join(refused)}; start a new run with another --name"
        )


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
