"""The page on which people judge pairs of answers: keyboard first, blind, one pair at a time.

`/annotate?by=NAME` shows the next pair of `alignment.annotation`. A verdict is a form, so it works without
scripts. `static/annotate.js` adds the keys. Nobody is told which model wrote what.
"""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import parse_qs, quote

from fastapi import FastAPI, Query, Request
from fastapi.responses import RedirectResponse, Response

from alignment.annotation import Annotation
from alignment.answers import TAGS
from core.serving.guard import read_body
from dashboard.rendering import render
from project_types import ConfigurationError

LARGEST_BODY = 8 << 10
Name = Annotated[str, Query(max_length=60, pattern=r"^[\w .@-]*$")]


def add(app: FastAPI, annotation: Annotation) -> None:
    """`/annotate`: the next pair, a verdict, and taking one back."""

    @app.get("/annotate", include_in_schema=False)
    def page(request: Request, by: Name = "") -> Response:
        """The next pair, or the question who judges."""
        name = by.strip()
        shown = annotation.next(name) if name and annotation.there else None
        progress = annotation.progress(name) if name and annotation.there else None
        values: dict[str, Any] = {"by": name, "there": annotation.there, "shown": shown, "progress": progress}
        return render(request, "annotate.html", tags=TAGS, annotators=annotation.annotators(), **values)

    @app.post("/annotate", include_in_schema=False)
    async def judge(request: Request) -> Response:
        """Keep a verdict, or take the last one back, and show the next pair."""
        body = await read_body(request.stream(), LARGEST_BODY)
        form = parse_qs(body.decode("utf-8", "replace"))
        by, side = form.get("by", [""])[0].strip(), form.get("side", [""])[0]
        turned = form.get("turned", ["0"])[0] == "1"
        try:
            if side == "undo":
                annotation.undo(by)
            else:
                annotation.judge(by, form.get("pair", [""])[0], side, turned, form.get("why", []))
        except ConfigurationError as trouble:
            return render(request, "error.html", status=422, code=422, text=str(trouble))
        return RedirectResponse(f"/annotate?by={quote(by)}", status_code=303)
