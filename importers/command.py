"""The command behind `python -m importers NAME SOURCE --out DIR`: import, and say
what became of every line.
"""

from __future__ import annotations

import argparse
from importlib import import_module
from pathlib import Path

from core.command_line import printable
from importers.counting import Counts
from importers.draft import Output
from importers.options import Options
from importers.reading import Source


def command(arguments: argparse.Namespace) -> int:
    """Import one source. Returns 0; trouble is raised."""
    counts = Counts()
    told = {name: getattr(arguments, name, None) for name in Options._fields}
    written = import_source(
        arguments.command,
        Source(arguments.source, counts, progress=True),
        Output(
            arguments.out,
            counts,
            description=arguments.description or "",
            time_hint=arguments.time_hint or "",
        ),
        Options(**told),
    )
    for line in counts.told():
        print(printable(line))
    shown = f"{written[0]}" + (f" and {len(written) - 1} more" if len(written) > 1 else "") if written else ""
    print(printable(f"{len(written)} written: {shown}") if written else "nothing written: no row was kept")
    return 0 if written else 1


def import_source(name: str, source: Source, output: Output, options: Options) -> list[Path]:
    """Run the importer of a name, and return the files it wrote.

    Raises:
        ImportTrouble, ArchiveError, DownloadError: nothing was written.
    """
    importer = import_module(f"importers.{name}")
    with output.opened():
        importer.read(source, output, options)
    return output.written
