"""The command behind `python -m failure_analysis suggest`: a fix as a diff or a branch, checked."""

from __future__ import annotations

import argparse
import sys

from core.command_line import printable
from failure_analysis.capture_command import analyzer
from failure_analysis.suggesting.suggestion import commit, suggest


def command(arguments: argparse.Namespace) -> int:
    """Print the diff, or write it, or put it on a branch. Returns 1 when no fix was found."""
    found = suggest(arguments.repo, arguments.run, analyzer(arguments), arguments.limit_s)
    if found.analysis is None:
        print("the command passes: there is nothing to mend", file=sys.stderr)
        return 0
    print(printable(f"it fails: {found.analysis.root_cause}"), file=sys.stderr)
    for what in found.tried:
        print(printable(f"tried: {what}"), file=sys.stderr)
    if found.mend is None:
        print(
            printable(f"no edit was found with which it passes. {found.analysis.fix_suggestion}"),
            file=sys.stderr,
        )
        return 1
    print(printable(f"it passes with: {found.mend.what}"), file=sys.stderr)
    if arguments.branch:
        made = commit(arguments.repo, arguments.branch, found.diff, found.mend.what)
        print(
            f"branch {arguments.branch} is at {made}; look at it: git -C {arguments.repo} show {arguments.branch}"
        )
    elif arguments.out:
        arguments.out.write_text(found.diff, encoding="utf-8", errors="surrogateescape")
        print(f"{arguments.out} holds it; apply it: git -C {arguments.repo} apply {arguments.out.resolve()}")
    else:
        sys.stdout.write(found.diff)
    return 0
