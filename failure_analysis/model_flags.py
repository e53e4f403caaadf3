"""The flags that name the model which explains failures; whoever explains has them."""

from __future__ import annotations

import argparse

from core.command_line import positive


def model_flags(parser: argparse.ArgumentParser) -> None:
    """Add `--model`, `--api-base`, `--max-tokens` and `--timeout-s`."""
    parser.add_argument(
        "--model",
        metavar="NAME",
        help="a model litellm reaches, or served:production (python -m alignment serve), asked once per group; "
        "default: FAILURE_ANALYSIS_MODEL, else rules",
    )
    parser.add_argument(
        "--api-base",
        metavar="URL",
        help="an OpenAI-compatible server, with --model openai/NAME, or that of served:NAME",
    )
    parser.add_argument(
        "--max-tokens",
        type=positive,
        default=1024,
        metavar="N",
        help="tokens of one answer (default %(default)s)",
    )
    parser.add_argument(
        "--timeout-s",
        type=float,
        default=30.0,
        metavar="SECONDS",
        help="time one answer may take (default %(default)g)",
    )
