"""The room's command line: `python -m testrun_investigator COMMAND`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from core.command_line import Command, Room
from testrun_investigator.commands import (
    ask_flags,
    cache_flags,
    configure_flags,
    demo_flags,
    doctor_flags,
    ingest_flags,
    runs_flags,
    serve_flags,
    watch_flags,
)

_HERE = "testrun_investigator"


def _command(name: str, about: str, module: str, flags: object, epilog: str = "") -> Command:
    return Command(name, about, f"{_HERE}.{module}", flags, epilog)  # type: ignore[arg-type]


ROOM = Room(
    _HERE,
    "MCP server over test runs, their logs and metrics, and a knowledge base",
    (
        _command("serve", "serve the tools to an assistant, over stdio or HTTP", "server", serve_flags),
        _command(
            "doctor", "check every part and say what to type where one is missing", "doctor", doctor_flags
        ),
        _command(
            "configure",
            "write the files with which editors start the server",
            "client_files",
            configure_flags,
        ),
        _command(
            "demo", "show a whole investigation on a generated run, without any account", "demo", demo_flags
        ),
        _command("ask", "let a policy investigate a run and print its report", "ask", ask_flags),
        _command("watch", "investigate runs that end badly, unasked", "watch", watch_flags),
        _command(
            "ingest", "take in logs of a run, also of one that is still going", "ingest_command", ingest_flags
        ),
        _command("runs", "generate SCT-like test runs with known causes", "demo_runs.command", runs_flags),
        _command("cache", "show or clear what is kept on disk", "cache", cache_flags),
    ),
    "First time: python -m testrun_investigator demo, then python -m testrun_investigator doctor",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command."""
    return ROOM.main(argv)


if __name__ == "__main__":
    raise SystemExit(main())

__all__ = ["ROOM", "argparse", "main"]
