"""`python -m failure_analysis COMMAND`: take in what failed, explain it, add it up, and act on it.

Only arguments are parsed here; each command's module is imported once they are known to be good.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import TypeAlias

from core.policies.registry import FORMS
from core.policies.registry import add_flags as reach_flags
from project_types import InvestigatorError

EXAMPLES = """examples:
  python -m failure_analysis capture runs/seed1              every failed episode, rollout and training job of a run
  python -m failure_analysis ingest build/junit.xml          a JUnit file or any log
  python -m failure_analysis groups --database runs/failures.db
  python -m failure_analysis compare seed1@0 seed1@40        which failures a training run fixed and introduced
  python -m failure_analysis hardest --out request.json      then: python -m chaos generate --request request.json ...

Run `python -m failure_analysis COMMAND --help` for the flags of one command."""
DATABASE = Path("runs/failures.db")

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m failure_analysis",
        description="Why did it fail? Captures, explains, groups and counts failures of episodes, training runs and CI.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for add in COMMANDS:
        add(commands)
    return parser


def _command(commands: Commands, name: str, about: str, epilog: str = "") -> argparse.ArgumentParser:
    return commands.add_parser(
        name,
        help=about,
        description=about[0].upper() + about[1:] + ".",
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def _model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model",
        metavar="NAME",
        help="a model litellm reaches, asked once per group of failures; default: FAILURE_ANALYSIS_MODEL, else rules",
    )
    parser.add_argument(
        "--api-base", metavar="URL", help="an OpenAI-compatible server, with --model openai/NAME"
    )
    parser.add_argument(
        "--max-tokens", type=positive, default=1024, help="tokens of one answer (default %(default)s)"
    )
    parser.add_argument(
        "--timeout-s", type=float, default=30.0, help="seconds one answer may take (default %(default)g)"
    )


def _database(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--database", type=Path, default=DATABASE, metavar="FILE", help="default %(default)s")


def _capture(commands: Commands) -> None:
    parser = _command(
        commands,
        "capture",
        "take in every failed episode, failed rollout and failed training job of a run; again: only what is new",
        "examples:\n"
        "  python -m failure_analysis capture runs/seed1\n"
        "  python -m failure_analysis capture runs                  every run in a folder\n"
        "  python -m failure_analysis capture runs/eval/episodes.jsonl --database /tmp/failures.db\n\n"
        "Writes failures.db and failures/*.txt beside the run (runs/failures.db for runs/seed1), never into it.",
    )
    parser.add_argument(
        "path", type=Path, metavar="RUN_DIR", help="a run, a folder of runs, or a JSONL file of episodes"
    )
    parser.add_argument("--database", type=Path, metavar="FILE", help="default: failures.db beside the run")
    parser.add_argument("--quiet", action="store_true", help="print only what could not be read")
    _model(parser)
    parser.set_defaults(module="failure_analysis.capture_command")


def _ingest(commands: Commands) -> None:
    parser = _command(
        commands,
        "ingest",
        "take in log files and JUnit XML of any origin",
        "examples:\n"
        "  python -m failure_analysis ingest build/junit.xml --database build/failures.db\n"
        "  python -m failure_analysis ingest service.log --type training_run\n"
        "  make test 2>&1 | python -m failure_analysis ingest -\n\n"
        "A JUnit file gives one failure per failed test case; a log is one failure, explained from its end.",
    )
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
    _database(parser)
    _model(parser)
    parser.set_defaults(module="failure_analysis.logs.ingest_command")


def _analyze(commands: Commands) -> None:
    parser = _command(
        commands,
        "analyze",
        "explain one log and store nothing; prints JSON",
        "example:\n  python -m failure_analysis analyze service.log --type training_job --error 'CUDA out of memory'",
    )
    parser.add_argument("file", metavar="FILE", help="the log; - reads standard input")
    parser.add_argument("--type", default="log", metavar="TYPE", help="what it is of (default log)")
    parser.add_argument("--error", default="", metavar="TEXT", help="the error message")
    parser.add_argument("--code", type=Path, metavar="FILE", help="the code that failed")
    _model(parser)
    parser.set_defaults(module="failure_analysis.logs.analyze_command")


def _groups(commands: Commands) -> None:
    parser = _command(
        commands,
        "groups",
        "groups of alike failures with counts, first and last seen, and trend",
        "examples:\n"
        "  python -m failure_analysis groups\n"
        "  python -m failure_analysis groups --run seed1 --split test --order trend",
    )
    parser.add_argument("--order", choices=["failures", "last_seen", "severity", "trend"], default="failures")
    parser.add_argument("--limit", type=positive, default=20, help="groups shown (default %(default)s)")
    _filters(parser)
    parser.set_defaults(module="failure_analysis.aggregate_commands", what="groups")


def _counts(commands: Commands) -> None:
    parser = _command(
        commands,
        "counts",
        "failures by category, severity or kind over time",
        "example:\n  python -m failure_analysis counts --by kind --bucket step --run seed1",
    )
    parser.add_argument(
        "--by", choices=["category", "severity", "kind", "type", "fault_type"], default="category"
    )
    parser.add_argument("--bucket", choices=["hour", "day", "week", "step", "all"], default="day")
    _filters(parser)
    parser.set_defaults(module="failure_analysis.aggregate_commands", what="counts")


def _similar(commands: Commands) -> None:
    parser = _command(
        commands,
        "similar",
        "stored failures most like a message or a stored failure",
        "example:\n  python -m failure_analysis similar 'no space left on device'",
    )
    parser.add_argument("asked", metavar="TEXT|ID", help="an error message, or the id of a stored experiment")
    parser.add_argument("--limit", type=positive, default=10, help="groups shown (default %(default)s)")
    _database(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(module="failure_analysis.aggregate_commands", what="similar")


def _compare(commands: Commands) -> None:
    parser = _command(
        commands,
        "compare",
        "which failures were fixed and which introduced from one checkpoint or run to another",
        "examples:\n"
        "  python -m failure_analysis compare seed1@0 seed1@40\n"
        "  python -m failure_analysis compare eval-base eval-tiny",
    )
    parser.add_argument(
        "before", metavar="RUN[@STEP]", help="a captured run, relative to the database's folder"
    )
    parser.add_argument("after", metavar="RUN[@STEP]", help="what it is compared with")
    parser.add_argument("--split", help="only this split (default test for training runs)")
    parser.add_argument("--sampling", help="t0 or t1 (default t0 for training runs)")
    _database(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(module="failure_analysis.aggregate_commands", what="compare")


def _filters(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--run", help="only this run")
    parser.add_argument("--split", help="only this split")
    parser.add_argument("--step", type=int, help="only this checkpoint")
    parser.add_argument(
        "--type", help="only this type: episode, rollout, training_job, training_run, ci_test, log"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    _database(parser)


def _hardest(commands: Commands) -> None:
    parser = _command(
        commands,
        "hardest",
        "turn what fails most into a request for more such scenarios",
        "example:\n"
        "  python -m failure_analysis hardest --out request.json\n"
        "  python -m chaos generate --split train --count 192 --seed 7 --out more_scenarios/train --request request.json\n\n"
        "Weights are failure rates, smoothed, relative to the mean. Episodes of the test split and of unseen faults are left\n"
        "out, so that what measures a model never shapes what it learns from.",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="JSON file to write")
    parser.add_argument("--run", help="only this run (default: all)")
    parser.add_argument("--step", type=int, help="only this checkpoint")
    parser.add_argument("--splits", default="train,val", help="which splits count (default %(default)s)")
    _database(parser)
    parser.set_defaults(module="failure_analysis.episodes.hardest")


def _intervene(commands: Commands) -> None:
    parser = _command(
        commands,
        "intervene",
        "replace one tool result or one turn of a stored episode, play on from there k times, and measure what changed",
        "examples:\n"
        "  python -m failure_analysis intervene --episode runs/eval/episodes.jsonl:17 --turn 2 --replace-result better.txt \\\n"
        "      --policy litellm:openai/gpt-4.1-mini --k 8\n"
        "  python -m failure_analysis intervene --episode 0f3a... --turn 1 --policy embedded:seed1@step40 \\\n"
        '      --replace-call \'{"name": "search_logs", "arguments": {"min_level": "WARN"}}\'\n\n'
        "The unchanged episode is played on from the same turn as often, so that what is compared differs in one thing only.",
    )
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
    parser.add_argument("--policy", required=True, help=f"who plays on: {FORMS}")
    parser.add_argument(
        "--k", type=positive, default=8, help="times each side is played (default %(default)s)"
    )
    parser.add_argument(
        "--judge", default="offline", metavar="NAME", help="offline, or a registered judge (default offline)"
    )
    parser.add_argument(
        "--scenarios", type=Path, metavar="DIR", help="folder of the scenario (default: where the run had it)"
    )
    parser.add_argument(
        "--logs", type=Path, metavar="FILE", help="a logs.db to search (default: built for this scenario)"
    )
    parser.add_argument(
        "--temperature", type=float, default=1.0, help="sampling temperature (default %(default)g)"
    )
    parser.add_argument(
        "--concurrency", type=positive, default=8, help="episodes under way at once (default %(default)s)"
    )
    parser.add_argument(
        "--rules",
        choices=["embedded", "general", "run"],
        default="run",
        help="rules of the episode (default: its run's)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    _database(parser)
    reach_flags(parser)
    parser.set_defaults(module="failure_analysis.episodes.intervene_command")


def _score(commands: Commands) -> None:
    parser = _command(
        commands,
        "score",
        "measure the analyzer on labelled failures: accuracy of category and severity; exit 1 below the bar",
        "examples:\n  python -m failure_analysis score\n  python -m failure_analysis score --model openai/gpt-4.1-mini",
    )
    parser.add_argument(
        "--part",
        choices=["score", "rules"],
        default="score",
        help="rules: the part the rules were written from",
    )
    parser.add_argument("--bar", type=float, default=0.85, help="least accuracy (default %(default)g)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--wrong", action="store_true", help="list what was answered wrongly")
    _model(parser)
    parser.set_defaults(module="failure_analysis.logs.scoring", model="rules")


def _repair(commands: Commands) -> None:
    parser = _command(
        commands,
        "repair",
        "put a damaged failures.db aside and capture the runs beside it again",
        "example:\n  python -m failure_analysis repair runs/failures.db",
    )
    parser.add_argument("database", type=Path, nargs="?", default=DATABASE, help="default %(default)s")
    _model(parser)
    parser.set_defaults(module="failure_analysis.repair")


def _serve(commands: Commands) -> None:
    parser = _command(
        commands,
        "serve",
        "open the dashboard and its API: training runs live, failures, episodes turn by turn",
        "examples:\n"
        "  python -m failure_analysis serve                           then open http://127.0.0.1:8321\n"
        "  python -m failure_analysis serve --runs other --port 0     any free port; it is printed\n"
        "  FAILURE_ANALYSIS_TOKEN=... python -m failure_analysis serve --host 0.0.0.0\n\n"
        "New failures are captured while it runs. The API is described at /openapi.json. On loopback no token is asked for\n"
        "unless FAILURE_ANALYSIS_TOKEN is set; on other addresses one always is. Alerts go to FAILURE_ANALYSIS_WEBHOOK.",
    )
    parser.add_argument(
        "--runs", type=Path, default=Path("runs"), metavar="DIR", help="folder of runs (default %(default)s)"
    )
    parser.add_argument("--database", type=Path, metavar="FILE", help="default: failures.db in --runs")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    parser.add_argument("--port", type=int, default=8321, help="0 for any free one (default %(default)s)")
    parser.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="another name it is reached by; repeatable",
    )
    parser.add_argument(
        "--no-capture", dest="capture", action="store_false", help="show what is stored, capture nothing"
    )
    parser.add_argument(
        "--every-s",
        type=float,
        default=3.0,
        help="seconds between two looks at the runs (default %(default)g)",
    )
    parser.add_argument(
        "--alerts", action="store_true", help="send new critical failures to FAILURE_ANALYSIS_WEBHOOK"
    )
    parser.add_argument(
        "--public-url",
        default="",
        metavar="URL",
        help="what links in alerts begin with (default: its address)",
    )
    _model(parser)
    parser.set_defaults(module="dashboard.serve")


COMMANDS: tuple[Callable[[Commands], None], ...] = (
    _capture, _ingest, _analyze, _groups, _counts, _similar, _compare, _hardest, _intervene, _score, _repair, _serve,
)  # fmt: skip


def positive(text: str) -> int:
    """A whole number from 1 up."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not 1 or more")
    return number


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns 2 for bad use, 1 when a bar is missed, else 0."""
    arguments = _parser().parse_args(argv)
    try:
        code = int(import_module(arguments.module).command(arguments))
        sys.stdout.flush()
        return code
    except InvestigatorError as trouble:
        print(f"failure_analysis {arguments.command}: {trouble}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # whoever reads has seen enough, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE


if __name__ == "__main__":
    sys.exit(main())
