"""`python -m dashboard serve`: the pages and the API over runs, episodes and failures.

Only arguments are parsed here; the server's modules are imported once they are known to be good.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from core.command_line import Command, Room, failures_flag, runs_flag
from failure_analysis.model_flags import model_flags


def _serve(parser: argparse.ArgumentParser) -> None:
    runs_flag(parser)
    failures_flag(parser, default=None, otherwise="failures.db in --runs")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    parser.add_argument(
        "--port", type=int, default=8321, metavar="N", help="0 for any free one (default %(default)s)"
    )
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
        metavar="SECONDS",
        help="time between two looks at the runs (default %(default)g)",
    )
    parser.add_argument(
        "--alerts",
        action="store_true",
        help="send new critical failures to FAILURE_ANALYSIS_WEBHOOK, or by mail through FAILURE_ANALYSIS_SMTP",
    )
    parser.add_argument(
        "--public-url",
        default="",
        metavar="URL",
        help="what links in alerts begin with (default: its address)",
    )
    model_flags(parser)


SERVE_EXAMPLES = """\
examples:
  python -m dashboard serve                           then open http://127.0.0.1:8321
  python -m dashboard serve --runs other --port 0     any free port; it is printed
  FAILURE_ANALYSIS_TOKEN=... python -m dashboard serve --host 0.0.0.0

New failures are captured while it runs. The API is described at /openapi.json. On loopback no token is
asked for unless FAILURE_ANALYSIS_TOKEN is set; on other addresses one always is. Alerts go to
FAILURE_ANALYSIS_WEBHOOK."""

ROOM = Room(
    "dashboard",
    "shows training runs live, failures, and episodes turn by turn; has an API",
    (
        Command(
            "serve",
            "open the dashboard and its API",
            "dashboard.serve",
            _serve,
            SERVE_EXAMPLES,
        ),
    ),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns 2 for bad use, else what it returns."""
    return ROOM.main(argv)


if __name__ == "__main__":
    sys.exit(main())
