"""`python -m evaluation COMMAND`: play policies, count, compare, report.

Only arguments are parsed here; each command's module is imported once they are known to be good.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TypeAlias

from core.command_line import printable
from core.policies.registry import add_flags as reach_flags
from project_types import InvestigatorError

EXAMPLES = """examples:
  python -m evaluation baselines log_scenarios/test
  python -m evaluation run --policy script:loudest-error --split test --k 1 --out runs/eval-loudest
  python -m evaluation run --policy embedded:tiny --split test --k 4 --out runs/eval-tiny
  python -m evaluation compare runs/eval-loudest runs/eval-tiny
  python -m evaluation report runs/eval-tiny --out report.html

Run `python -m evaluation COMMAND --help` for the flags of one command."""


Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def parser() -> argparse.ArgumentParser:
    """Every command and flag."""
    parser = argparse.ArgumentParser(
        prog="python -m evaluation",
        description="Did it get better? Play policies on scenarios, store the episodes, count them with intervals.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _baselines(commands)
    _run(commands)
    _compare(commands)
    _report(commands)
    _show(commands)
    _rescore(commands)
    _export(commands)
    return parser


def _command(commands: Commands, name: str, about: str, epilog: str) -> argparse.ArgumentParser:
    return commands.add_parser(
        name,
        help=about,
        description=about[0].upper() + about[1:] + ".",
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def _baselines(commands: Commands) -> None:
    parser = _command(
        commands,
        "baselines",
        "measure how far trivial rules get on scenario files; exit 1 when one passes the bar",
        "examples:\n"
        "  python -m evaluation baselines log_scenarios/test\n"
        "  python -m evaluation baselines log_scenarios/val log_scenarios/test --write-docs\n"
        "  python -m evaluation baselines my_scenarios --json --max 50",
    )
    parser.add_argument(
        "folders", nargs="+", metavar="DIR", help="folder of scenario-*.json, or train, val, test"
    )
    parser.add_argument(
        "--max", type=float, default=40.0, metavar="PERCENT", help="bar for root-cause accuracy (default 40)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--seed", type=int, default=0, help="dice of the random rule (default 0)")
    parser.add_argument(
        "--write-docs",
        nargs="?",
        type=Path,
        const=Path("docs/scenarios.md"),
        metavar="FILE",
        help="also put the table between the baselines markers of FILE (default docs/scenarios.md)",
    )
    parser.set_defaults(module="chaos.baselines_command")


def _run(commands: Commands) -> None:
    parser = _command(
        commands,
        "run",
        "play a policy on scenarios, store the episodes, print accuracy with 95 % intervals",
        "policies:\n"
        "  script:NAME             code: first-error, loudest-error, deepest-span, random-service, demonstrator, ...\n"
        "  embedded:NAME[@stepN]   a model of the training service; without @stepN its latest checkpoint\n"
        "  litellm:MODEL           any model litellm reaches, e.g. litellm:openai/gpt-4.1 with OPENAI_API_KEY set\n"
        "  openai:MODEL            a server that speaks the OpenAI protocol, reached with --base-url\n\n"
        "examples:\n"
        "  python -m evaluation run --policy script:first-error --split test --k 1 --out runs/eval-first-error\n"
        "  python -m evaluation run --policy embedded:tiny@step40 --split test --k 4 --out runs/eval-tiny\n"
        "  python -m evaluation run --policy script:demonstrator --split my_scenarios --workers 2 --out runs/demos\n\n"
        "The same command again plays only what is missing or failed. The folder then holds episodes.jsonl, failures.jsonl,\n"
        "run.json and summary.json (docs/episodes.md).",
    )
    parser.add_argument("--policy", required=True, help="who investigates, see below")
    parser.add_argument(
        "--split", default="test", metavar="SPLIT|DIR", help="train, val, test or a folder (default test)"
    )
    parser.add_argument(
        "--out", required=True, type=Path, metavar="DIR", help="folder that gets the episodes"
    )
    parser.add_argument("--k", type=_positive, default=1, help="samples per scenario (default 1)")
    parser.add_argument(
        "--judge", default="offline", metavar="NAME", help="offline, or a registered judge (default offline)"
    )
    parser.add_argument("--limit", type=_positive, metavar="N", help="only the first N scenarios")
    parser.add_argument(
        "--seed", type=int, default=0, help="dice of scripts, sampling of embedded models (default 0)"
    )
    parser.add_argument(
        "--concurrency",
        type=_positive,
        default=16,
        help="episodes under way at once, for models (default 16)",
    )
    parser.add_argument("--workers", type=_positive, default=1, help="processes, for scripts (default 1)")
    parser.add_argument(
        "--database", type=Path, metavar="FILE", help="an existing logs.db to use (default: built in --out)"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would be played; play and write nothing"
    )
    parser.add_argument(
        "--no-explain",
        action="store_true",
        help="leave failed episodes to: python -m failure_analysis capture",
    )
    parser.add_argument(
        "--no-wandb", dest="wandb", action="store_false", help="log nothing to W&B, even with WANDB_API_KEY"
    )
    rules = parser.add_argument_group("rules of an episode (usually --embedded; --general for litellm)")
    which = rules.add_mutually_exclusive_group()
    which.add_argument(
        "--embedded", dest="rules", action="store_const", const="embedded", help="short results, brief prompt"
    )
    which.add_argument(
        "--general", dest="rules", action="store_const", const="general", help="long results, full prompt"
    )
    rules.add_argument("--temperature", type=float, metavar="T", help="sampling temperature (default 1.0)")
    rules.add_argument("--top-p", type=float, metavar="P", help="nucleus sampling (default 1.0)")
    rules.add_argument("--max-turns", type=_positive, metavar="N", help="replies per episode")
    rules.add_argument("--tool-budget-tokens", type=_positive, metavar="N", help="tokens per tool result")
    rules.add_argument("--max-completion-tokens", type=_positive, metavar="N", help="tokens per reply")
    rules.add_argument("--call-format", choices=["native", "text"], help="how calls are written")
    rules.add_argument("--prompt", choices=["full", "brief"], help="system prompt")
    reach_flags(parser)
    parser.set_defaults(module="evaluation.running")


EPISODES = "a run's folder, or a JSONL file of episodes"


def _compare(commands: Commands) -> None:
    parser = _command(
        commands,
        "compare",
        "what changed from run A to run B, paired by scenario, and which scenarios flipped",
        "examples:\n"
        "  python -m evaluation compare runs/eval-base runs/eval-tiny\n"
        "  python -m evaluation compare runs/one/episodes/test-0000-t0.jsonl runs/one/episodes/test-0040-t0.jsonl --all",
    )
    parser.add_argument("before", type=Path, metavar="A", help=EPISODES)
    parser.add_argument("after", type=Path, metavar="B", help=EPISODES)
    parser.add_argument(
        "--all",
        action="store_true",
        help="list every scenario that flipped, not only the largest 20 each way",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(module="evaluation.comparing")


def _report(commands: Commands) -> None:
    parser = _command(
        commands,
        "report",
        "write one self-contained HTML page about a run",
        "example:\n  python -m evaluation report runs/eval-tiny --out report.html",
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help=EPISODES)
    parser.add_argument("--out", type=Path, metavar="FILE", help="page to write (default DIR/report.html)")
    parser.set_defaults(module="evaluation.reporting")


def _show(commands: Commands) -> None:
    parser = _command(
        commands,
        "show",
        "print a stored episode, turn by turn",
        "examples:\n  python -m evaluation show runs/eval-tiny 5f0c11aa09be\n  python -m evaluation show runs/eval-tiny '5f0c#2'",
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help=EPISODES)
    parser.add_argument(
        "episode", metavar="ID[#SAMPLE]", help="the beginning of a scenario's id, and one of its samples"
    )
    parser.set_defaults(module="evaluation.showing")


def _rescore(commands: Commands) -> None:
    parser = _command(
        commands,
        "rescore",
        "let another judge read stored reports; prints agreement and Cohen's kappa",
        "examples:\n"
        "  python -m evaluation rescore --judge offline runs/eval-tiny\n"
        "  python -m evaluation rescore --judge openai/gpt-4.1 runs/eval-tiny --json\n\n"
        "Nothing is played. Verdicts are kept beside the episodes in verdicts-NAME.jsonl; the same command asks only for\n"
        "what is missing.",
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help=EPISODES)
    parser.add_argument("--judge", required=True, metavar="NAME", help="offline, or a registered judge")
    parser.add_argument(
        "--split", metavar="SPLIT|DIR", help="where the scenarios are (default: where they were when played)"
    )
    parser.add_argument("--concurrency", type=_positive, default=8, help="reports judged at once (default 8)")
    parser.add_argument("--json", action="store_true", help="print JSON, every disagreement included")
    parser.set_defaults(module="evaluation.rescoring")


def _export(commands: Commands) -> None:
    parser = _command(
        commands,
        "export",
        "write stored episodes as one parquet table",
        "example:\n  python -m evaluation export runs/eval-tiny --parquet episodes.parquet",
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help=EPISODES)
    parser.add_argument("--parquet", type=Path, required=True, metavar="FILE", help="file to write")
    parser.set_defaults(module="evaluation.exporting")


def _positive(text: str) -> int:
    if not (text.isdecimal() and int(text) >= 1):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return int(text)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns 2 for bad use, 1 when a bar is missed, else 0."""
    arguments = parser().parse_args(argv)
    try:
        code = int(import_module(arguments.module).command(arguments))
        sys.stdout.flush()
    except BrokenPipeError:  # whoever reads has seen enough, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except InvestigatorError as trouble:
        print(printable(f"evaluation {arguments.command}: {trouble}"), file=sys.stderr)
        code = 2
    played = arguments.command == "run" and not arguments.dry_run and (arguments.out / "run.json").exists()
    if played and not arguments.no_explain:
        from failure_analysis.capture_command import explain

        print(printable(explain(arguments.out)))
    return code


if __name__ == "__main__":
    sys.exit(main())
