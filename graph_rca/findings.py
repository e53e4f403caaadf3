"""A finding on disk: a ranking with its reasons and its drawing, as `watch` and `rank` write it
and the dashboard shows it.

The file is JSON beside a page of its own. It is read back with its types checked, because others can write
into the folder. Nothing here ranks, so reading needs no torch.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from project_types import Evidence, Frozen, InvestigatorError

MOST_BYTES = 16 << 20
_RED = (236, 112, 100)
_GREY = (228, 231, 235)
Text = Annotated[str, Field(max_length=5000)]
Share = Annotated[float, Field(ge=0, le=1)]


class FindingError(InvestigatorError):
    """A file of the folder is no finding; the text says what to do."""


class Node(Frozen):
    """A service of the drawing; x and y are pixels of its upper left corner."""

    service: Text
    x: int
    y: int
    probability: Share
    rank: int

    @property
    def colour(self) -> str:
        """Return grey for 0 and red for 1. The root spreads small shares, which would all look grey."""
        part = self.probability**0.5
        red, green, blue = (
            round(grey + (full - grey) * part) for grey, full in zip(_GREY, _RED, strict=True)
        )
        return f"rgb({red},{green},{blue})"


class Arrow(Frozen):
    """A call of the drawing, in pixels; on_path when the trouble travels along it."""

    x1: int
    y1: int
    x2: int
    y2: int
    on_path: bool


class Drawing(Frozen):
    """The graph as a picture, and how loud each service was over time."""

    width: int
    height: int
    nodes: tuple[Node, ...]
    arrows: tuple[Arrow, ...]
    times: tuple[Text, ...]
    """Moments as HH:MM:SS, UTC."""
    scores: tuple[tuple[float, ...], ...]
    """(nodes, times): the furthest metric score."""


class Because(Frozen):
    """A reason."""

    without: Text
    drop: float
    text: Text
    attention: float | None = None
    evidence: tuple[Evidence, ...] = ()


class Suspect(Frozen):
    """A service with its probability and its reasons."""

    service: Text
    probability: Share
    reasons: tuple[Because, ...] = ()


class Finding(Frozen):
    """A ranking as it was written."""

    incident: Text
    title: Text
    at: datetime
    """When it was ranked, UTC."""
    noticed: Text
    """When users began to suffer, HH:MM:SS UTC."""
    ranker: Text
    milliseconds: float
    missing: tuple[Text, ...] = ()
    path: tuple[Text, ...] = ()
    services: tuple[Suspect, ...] = Field(min_length=1)
    drawing: Drawing


def read_finding(path: Path) -> Finding:
    """Read a finding. Raises FindingError for what is none."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise FindingError(f"{path.name}: is larger than {MOST_BYTES >> 20} MB; move it away")
        return Finding.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as trouble:
        raise FindingError(
            f"{path.name}: is no finding ({type(trouble).__name__}); rank the incident again with --findings"
        ) from trouble


def findings_in(folder: Path) -> tuple[list[Finding], list[str]]:
    """Return the findings of a folder, the newest first, and what could not be read, in words."""
    found: list[Finding] = []
    broken: list[str] = []
    for path in sorted(folder.glob("*.finding.json")):
        try:
            found.append(read_finding(path))
        except FindingError as trouble:
            broken.append(str(trouble))
    return sorted(found, key=lambda one: one.at, reverse=True), broken


def finding_path(folder: Path, incident: str) -> Path:
    """Return where the finding of an incident lies: in the folder, whatever the id of the incident says."""
    return folder / f"{file_name(incident)}.finding.json"


def file_name(incident: str) -> str:
    """Return the id of an incident as a part of a file's name. An id may hold
    slashes, a file's name may not.
    """
    if "/" not in incident:
        return incident
    mark = hashlib.sha256(incident.encode()).hexdigest()[:8]  # without it, a/b and a-b were one file
    return f"{incident.replace('/', '-')}-{mark}"
