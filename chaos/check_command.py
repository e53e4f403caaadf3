"""The command behind `python -m chaos check`: prints what a folder of scenarios is worth."""

from __future__ import annotations

import argparse

from chaos.check import check
from core.command_line import printable
from make_judge_model import load_judge

SHOWN_PROBLEMS = 50
SHOWN_LETTERS = 300


def command(arguments: argparse.Namespace) -> int:
    """Check and print. Returns 1 when something fails."""
    findings = check(arguments.folder, load_judge(arguments.judge))
    for fact in findings.facts:
        print(fact)
    for warning in findings.warnings[:SHOWN_PROBLEMS]:
        print(printable(f"warning {warning[:SHOWN_LETTERS]}"))
    if len(findings.warnings) > SHOWN_PROBLEMS:
        print(f"... and {len(findings.warnings) - SHOWN_PROBLEMS} more warnings")
    for problem in findings.problems[:SHOWN_PROBLEMS]:
        print(printable(f"FAILS {problem}"))
    if len(findings.problems) > SHOWN_PROBLEMS:
        print(f"... and {len(findings.problems) - SHOWN_PROBLEMS} more")
    print(f"{len(findings.problems)} problems" if findings.problems else "all checks passed")
    return 1 if findings.problems else 0
