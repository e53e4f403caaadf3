"""The command behind `python -m training_service serve`: check the settings, bind, load, serve."""

from __future__ import annotations

import argparse
import logging
from functools import partial

from core.serving.listening import bind, is_loopback
from project_types import ConfigurationError
from training_service.engine import OpenEngine

DEFAULT_TOKEN = "local"
MIN_TOKEN_CHARACTERS = 16


def command(arguments: argparse.Namespace) -> int:
    """Serve until a signal comes. `arguments.open_engine` replaces the real engine where it is set."""
    _check(arguments)
    logging.basicConfig(
        level=logging.INFO,
        filename=arguments.log_file,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        force=True,
    )
    return _serve(arguments, arguments.open_engine)


def _check(arguments: argparse.Namespace) -> None:
    """Raises ConfigurationError for settings that contradict each other."""
    token: str = arguments.token
    if not token or not token.isascii() or any(character.isspace() for character in token):
        raise ConfigurationError("--token: must be printable ASCII without spaces")
    if not is_loopback(arguments.host) and (token == DEFAULT_TOKEN or len(token) < MIN_TOKEN_CHARACTERS):
        raise ConfigurationError(
            f"--host {arguments.host} lets other machines in, so it needs a token of your own of at least {MIN_TOKEN_CHARACTERS} "
            "characters: TRAINING_SERVICE_TOKEN=$(openssl rand -hex 16)"
        )
    for flag in ("max_job_mib", "max_chat_mib", "grace_s", "gradient_steps", "max_context"):
        if getattr(arguments, flag) is not None and getattr(arguments, flag) <= 0:
            raise ConfigurationError(f"--{flag.replace('_', '-')}: must be above 0")


def _serve(arguments: argparse.Namespace, open_engine: OpenEngine | None) -> int:
    try:
        from training_service.app import Limits
        from training_service.server import ServeOptions, serve
    except ModuleNotFoundError as missing:
        raise ConfigurationError(
            f"the service needs {missing.name}; run: pip install -e '.[train]'"
        ) from missing
    options = ServeOptions(
        data=arguments.data,
        token=arguments.token,
        host=arguments.host,
        port=arguments.port,
        limits=Limits(job_bytes=arguments.max_job_mib << 20, chat_bytes=arguments.max_chat_mib << 20),
        min_free_bytes=arguments.min_free_mib << 20,
        grace_s=arguments.grace_s,
        parent_pid=arguments.parent_pid,
    )
    listener = bind(options.host, options.port)
    opener = open_engine or _real_engine(arguments)
    return serve(options, partial(opener, arguments.base_models, arguments.device), listener)


def _real_engine(arguments: argparse.Namespace) -> OpenEngine:
    try:
        from training_service.local_engine import open_engine as real
    except ModuleNotFoundError as missing:
        raise ConfigurationError(
            f"training needs {missing.name}; run: pip install -e '.[train]'"
        ) from missing
    return partial(
        real,
        precision=arguments.precision,
        gradient_steps=arguments.gradient_steps,
        max_context=arguments.max_context,
    )
