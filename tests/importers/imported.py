"""What tests of importers share: write look-alike files, import them, read the result back."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from importers.command import import_source
from importers.counting import Counts
from importers.draft import Output
from importers.options import Options
from importers.reading import Source
from project_types import Incident, Scenario, read_incident, read_scenario


class Imported(NamedTuple):
    """What one import gave."""

    paths: list[Path]
    counts: Counts

    @property
    def incident(self) -> Incident:
        (path,) = self.paths
        return read_incident(path)

    @property
    def scenarios(self) -> list[Scenario]:
        return [read_scenario(path) for path in self.paths]


def write(folder: Path, files: dict[str, str | bytes]) -> Path:
    """Write files below a folder."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def imported(name: str, where: Path | str, out: Path, **options: str | None) -> Imported:
    """Import a source."""
    counts = Counts()
    output = Output(out, counts)
    paths = import_source(name, Source(str(where), counts), output, Options(**options))
    return Imported(paths, counts)
