"""`runs`: generate SCT-like test runs with known causes."""

from __future__ import annotations

import argparse
import json

from project_types import ConfigurationError
from testrun_investigator.demo_runs.packing import TRUTH, write_runs
from testrun_investigator.demo_runs.plots import plots


def command(arguments: argparse.Namespace) -> int:
    """Write the runs and list them with their causes."""
    known = plots()
    if unknown := [name for name in arguments.plot if name not in known]:
        raise ConfigurationError(f"--plot {unknown[0]}: is unknown; known: {', '.join(known)}")
    for folder in write_runs(arguments.out, arguments.plot, arguments.seed, arguments.noise):
        truth = json.loads((folder / TRUTH).read_text(encoding="utf-8"))
        print(f"{folder.name}  {truth['plot']}: {truth['cause']}")
    return 0
