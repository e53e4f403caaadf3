"""The application: routes, static files, and errors as JSON or as a page, behind the guard.

`/openapi.json` is the document of the API; the usual viewers of it load scripts from elsewhere and are left
out.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib.metadata import PackageNotFoundError, version

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.types import ASGIApp

from alignment.annotation import Annotation
from core.episode_store.runs import UnknownRun
from core.serving.guard import BodyTooLarge, Door
from dashboard import aligned, annotate, api, exports, pages, rankings, testrun_pages
from dashboard.guard import guarded
from dashboard.rendering import STATIC, visible
from dashboard.shelf import Shelf
from failure_analysis.comparing import NothingToCompare
from failure_analysis.records import StoreError
from project_types import InvestigatorError

ABOUT = """Failed experiments and why they failed, training runs and their curves, episodes turn by turn.

Every list is a page: `offset` and `limit` (200 at most), with `total` in the answer. Filters of one name given several times mean
any of them. An error is `{"error": text}`. Where a token is needed, send `Authorization: Bearer TOKEN`."""


def build_app(shelf: Shelf, door: Door) -> ASGIApp:
    """Everything, guarded."""
    return guarded(application(shelf, door), door)


def application(shelf: Shelf, door: Door) -> FastAPI:
    """Everything behind the guard."""
    app = FastAPI(
        title="Failure analysis", version=_version(), description=ABOUT, docs_url=None, redoc_url=None
    )
    app.include_router(api.routes(shelf))
    app.include_router(exports.routes(shelf))
    pages.add(app, shelf, door)
    testrun_pages.add(app, shelf.testruns)
    annotate.add(app, Annotation(shelf.folder / "alignment"))
    aligned.add(app, shelf.folder / "alignment")
    rankings.add(app, shelf.folder / "graph_rca")
    app.mount("/static", StaticFiles(directory=STATIC), name="static")

    @app.get("/health", include_in_schema=False)
    def health() -> dict[str, str]:
        return {"status": "ok"}

    refuse(app, StoreError, 503)
    refuse(app, NothingToCompare, 404)
    refuse(app, UnknownRun, 404)
    refuse(app, BodyTooLarge, 413)
    refuse(app, InvestigatorError, 500)
    refuse(app, StarletteHTTPException, None)
    refuse(app, RequestValidationError, 422)
    return app


def refuse(app: FastAPI, kind: type[Exception], status: int | None) -> None:
    """Answer an exception of this kind with its text, as JSON or as a page."""

    async def answer(request: Request, trouble: Exception) -> Response:
        code = status or (
            trouble.status_code if isinstance(trouble, HTTPException | StarletteHTTPException) else 500
        )
        text = visible(_text(trouble))
        if request.url.path.startswith("/api/") or request.url.path == "/openapi.json":
            return JSONResponse({"error": text}, status_code=code)
        return pages.error_page(request, 404 if _no_such_address(trouble) else code, text)

    handler: Callable[[Request, Exception], Awaitable[Response]] = answer
    app.add_exception_handler(kind, handler)


def _no_such_address(trouble: Exception) -> bool:
    """Whether the path itself names what cannot be: nobody gave that address to a visitor."""
    return isinstance(trouble, RequestValidationError) and trouble.errors()[0]["loc"][0] == "path"


def _text(trouble: Exception) -> str:
    if isinstance(trouble, RequestValidationError):
        first = trouble.errors()[0]
        where = ".".join(part for part in first["loc"][1:] if isinstance(part, str))
        if first["type"] == "extra_forbidden":
            return f"{where[:100]}: not a parameter here; leave it out (see /openapi.json)"
        return f"{where[:100]}: {str(first['msg'])[:300]}" + (
            f" ({len(trouble.errors())} problems)" if len(trouble.errors()) > 1 else ""
        )
    if isinstance(trouble, StarletteHTTPException):
        return str(trouble.detail)
    return str(trouble)


def _version() -> str:
    try:
        return version("log-investigator")
    except PackageNotFoundError:
        return "0"
