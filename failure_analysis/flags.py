"""The flags of every command of this room. They are parsed before anything heavy is imported."""

from __future__ import annotations

import argparse
from pathlib import Path

from core.command_line import (
    RUN,
    database_flag,
    failures_flag,
    json_flag,
    limit_flag,
    positive,
    run_flag,
    runs_flag,
)
from core.policies.registry import add_flags as reach_flags
from core.policies.registry import policy_flag
from failure_analysis.model_flags import model_flags


def capture(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `capture`."""
    parser.add_argument("run", metavar="RUN", help="a run, a folder of runs, or a JSONL file of episodes")
    failures_flag(parser, default=None, otherwise="failures.db beside the run")
    parser.add_argument("--quiet", action="store_true", help="print only what could not be read")
    model_flags(parser)


def ingest(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `ingest`."""
    parser.add_argument(
        "files", nargs="+", metavar="FILE", help="JUnit XML or text of any size; - reads standard input"
    )
    parser.add_argument(
        "--type",
        default="",
        metavar="TYPE",
        help="what a log is of: ci_build, training_run, evaluation, log ...",
    )
    parser.add_argument(
        "--error", default="", metavar="TEXT", help="the error message of a log, when you know it"
    )
    parser.add_argument("--exit-code", action="store_true", help="exit 1 when a failure was found")
    failures_flag(parser)
    # what --failures was called once, for scripts of that time
    parser.add_argument("--database", dest="failures", type=Path, help=argparse.SUPPRESS)
    model_flags(parser)


def analyze(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `analyze`."""
    parser.add_argument("file", metavar="FILE", help="the log; - reads standard input")
    parser.add_argument("--type", default="log", metavar="TYPE", help="what it is of (default log)")
    parser.add_argument("--error", default="", metavar="TEXT", help="the error message")
    parser.add_argument("--code", type=Path, metavar="FILE", help="the code that failed")
    failures_flag(parser)
    model_flags(parser)


def groups(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `groups`."""
    parser.add_argument("--order", choices=["failures", "last_seen", "severity", "trend"], default="failures")
    limit_flag(parser, "groups shown", 20)
    _filters(parser)


def counts(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `counts`."""
    parser.add_argument(
        "--by", choices=["category", "severity", "kind", "type", "fault_type"], default="category"
    )
    parser.add_argument("--bucket", choices=["hour", "day", "week", "step", "all"], default="day")
    _filters(parser)


def _filters(parser: argparse.ArgumentParser) -> None:
    run_flag(parser)
    parser.add_argument("--split", help="only this split")
    parser.add_argument(
        "--type", help="only this type: episode, rollout, training_job, training_run, ci_test, log"
    )
    json_flag(parser)
    failures_flag(parser)


def watch(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `watch`."""
    parser.add_argument(
        "run", metavar="RUN", help="the run that goes on: its folder, or its name below --runs"
    )
    runs_flag(parser)
    parser.add_argument(
        "--every-s",
        type=float,
        default=10.0,
        metavar="SECONDS",
        help="between two looks (default %(default)g)",
    )
    parser.add_argument("--once", action="store_true", help="look once and end")
    parser.add_argument(
        "--within-min",
        type=float,
        default=30.0,
        metavar="MINUTES",
        help="warn of a disk or memory that is full by then (default %(default)g)",
    )
    parser.add_argument(
        "--tests",
        type=Path,
        metavar="FILE",
        help="the growing output of a test run: name tests that failed before",
    )
    parser.add_argument(
        "--alerts", action="store_true", help="send warnings where the dashboard sends its alerts, too"
    )
    failures_flag(parser)


def review(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `review`."""
    parser.add_argument(
        "files",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="code, a configuration, a scenario, or a folder of scenarios",
    )
    json_flag(parser)
    failures_flag(parser)


def suggest(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `suggest`."""
    parser.add_argument(
        "--repo", type=Path, required=True, metavar="DIR", help="the git repository of the code"
    )
    parser.add_argument(
        "--rerun",
        dest="run",
        required=True,
        metavar="COMMAND",
        help="the command that fails, run by a shell in a copy of it",
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--out", type=Path, metavar="FILE", help="write the diff there (default: print it)")
    where.add_argument(
        "--branch", metavar="NAME", help="make a new branch with one commit; nothing is pushed"
    )
    parser.add_argument(
        "--limit-s",
        type=float,
        default=600.0,
        metavar="SECONDS",
        help="time that the command may take (default %(default)g)",
    )
    model_flags(parser)


def feedback(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `feedback`."""
    run_flag(parser)
    limit_flag(parser, "groups told", 5)
    json_flag(parser)
    failures_flag(parser)


def similar(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `similar`."""
    parser.add_argument("asked", metavar="TEXT|ID", help="an error message, or the id of a stored experiment")
    limit_flag(parser, "groups shown", 10)
    json_flag(parser)
    failures_flag(parser)


def compare(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `compare`."""
    parser.add_argument("before", metavar=RUN, help="a captured run, named from the folder of failures.db")
    parser.add_argument("after", metavar=RUN, help="what it is compared with")
    parser.add_argument("--split", help="only this split (default test for training runs)")
    parser.add_argument("--sampling", help="t0 or t1 (default t0 for training runs)")
    json_flag(parser)
    failures_flag(parser)


def hardest(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `hardest`."""
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="JSON file to write")
    run_flag(parser, "only this run, or this checkpoint of it (default: all)")
    parser.add_argument(
        "--split",
        action="append",
        metavar="SPLIT",
        help="a split that counts; repeatable (default train and val)",
    )
    failures_flag(parser)


def intervene(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `intervene`."""
    parser.add_argument(
        "--episode",
        required=True,
        metavar="ID|FILE:LINE",
        help="a captured episode's id, or a line of a JSONL file",
    )
    parser.add_argument(
        "--turn", required=True, type=positive, metavar="N", help="the reply that is changed; the first is 1"
    )
    change = parser.add_mutually_exclusive_group(required=True)
    change.add_argument("--replace-result", type=Path, metavar="FILE", help="what the tool says instead")
    change.add_argument(
        "--replace-call", metavar="JSON", help='another call instead: {"name": ..., "arguments": {...}}'
    )
    policy_flag(parser)
    parser.add_argument(
        "--k", type=positive, default=8, metavar="N", help="times each side is played (default %(default)s)"
    )
    parser.add_argument(
        "--judge", default="offline", metavar="NAME", help="offline, or a registered judge (default offline)"
    )
    parser.add_argument(
        "--scenarios", type=Path, metavar="DIR", help="folder of the scenario (default: where the run had it)"
    )
    database_flag(parser, "one that holds this scenario (default: built for it)")
    parser.add_argument(
        "--temperature",
        type=float,
        default=1.0,
        metavar="T",
        help="sampling temperature (default %(default)g)",
    )
    parser.add_argument(
        "--concurrency",
        type=positive,
        default=8,
        metavar="N",
        help="episodes under way at once (default %(default)s)",
    )
    parser.add_argument(
        "--rules",
        choices=["embedded", "general", "run"],
        default="run",
        help="rules of the episode (default: its run's)",
    )
    json_flag(parser)
    failures_flag(parser)
    reach_flags(parser)


def score(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `score`."""
    parser.add_argument(
        "--part",
        choices=["score", "rules"],
        default="score",
        help="rules: the part the rules were written from",
    )
    parser.add_argument("--bar", type=float, default=0.85, help="least accuracy (default %(default)g)")
    json_flag(parser)
    parser.add_argument("--wrong", action="store_true", help="list what was answered wrongly")
    model_flags(parser)
    parser.set_defaults(model="rules")


def repair(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `repair`."""
    failures_flag(parser)
    model_flags(parser)
