"""The pages about the alignment room: adapters with their gates and slices, and who judged which answers.

`/adapters`, `/adapters/NAME@vN`, `/preferences`, and the same as JSON under `/api`. They only show: promotion
and rollback are commands, so that nobody promotes by a click. Not here: judging pairs (`annotate`).
"""

from __future__ import annotations

from pathlib import Path as Folder
from typing import Annotated

from fastapi import FastAPI, HTTPException, Path, Request
from fastapi.responses import Response

from alignment.adapters import VERSIONED
from alignment.overview import Judgements, Shown, adapters, moves, preferences
from dashboard.rendering import render

FullName = Annotated[str, Path(max_length=90, pattern=rf"^{VERSIONED.pattern}$")]
MOST_MOVES = 50


def add(app: FastAPI, folder: Folder) -> None:
    """Add the pages and their JSON. `folder` is that of the room: runs/alignment."""

    @app.get("/adapters", include_in_schema=False)
    def listed(request: Request) -> Response:
        """Every adapter, and who moved production."""
        moved = moves(folder)[:MOST_MOVES]
        return render(request, "adapters.html", rows=adapters(folder), moved=moved)

    @app.get("/adapters/{name}", include_in_schema=False)
    def one(request: Request, name: FullName) -> Response:
        """One adapter: what it was made from, its gates, and a reward model's slices."""
        return render(request, "adapter.html", one=_named(folder, name))

    @app.get("/preferences", include_in_schema=False)
    def judged(request: Request) -> Response:
        """Pairs and judgements, and how far people agree."""
        return render(request, "preferences.html", found=preferences(folder))

    @app.get("/api/adapters", tags=["alignment"])
    def api_adapters() -> list[Shown]:
        """Adapters with their gates and slices, the newest first."""
        return adapters(folder)

    @app.get("/api/preferences", tags=["alignment"])
    def api_preferences() -> Judgements | None:
        """Pairs and judgements, counted; null when there are none."""
        return preferences(folder)


def _named(folder: Folder, name: str) -> Shown:
    found = next((row for row in adapters(folder) if row.card.full_name == name), None)
    if found is None:
        raise HTTPException(404, f"There is no adapter {name}; look for it in Adapters.")
    return found
