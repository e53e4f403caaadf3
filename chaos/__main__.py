"""`python -m chaos COMMAND`: make scenarios, prove them sound, measure how far trivial rules get on them.

Only arguments are parsed here; each command's module is imported once they are known to be good.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from core.command_line import Command, Room, json_flag, positive


def _generate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--split",
        required=True,
        choices=("train", "val", "test", "controls", "pretrain"),
        help="pretrain: like train, from seeds that no shipped split uses; controls: nothing is wrong",
    )
    parser.add_argument(
        "--count",
        required=True,
        type=positive,
        metavar="N",
        help="scenarios; val and test hold pairs of twins, and 3 of 13 of test are of the unseen kind",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=2,
        help="another seed gives other scenarios (default: %(default)s)",
    )
    parser.add_argument(
        "--out",
        required=True,
        type=Path,
        metavar="DIR",
        help="folder of the split; a split that is there is replaced when all is written",
    )
    parser.add_argument(
        "--request",
        type=Path,
        metavar="FILE",
        help='JSON file with weights: {"faults": {"disk_full": 3}, "topologies": {"shop": 0}}',
    )
    parser.add_argument(
        "--redraw",
        type=int,
        default=0,
        metavar="N",
        help="the same incidents with other names and wordings; another N, others (default 0)",
    )
    _workers(parser)


def _workers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--workers",
        type=positive,
        default=len(os.sched_getaffinity(0)),
        metavar="N",
        help="processes; their number changes no byte (default: the processors, %(default)s)",
    )


def _check(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folder",
        type=Path,
        metavar="DIR",
        help="a split folder or a folder of split folders, such as log_scenarios",
    )
    parser.add_argument(
        "--judge",
        default="offline",
        metavar="NAME",
        help="the judge that ranks the reports (default: %(default)s)",
    )


def _ship(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("log_scenarios"),
        metavar="DIR",
        help="folder of the splits (default: %(default)s)",
    )
    parser.add_argument(
        "--missing", action="store_true", help="only write what the repository does not hold, such as train"
    )
    _workers(parser)


def _baselines(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folders", nargs="+", metavar="SPLIT|DIR", help="train, val, test or a folder of scenario-*.json"
    )
    parser.add_argument(
        "--train",
        metavar="SPLIT|DIR",
        help="also train classifiers of rows on this split, and measure them (needs the extra chaos)",
    )
    parser.add_argument(
        "--max",
        type=float,
        metavar="PERCENT",
        help="one bar for every rule's root causes, instead of 40 for trivial rules, 30 for words, 45 with complaints",
    )
    json_flag(parser)
    parser.add_argument("--seed", type=int, default=0, help="dice of the random rule (default 0)")
    _write_docs(parser)


def _write_docs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--write-docs",
        nargs="?",
        type=Path,
        const=Path("docs/scenarios.md"),
        metavar="FILE",
        help="also put the table between the markers of FILE (default docs/scenarios.md)",
    )


def _card(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folders", nargs="+", metavar="SPLIT|DIR", help="train, val, test, controls or a folder of scenarios"
    )
    _write_docs(parser)


def _show(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "scenario", metavar="ID|FILE", help="a scenario file, or the first digits of a shipped scenario's id"
    )
    parser.add_argument(
        "--picture",
        type=Path,
        metavar="FILE",
        help="also draw its time line, and that of its twin (.svg or .png)",
    )


GENERATE_EXAMPLES = """\
examples:
  python -m chaos generate --split train --count 500 --seed 7 --out my_scenarios/train
  python -m chaos generate --split train --count 192 --seed 7 --out more/train --request request.json"""
CHECK_EXAMPLES = """\
example:
  python -m chaos check log_scenarios"""
SHIP_EXAMPLES = """\
examples:
  python -m chaos ship --missing
  python -m chaos ship --out log_scenarios"""
BASELINES_EXAMPLES = """\
examples:
  python -m chaos baselines test
  python -m chaos baselines val test --train train --write-docs
  python -m chaos baselines my_scenarios --json --max 50"""
CARD_EXAMPLES = """\
examples:
  python -m chaos card train val test controls --write-docs
  python -m chaos card my_scenarios/train"""
SHOW_EXAMPLES = """\
examples:
  python -m chaos show 0e53c6
  python -m chaos show my_scenarios/scenario-a1b2c3.json --picture a1b2c3.svg"""
ROOM_EXAMPLES = """\
examples:
  python -m chaos generate --split train --count 500 --seed 7 --out my_scenarios/train
  python -m chaos check my_scenarios
  python -m chaos baselines my_scenarios/train"""

ROOM = Room(
    "chaos",
    "simulates incidents: writes scenarios, checks them, measures trivial rules on them",
    (
        Command(
            "generate",
            "write one split; the same arguments give the same bytes",
            "chaos.generate_command",
            _generate,
            GENERATE_EXAMPLES,
        ),
        Command(
            "check",
            "prove a split, or a folder of splits, sound; exit 1 with a list of what fails",
            "chaos.check_command",
            _check,
            CHECK_EXAMPLES,
        ),
        Command(
            "ship",
            "write the shipped splits again, or what the repository does not hold of them",
            "chaos.ship_command",
            _ship,
            SHIP_EXAMPLES,
        ),
        Command(
            "baselines",
            "measure how far rules and row classifiers get on scenario files; exit 1 when one passes its bar",
            "chaos.baselines_command",
            _baselines,
            BASELINES_EXAMPLES,
        ),
        Command(
            "card",
            "count what splits hold: scenarios, services, rows, tokens, spans, metrics",
            "chaos.card_command",
            _card,
            CARD_EXAMPLES,
        ),
        Command(
            "show",
            "draw a scenario with its truth: topology, time line, the way from the cause to the symptom",
            "chaos.show_command",
            _show,
            SHOW_EXAMPLES,
        ),
    ),
    ROOM_EXAMPLES,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns 2 for bad use, 1 when a check failed, else 0."""
    return ROOM.main(argv)


if __name__ == "__main__":
    sys.exit(main())
