"""What a training run did, as files in its folder: `summary.json`, `report.html` and the learning curve.

    python -m training_runs.report runs/NAME

Written from the files that the run left (`training_summary`), so that an interrupted run has a report too and
any run can be rendered again. Transcripts are hostile text: the page is rendered with autoescape, holds no
script and loads nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core.episode_store.runs import training_run
from core.files import replace_file
from project_types import InvestigatorError
from training_runs.headline import table
from training_runs.report_page import page
from training_runs.summary import summary_of


def write_report(run: Path) -> dict[str, Any]:
    """Write summary.json, report.html and learning_curve.png/.svg into the run's folder; returns the summary."""
    from training_runs.learning_curve import (
        draw,
    )  # matplotlib takes as long to import as everything else together

    files = training_run(run)
    summary = summary_of(files)
    pictures = draw(files.of("train"), files.of("val"), summary)
    written = {
        "summary.json": (json.dumps(summary, indent=2, allow_nan=False) + "\n").encode(),
        "learning_curve.png": pictures.png,
        "learning_curve.svg": pictures.svg.encode(),
        "report.html": page(files, summary, pictures.inline_svg).encode(),
    }
    for name, content in written.items():
        replace_file(run / name, content)
    return summary


def main(argv: Sequence[str] | None = None) -> int:
    """Render the report of a run again."""
    parser = argparse.ArgumentParser(
        prog="python -m training_runs.report",
        description=main.__doc__,
        epilog="example: python -m training_runs.report runs/seed1",
    )
    parser.add_argument("run", type=Path, help="the run's folder, e.g. runs/seed1")
    arguments = parser.parse_args(argv)
    try:
        summary = write_report(arguments.run)
    except InvestigatorError as trouble:
        print(f"training_report: {trouble}", file=sys.stderr)
        return 2
    print(table(summary))
    print(f"report: {arguments.run / 'report.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
