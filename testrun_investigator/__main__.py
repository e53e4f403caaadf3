"""The room's command line: `python -m testrun_investigator COMMAND`."""

from __future__ import annotations

from collections.abc import Sequence

from core.command_line import AddFlags, Command, Room
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


RUN = "8b1f0c52-6f0e-4f0a-9f51-3c7a9d1e2b40"
"""A run's id, for examples."""


def _command(name: str, about: str, module: str, flags: AddFlags, *examples: str, more: str = "") -> Command:
    lines = [f"  python -m {_HERE} {name} {example}".rstrip() for example in examples]
    epilog = "\n".join(["examples:", *lines]) + (f"\n\n{more}" if more else "")
    return Command(name, about, f"{_HERE}.{module}", flags, epilog)


ROOM = Room(
    _HERE,
    "MCP server over test runs, their logs and metrics, and a knowledge base",
    (
        _command(
            "serve",
            "serve the tools to an assistant, over stdio or HTTP",
            "server",
            serve_flags,
            "",
            "--http",
        ),
        _command(
            "doctor",
            "check every part and say what to type where one is missing",
            "doctor",
            doctor_flags,
            "",
            f"--test-run {RUN}",
        ),
        _command(
            "configure",
            "write the files with which editors start the server",
            "client_files",
            configure_flags,
            "",
            "--python .venv/bin/python",
        ),
        _command(
            "demo",
            "show a whole investigation on a generated run, without any account",
            "demo",
            demo_flags,
            "",
            "--plot disk-full --seed 2",
        ),
        _command(
            "ask",
            "let a policy investigate a run and print its report",
            "ask",
            ask_flags,
            RUN,
            f"{RUN} 'why did node 3 restart?' --policy litellm:openai/gpt-4.1-mini",
        ),
        _command(
            "watch",
            "investigate runs that end badly, unasked",
            "watch",
            watch_flags,
            f"{RUN} --once",
        ),
        _command(
            "ingest",
            "take in logs of a run, also of one that is still going",
            "ingest_command",
            ingest_flags,
            f"{RUN} logs.tar.zst",
            f"{RUN} system.log --follow --node node-1",
        ),
        _command(
            "runs",
            "generate SCT-like test runs with known causes",
            "demo_runs.command",
            runs_flags,
            "--out runs/test_runs",
        ),
        _command("cache", "show or clear what is kept on disk", "cache", cache_flags, "show", "clear"),
    ),
    "First time: python -m testrun_investigator demo, then python -m testrun_investigator doctor",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command."""
    return ROOM.main(argv)


if __name__ == "__main__":
    raise SystemExit(main())
