"""The page of one group of alike failures: what fails, and what people say about it. A comment or a mark is
the only thing that the dashboard ever writes.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated
from urllib.parse import parse_qs

from fastapi import FastAPI, HTTPException, Path, Request
from fastapi.responses import RedirectResponse, Response

from core.serving.guard import read_body
from dashboard.guard import LARGEST_BODY
from dashboard.rendering import render
from dashboard.shelf import Shelf
from failure_analysis import aggregates
from failure_analysis.aggregates import Group
from failure_analysis.notes import Mark
from failure_analysis.store import Wanted

Signature = Annotated[str, Path(pattern=r"^[0-9a-f]{1,64}$")]
MARKS: dict[str, Mark] = {"open": "open", "known": "known", "fixed": "fixed"}


def add(app: FastAPI, shelf: Shelf) -> None:
    """`/groups/SIGNATURE`, to read and to write to."""
    store = shelf.store

    def found(signature: str) -> Group:
        rows = aggregates.groups(store, Wanted(signature=signature), limit=1, now=datetime.now(UTC)).rows
        if not rows:
            raise HTTPException(404, f"No group has the signature {signature}; look for it in Failures.")
        return rows[0]

    @app.get("/groups/{signature}", include_in_schema=False)
    def group(request: Request, signature: Signature) -> Response:
        """What fails, its latest failures, comments and marks."""
        one = found(signature)
        rows = store.experiments(Wanted(signature=signature), limit=10).rows
        said = shelf.notes.of(signature)
        return render(request, "group.html", group=one, rows=rows, said=said, marks=tuple(MARKS))

    @app.post("/groups/{signature}", include_in_schema=False)
    async def note(request: Request, signature: Signature) -> Response:
        """Write a comment or a mark down."""
        found(signature)
        body = await read_body(request.stream(), LARGEST_BODY)
        form = parse_qs(body.decode("utf-8", "replace"))
        given = {name: form.get(name, [""])[0] for name in ("author", "comment", "mark", "fixed_in")}
        if not given["comment"].strip() and given["mark"] not in MARKS:
            raise HTTPException(422, "Nothing was said; write a comment or choose a mark.")
        shelf.notes.add(
            signature,
            author=given["author"],
            comment=given["comment"],
            mark=MARKS.get(given["mark"]),
            fixed_in=given["fixed_in"],
        )
        return RedirectResponse(f"/groups/{signature}", status_code=303)
