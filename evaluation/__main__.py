"""`python -m evaluation COMMAND`: play policies, count, compare, report.

Only arguments are parsed here; each command's module is imported once they are known to be good.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TypeAlias

from project_types import InvestigatorError

EXAMPLES = """examples:
  python -m evaluation baselines log_scenarios/test            what trivial rules reach on a split
  python -m evaluation run --policy script:loudest-error --split test --k 1 --out runs/eval-loudest
  python -m evaluation run --policy embedded:tiny --split test --k 4 --out runs/eval-tiny
  python -m evaluation compare runs/eval-loudest runs/eval-tiny
  python -m evaluation report runs/eval-tiny --out report.html

Run `python -m evaluation COMMAND --help` for the flags of one command."""


Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m evaluation",
        description="Did it get better? Play policies on scenarios, store the episodes, count them with intervals.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _baselines(commands)
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
    parser.add_argument("folders", nargs="+", metavar="DIR", help="folder of scenario-*.json, or train, val, test")
    parser.add_argument("--max", type=float, default=40.0, metavar="PERCENT", help="bar for root-cause accuracy (default 40)")
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
    parser.set_defaults(module="evaluation.baselines_command")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns 2 for bad use, 1 when a bar is missed, else 0."""
    arguments = _parser().parse_args(argv)
    try:
        return int(import_module(arguments.module).command(arguments))
    except InvestigatorError as trouble:
        print(f"evaluation {arguments.command}: {trouble}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
