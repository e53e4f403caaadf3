"""`python -m failure_analysis COMMAND`: take in what failed, explain it, add it up, and act on it.

Only arguments are parsed here; each command's module is imported once they are known to be good.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from core.command_line import (
    RUN,
    Command,
    Room,
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
from core.rooms import rooms
from failure_analysis.model_flags import model_flags


def _capture(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="a run, a folder of runs, or a JSONL file of episodes")
    failures_flag(parser, default=None, otherwise="failures.db beside the run")
    parser.add_argument("--quiet", action="store_true", help="print only what could not be read")
    model_flags(parser)


def _ingest(parser: argparse.ArgumentParser) -> None:
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


def _analyze(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="the log; - reads standard input")
    parser.add_argument("--type", default="log", metavar="TYPE", help="what it is of (default log)")
    parser.add_argument("--error", default="", metavar="TEXT", help="the error message")
    parser.add_argument("--code", type=Path, metavar="FILE", help="the code that failed")
    failures_flag(parser)
    model_flags(parser)


def _groups(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--order", choices=["failures", "last_seen", "severity", "trend"], default="failures")
    limit_flag(parser, "groups shown", 20)
    _filters(parser)


def _counts(parser: argparse.ArgumentParser) -> None:
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


def _watch(parser: argparse.ArgumentParser) -> None:
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


def _review(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "files",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="code, a configuration, a scenario, or a folder of scenarios",
    )
    json_flag(parser)
    failures_flag(parser)


def _suggest(parser: argparse.ArgumentParser) -> None:
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


def _feedback(parser: argparse.ArgumentParser) -> None:
    run_flag(parser)
    limit_flag(parser, "groups told", 5)
    json_flag(parser)
    failures_flag(parser)


def _similar(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("asked", metavar="TEXT|ID", help="an error message, or the id of a stored experiment")
    limit_flag(parser, "groups shown", 10)
    json_flag(parser)
    failures_flag(parser)


def _compare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("before", metavar=RUN, help="a captured run, named from the folder of failures.db")
    parser.add_argument("after", metavar=RUN, help="what it is compared with")
    parser.add_argument("--split", help="only this split (default test for training runs)")
    parser.add_argument("--sampling", help="t0 or t1 (default t0 for training runs)")
    json_flag(parser)
    failures_flag(parser)


def _hardest(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="JSON file to write")
    run_flag(parser, "only this run, or this checkpoint of it (default: all)")
    parser.add_argument(
        "--split",
        action="append",
        metavar="SPLIT",
        help="a split that counts; repeatable (default train and val)",
    )
    failures_flag(parser)


def _intervene(parser: argparse.ArgumentParser) -> None:
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


def _score(parser: argparse.ArgumentParser) -> None:
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


def _repair(parser: argparse.ArgumentParser) -> None:
    failures_flag(parser)
    model_flags(parser)


AGGREGATES = "failure_analysis.aggregate_commands"
CAPTURE_EXAMPLES = """\
examples:
  python -m failure_analysis capture runs/seed1
  python -m failure_analysis capture runs                  every run in a folder
  python -m failure_analysis capture runs/eval/episodes.jsonl --failures /tmp/failures.db

