"""The pages about rankings of services: which incidents `graph_rca` ranked, and one of
them as a drawing over time.

`/rankings`, `/rankings/INCIDENT`, and the list as JSON under `/api`. They read the findings that `python -m
graph_rca watch` and `rank --findings` write into runs/graph_rca. Nothing is ranked here.
"""

from __future__ import annotations

from pathlib import Path as Folder
from typing import Annotated

from fastapi import FastAPI, HTTPException, Path, Request
from fastapi.responses import Response

from dashboard.rendering import render
from graph_rca.findings import Finding, findings_in

Incident = Annotated[str, Path(max_length=200)]
MOST = 200


def add(app: FastAPI, folder: Folder) -> None:
    """Add the pages and their JSON. `folder` is that of the room: runs/graph_rca."""

    @app.get("/rankings", include_in_schema=False)
    def listed(request: Request) -> Response:
        """Every ranked incident."""
        found, broken = findings_in(folder)
        return render(request, "rankings.html", rows=found[:MOST], total=len(found), broken=broken[:10])

    @app.get("/rankings/{incident:path}", include_in_schema=False)
    def one(request: Request, incident: Incident) -> Response:
        """One ranking: the drawing with its slider, and the reasons."""
        return render(request, "ranking.html", one=_named(folder, incident))

    @app.get("/api/rankings", tags=["rankings"])
    def api_rankings() -> list[Finding]:
        """Ranked incidents with their reasons and drawings, the newest first."""
        return findings_in(folder)[0][:MOST]


def _named(folder: Folder, incident: str) -> Finding:
    # looked for among what is there, so that a name can name no other file
    found = next((one for one in findings_in(folder)[0] if one.incident == incident), None)
    if found is None:
        raise HTTPException(404, f"There is no ranking of {incident}; look for it in Rankings.")
    return found
