"""`python -m training_runs COMMAND`: what a training run did.

Training itself is `python train_serverless.py`. Only arguments are parsed here; each command's module is
imported once they are known to be good.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from core.command_line import Command, Room


def _report(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "run", metavar="RUN", help="the run's folder or its name below runs/, e.g. runs/seed1"
    )


REPORT_EXAMPLES = """\
examples:
  python -m training_runs report seed1                the run of this name below runs/
  python -m training_runs report elsewhere/seed1      the same for a run in another folder"""

ROOM = Room(
    "training_runs",
    "settings, plan and report of a training run (train with: python train_serverless.py)",
    (
        Command(
            "report",
            "write summary.json, report.html and the learning curve of a training run again",
            "training_runs.report_command",
            _report,
            REPORT_EXAMPLES,
        ),
    ),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns 2 for bad use, else 0."""
    return ROOM.main(argv)


if __name__ == "__main__":
    sys.exit(main())
