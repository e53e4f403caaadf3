"""The command behind `python -m failure_analysis analyze`: one log explained, nothing stored."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from core.episode_store.lines import last_text
from failure_analysis.capture_command import analyzer
from failure_analysis.history import before
from failure_analysis.logs.ingest import END, STANDARD_INPUT, standard_input
from failure_analysis.logs.rules import error_line
from failure_analysis.records import StoreError
from failure_analysis.store import FailureStore


def command(arguments: argparse.Namespace) -> int:
    """Print the analysis as JSON, with earlier failures that are like it."""
    try:
        logs = standard_input() if arguments.file == STANDARD_INPUT else last_text(Path(arguments.file), END)
        code = last_text(arguments.code, 4000) if arguments.code else None
    except OSError as trouble:
        raise StoreError(
            f"{trouble.filename}: cannot be read ({trouble.strerror}); check the path"
        ) from trouble
    message = arguments.error or error_line(logs)
    found = analyzer(arguments).analyze_failure(arguments.file, arguments.type, message, logs, code)
    alike = before(FailureStore(arguments.failures), message) if message else ()
    printed = {**found.model_dump(mode="json"), "similar": [one.model_dump(mode="json") for one in alike]}
    sys.stdout.write(json.dumps(printed, indent=2, ensure_ascii=False) + "\n")
    return 0