Writes failures.db and failures/*.txt beside the run (runs/failures.db for runs/seed1), never into it."""
INGEST_EXAMPLES = """\
examples:
  python -m failure_analysis ingest build/junit.xml --failures build/failures.db
  python -m failure_analysis ingest service.log --type training_run
  make test 2>&1 | python -m failure_analysis ingest -

A JUnit file gives one failure per failed test case; a log is one failure, explained from its end."""
ANALYZE_EXAMPLES = """\
example:
  python -m failure_analysis analyze service.log --type training_job --error 'CUDA out of memory'"""
GROUPS_EXAMPLES = """\
examples:
  python -m failure_analysis groups
  python -m failure_analysis groups --run seed1@40 --split test --order trend"""
COUNTS_EXAMPLES = """\
example:
  python -m failure_analysis counts --by kind --bucket step --run seed1"""
SIMILAR_EXAMPLES = """\
example:
  python -m failure_analysis similar 'no space left on device'"""
COMPARE_EXAMPLES = """\
examples:
  python -m failure_analysis compare seed1@0 seed1@40
  python -m failure_analysis compare eval-base eval-tiny"""
HARDEST_EXAMPLES = """\
example:
  python -m failure_analysis hardest --out request.json

then: python -m chaos generate --split train --count 192 --seed 7 --out more/train --request request.json

Weights are failure rates, smoothed, relative to the mean. Episodes of the test split and of unseen faults are
left out, so that what measures a model never shapes what it learns from."""
INTERVENE_EXAMPLES = """\
examples:
  python -m failure_analysis intervene --episode runs/eval/episodes.jsonl:17 --turn 2 \\
      --replace-result better.txt --policy litellm:openai/gpt-4.1-mini --k 8
  python -m failure_analysis intervene --episode 0f3a... --turn 1 --policy embedded:seed1@step40 \\
      --replace-call '{"name": "search_logs", "arguments": {"min_level": "WARN"}}'

The unchanged episode is played on from the same turn as often, so that both sides differ in one thing."""
SCORE_EXAMPLES = """\
examples:
  python -m failure_analysis score
  python -m failure_analysis score --model openai/gpt-4.1-mini"""
REPAIR_EXAMPLES = """\
example:
  python -m failure_analysis repair --failures runs/failures.db"""
ROOM_EXAMPLES = """\
examples:
  python -m failure_analysis capture runs/seed1          every failed episode, rollout and training job
  python -m failure_analysis ingest build/junit.xml      a JUnit file or any log
  python -m failure_analysis groups --failures runs/failures.db
  python -m failure_analysis compare seed1@0 seed1@40    which failures training fixed and introduced
  python -m failure_analysis hardest --out request.json  what fails most, as a request to chaos generate"""

ROOM = Room(
    "failure_analysis",
    "captures, explains, groups and counts failures of episodes, training runs and CI",
    (
        Command(
            "capture",
            "take in every failed episode, rollout and training job of a run; again: only what is new",
            "failure_analysis.capture_command",
            _capture,
            CAPTURE_EXAMPLES,
        ),
        Command(
            "ingest",
            "take in log files and JUnit XML of any origin",
            "failure_analysis.logs.ingest_command",
            _ingest,
            INGEST_EXAMPLES,
        ),
        Command(
            "analyze",
            "explain one log and store nothing; print JSON",
            "failure_analysis.logs.analyze_command",
            _analyze,
            ANALYZE_EXAMPLES,
        ),
        Command(
            "groups",
            "list groups of alike failures with counts, first and last seen, and trend",
            AGGREGATES,
            _groups,
            GROUPS_EXAMPLES,
        ),
        Command(
            "counts",
            "count failures by category, severity or kind over time",
            AGGREGATES,
            _counts,
            COUNTS_EXAMPLES,
        ),
        Command(
            "watch",
            "warn while a run goes on: loss, reward, disk, memory, tests that failed before",
            "failure_analysis.prediction.watch_command",
            _watch,
            "examples:\n"
            "  python -m failure_analysis watch seed1\n"
            "  python -m failure_analysis watch seed1 --once               exit 1 when there is a warning\n"
            "  python -m failure_analysis watch seed1 --tests build/pytest.log --alerts\n\n"
            "It ends when the run does. It stops nothing.",
        ),
        Command(
            "review",
            "say what in this code, configuration or scenario set has failed before; exit 1 when something has",
            "failure_analysis.review_command",
            _review,
            "examples:\n"
            "  python -m failure_analysis review train.py config.yaml\n"
            "  python -m failure_analysis review log_scenarios/val\n\n"
            "Nothing is run. Groups that were marked as fixed are named and do not count.",
        ),
        Command(
            "suggest",
            "look for an edit with which a failing command passes, and give it as a diff or a branch",
            "failure_analysis.suggesting.suggest_command",
            _suggest,
            "examples:\n"
            "  python -m failure_analysis suggest --repo . --rerun 'pytest -q tests/test_cart.py'\n"
            "  python -m failure_analysis suggest --repo . --rerun make --branch mend-the-build\n"
            "  python -m failure_analysis suggest --repo . --rerun 'pytest -q' --model openai/gpt-4.1-mini --out fix.diff\n\n"
            "The repository is only read; edits are tried in a copy. With --model, edits of a model are tried by running the\n"
            "command on them, so use it where you would run a stranger's patch.",
        ),
        Command(
            "feedback",
            "print what failed before as a text for a prompt",
            "failure_analysis.feedback",
            _feedback,
            "examples:\n"
            "  python -m failure_analysis feedback\n"
            "  python -m failure_analysis feedback --run seed1 --json\n\n"
            "Episodes of the test split are left out. The same is told to the model that explains failures.",
        ),
        Command(
            "similar",
            "find the stored failures most like a message or a stored failure",
            AGGREGATES,
            _similar,
            SIMILAR_EXAMPLES,
        ),
        Command(
            "compare",
            "say which failures were fixed and which introduced from one checkpoint or run to another",
            AGGREGATES,
            _compare,
            COMPARE_EXAMPLES,
        ),
        Command(
            "hardest",
            "turn what fails most into a request for more such scenarios",
            "failure_analysis.episodes.hardest",
            _hardest,
            HARDEST_EXAMPLES,
        ),
        Command(
            "intervene",
            "replace one tool result or one turn of a stored episode, play on k times, measure what changed",
            "failure_analysis.episodes.intervene_command",
            _intervene,
            INTERVENE_EXAMPLES,
        ),
        Command(
            "score",
            "measure the analyzer on labelled failures: category and severity; exit 1 below the bar",
            "failure_analysis.logs.scoring",
            _score,
            SCORE_EXAMPLES,
        ),
        Command(
            "repair",
            "put a damaged failures.db aside and capture the runs beside it again",
            "failure_analysis.repair",
            _repair,
            REPAIR_EXAMPLES,
        ),
    ),
    ROOM_EXAMPLES,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns 2 for bad use, 1 when a bar is missed, else 0."""
    given = list(sys.argv[1:] if argv is None else argv)
    if given[:1] == ["serve"]:
        print("note: this command has moved; type: python -m dashboard serve", file=sys.stderr)
        return rooms()["dashboard"].main(given)
    return ROOM.main(given)


if __name__ == "__main__":
    sys.exit(main())
