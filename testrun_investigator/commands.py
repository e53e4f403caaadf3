"""The flags of every command of this room. They are parsed before anything heavy is imported."""

from __future__ import annotations

import argparse
from pathlib import Path

from core.command_line import hints_flag, json_flag, limit_flag, seconds
from core.policies.registry import add_flags as model_flags
from core.policies.registry import policy_flag
from testrun_investigator.server import add_flags as serve_flags

SESSIONS = Path("runs/testrun_sessions")
"""Where `ask` and `watch` store episodes."""
POLICY = "script:sre"
"""Needs no model. A model that reads (litellm:..., served:...) does better."""


def doctor_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `doctor`."""
    parser.add_argument(
        "--test-run", dest="run", metavar="RUN_ID", help="also try to read this run from Argus"
    )


def configure_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `configure`."""
    parser.add_argument(
        "--folder", type=Path, default=Path(), metavar="DIR", help="project folder (default: here)"
    )
    parser.add_argument(
        "--python", metavar="PATH", help="start this Python instead of `uv run`, e.g. .venv/bin/python"
    )


def demo_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `demo`."""
    parser.add_argument("--plot", default="disk-full", metavar="NAME", help="which run (default disk-full)")
    parser.add_argument("--seed", type=int, default=1, help="another run of the same plot (default 1)")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep the run and the cache in this folder")


def ask_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `ask`."""
    parser.add_argument("run_id", metavar="RUN_ID", help="the run's UUID")
    parser.add_argument("question", nargs="?", default="why did it fail?", help='default "why did it fail?"')
    policy_flag(parser, default=POLICY)
    hints_flag(parser)
    parser.add_argument("--seed", type=int, default=1, help="dice of a script or a model (default 1)")
    parser.add_argument(
        "--out", type=Path, default=SESSIONS, metavar="DIR", help=f"episodes (default {SESSIONS})"
    )
    json_flag(parser)
    model_flags(parser)


def watch_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `watch`."""
    parser.add_argument(
        "tests", nargs="+", metavar="TEST_ID", help="tests whose runs are watched, UUIDs of Argus"
    )
    policy_flag(parser, default=POLICY)
    parser.add_argument("--seed", type=int, default=1, help="dice of a script or a model (default 1)")
    parser.add_argument(
        "--every", type=seconds, default=300.0, metavar="SECONDS", help="between two looks (default 300)"
    )
    parser.add_argument("--once", action="store_true", help="look once and stop")
    parser.add_argument(
        "--out", type=Path, default=SESSIONS, metavar="DIR", help=f"episodes (default {SESSIONS})"
    )
    limit_flag(parser, "newest runs of each test", 10)
    model_flags(parser)


def ingest_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `ingest`."""
    parser.add_argument("run_id", metavar="RUN_ID", help="the run's UUID")
    parser.add_argument(
        "source", nargs="+", help="archives or logs: a URL, a path, or a log's name as Argus has it"
    )
    parser.add_argument(
        "--follow", action="store_true", help="go on reading as plain logs grow, until Ctrl-C"
    )
    parser.add_argument(
        "--every",
        type=seconds,
        default=2.0,
        metavar="SECONDS",
        help="between two looks with --follow (default 2)",
    )
    parser.add_argument(
        "--node", default="", metavar="NAME", help="node of a bare log, where its path does not say"
    )


def runs_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `runs`."""
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the runs")
    parser.add_argument(
        "--plot", action="append", default=[], metavar="NAME", help="only this one; may be repeated"
    )
    parser.add_argument("--seed", type=int, default=1, help="another run of each plot (default 1)")
    parser.add_argument("--noise", type=float, default=1.0, help="times the everyday lines (default 1)")


def cache_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `cache`."""
    parser.add_argument(
        "what", choices=("show", "clear"), help="show sizes, or delete what can be read again"
    )
    parser.add_argument("--test-run", dest="run", metavar="RUN_ID", help="only this run")
    parser.add_argument("--all", action="store_true", help="with clear: findings and sessions too")


__all__ = ["serve_flags"]
