"""`python -m log_investigator_env serve`: the scenarios as an OpenEnv server.

Only arguments are parsed here. The other adapters are started by the tools they are for (docs/trainers.md).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from core.command_line import Command, Room, database_flag, positive


def _serve(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--split", default="train", metavar="SPLIT|DIR", help="train, val, test or a folder (default train)"
    )
    database_flag(parser, "built when missing (default logs.db)", Path("logs.db"))
    parser.add_argument(
        "--rules",
        choices=["general", "full", "embedded"],
        default="general",
        help="general: two tools; full: every tool; embedded: for a small model (default general)",
    )
    parser.add_argument(
        "--judge", default="offline", metavar="NAME", help="offline, or a registered judge (default offline)"
    )
    parser.add_argument(
        "--port", type=int, default=8000, metavar="N", help="loopback port; 0 for any (default %(default)s)"
    )
    parser.add_argument(
        "--sessions", type=positive, default=64, metavar="N", help="episodes at once (default %(default)s)"
    )


EXAMPLES = """\
examples:
  python -m log_investigator_env serve --split train --port 8000
  python -m log_investigator_env serve --split my_scenarios --rules embedded --port 0

It listens on loopback only, because the protocol knows no token. It runs in an environment that has openenv:
make trainers, then .venv-openenv/bin/python -m log_investigator_env serve ..."""

ROOM = Room(
    "log_investigator_env",
    "the same environment for verifiers, TRL, Inspect and OpenEnv",
    (
        Command(
            "serve",
            "serve the scenarios over OpenEnv",
            "log_investigator_env.serve_command",
            _serve,
            EXAMPLES,
        ),
    ),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns 2 for bad use, 1 when something failed, else 0."""
    return ROOM.main(argv)


if __name__ == "__main__":
    sys.exit(main())
