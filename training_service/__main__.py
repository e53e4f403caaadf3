"""`python -m training_service serve`: the command line. It checks the arguments before it loads anything
heavy.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal

from core.serving.listening import bind, is_loopback
from project_types import ConfigurationError, InvestigatorError
from training_service.engine import OpenEngine

DEFAULT_TOKEN = "local"
MIN_TOKEN_CHARACTERS = 16
EPILOG = """
examples:
  python -m training_service serve
      serve tiny-investigator on a free loopback port and print 'listening on http://127.0.0.1:PORT' when ready
  python -m training_service serve --port 8765 --data runs/service --base-models tiny-investigator qwen=/models/Qwen3-0.6B
      serve two base models; clients name the second one 'qwen'
  TRAINING_SERVICE_TOKEN=$(openssl rand -hex 16) python -m training_service serve --host 0.0.0.0 --port 8765
      let other machines in; they send the token

clients: art.serverless.ServerlessBackend(api_key="local", base_url="http://127.0.0.1:PORT/v1"), or the openai SDK
with the same two arguments. The weights live in --data; a second start goes on from there.
"""


def parser() -> argparse.ArgumentParser:
    """Every flag, with what it is for."""
    top = argparse.ArgumentParser(
        prog="python -m training_service",
        description="A local service that speaks the wire protocol of ART's ServerlessBackend: inference and GRPO, no key.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=EPILOG,
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="serve")
    flags = commands.add_parser(
        "serve",
        help="run the service until SIGINT or SIGTERM",
        description=top.description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=EPILOG,
    )
    flags.add_argument(
        "--data",
        type=Path,
        default=Path("runs/training_service"),
        metavar="DIR",
        help="models and database (default %(default)s)",
    )
    flags.add_argument("--port", type=int, default=0, help="port, 0 for any free one (default)")
    flags.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on (default %(default)s; others need a token of your own)",
    )
    flags.add_argument(
        "--token",
        default=os.environ.get("TRAINING_SERVICE_TOKEN", DEFAULT_TOKEN),
        help="bearer token clients must send; better set as TRAINING_SERVICE_TOKEN (default 'local')",
    )
    flags.add_argument(
        "--base-models",
        nargs="+",
        default=["tiny-investigator"],
        metavar="NAME",
        help="a shipped name, a local Hugging Face folder, or NAME=FOLDER (default tiny-investigator)",
    )
    flags.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default auto)")
    flags.add_argument(
        "--precision",
        choices=("auto", "float32", "bfloat16"),
        default="auto",
        help="arithmetic of training; auto times both at the start and takes the faster one (default %(default)s)",
    )
    flags.add_argument(
        "--gradient-steps",
        type=int,
        default=1,
        metavar="N",
        help="optimizer steps per training job (default %(default)s)",
    )
    flags.add_argument("--parent-pid", type=int, metavar="PID", help="end when this process ends")
    flags.add_argument(
        "--grace-s",
        type=float,
        default=30.0,
        help="seconds a job may take to end after a signal (default %(default)s)",
    )
    flags.add_argument(
        "--max-job-mib", type=int, default=256, help="largest training job body (default %(default)s)"
    )
    flags.add_argument("--max-chat-mib", type=int, default=8, help="largest chat body (default %(default)s)")
    flags.add_argument(
        "--min-free-mib",
        type=int,
        default=512,
        help="refuse jobs when less disk is free (default %(default)s)",
    )
    flags.add_argument("--log-file", type=Path, metavar="FILE", help="log there instead of to stderr")
    return top


def main(argv: Sequence[str] | None = None, open_engine: OpenEngine | None = None) -> int:
    """Parse, bind, load, serve. `open_engine` replaces the real engine (tests/fakes/engine.py does)."""
    arguments = parser().parse_args(argv)
    try:
        _check(arguments)
        logging.basicConfig(
            level=logging.INFO,
            filename=arguments.log_file,
            format="%(asctime)s %(levelname)s %(name)s: %(message)s",
            force=True,
        )
        return _serve(arguments, open_engine)
    except InvestigatorError as trouble:
        print(f"training_service: {trouble}", file=sys.stderr)
        return 2


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
    for flag in ("max_job_mib", "max_chat_mib", "grace_s", "gradient_steps"):
        if getattr(arguments, flag) <= 0:
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
    opener = open_engine or _real_engine(arguments.precision, arguments.gradient_steps)
    return serve(options, partial(opener, arguments.base_models, arguments.device), listener)


def _real_engine(precision: Literal["auto", "float32", "bfloat16"], gradient_steps: int) -> OpenEngine:
    try:
        from training_service.local_engine import open_engine as real
    except ModuleNotFoundError as missing:
        raise ConfigurationError(
            f"training needs {missing.name}; run: pip install -e '.[train]'"
        ) from missing
    return partial(real, precision=precision, gradient_steps=gradient_steps)


if __name__ == "__main__":
    sys.exit(main())
