"""What a training run did, as files in its folder: `summary.json`, `report.html` and the learning curve.

    python -m training_runs report NAME

Written from the files that the run left, so that an interrupted run has a report too, and any run can be
rendered again. The numbers are `summary`'s, the page is `report_page`'s. Transcripts are hostile text: the
page is rendered with autoescape, holds no script and loads nothing.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from core.episode_store.runs import training_run
from core.files import replace_file
from training_runs.report_page import page
from training_runs.summary import summary_of


def write_report(run: Path) -> dict[str, Any]:
    """Write summary.json, report.html and learning_curve.png/.svg into the run's folder.

    Returns:
        The summary.

    Raises:
        EpisodesError: the folder holds no training run.
    """
    # here: matplotlib takes as long to import as everything else together
    from training_runs.learning_curve import draw

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
