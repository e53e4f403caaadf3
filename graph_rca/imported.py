"""A server's answer as an incident: what the importer of its kind makes of it, over a file of its own."""

from __future__ import annotations

import tempfile
from pathlib import Path

from importers.command import import_source
from importers.counting import Counts
from importers.draft import Output
from importers.options import Options
from importers.reading import Source
from project_types import Incident, read_incident


def imported(name: str, text: str, options: Options | None = None) -> Incident:
    """Return the incident that the importer of that name reads in a text. Raises ImportTrouble."""
    counts = Counts()
    with tempfile.TemporaryDirectory(prefix="window-") as scratch:
        file = Path(scratch) / "answer.json"
        file.write_text(text, encoding="utf-8")
        output = Output(Path(scratch) / "out", counts)
        (path,) = import_source(name, Source(str(file), counts), output, options or Options())
        return read_incident(path)
