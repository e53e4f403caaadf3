"""What a training run prints: one line at a time while it runs, and its last lines."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from training_runs.headline import table
from training_runs.resuming import next_command


def say(text: str) -> None:
    """Print one line, above any progress bar."""
    from tqdm import tqdm

    tqdm.write(text, file=sys.stdout)
    sys.stdout.flush()


def last_lines(run: Path, summary: Mapping[str, Any], stopped: bool) -> str:
    """Return what a run ends with: before and after, where the report is, and what to type next."""
    lines = ["", table(summary), ""]
    if summary["out_of_time"]:
        lines.append(f"attention  {summary['out_of_time']}")
    lines.append(f"report     {run / 'report.html'}")
    if summary["go_on"]:
        lines.append(f"go on      {summary['go_on']}")
    if summary["finished"] and not stopped:
        steps = summary["steps_asked"]
        lines.append(f"next       {next_command(run, summary['best_checkpoint'], steps)}")
    return "\n".join(lines)
