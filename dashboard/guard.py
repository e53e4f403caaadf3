"""The dashboard's door: its refusals, and the headers of every answer. Who may come
in decides `core.serving`.

On loopback no token is asked for unless one was given; anywhere else there always is one, sent as
`Authorization: Bearer TOKEN` or, by a browser that logged in, as a cookie.
"""

from __future__ import annotations

from urllib.parse import quote

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.serving.guard import LONGEST_URL, Door, Guard, Refusal

LARGEST_BODY = 16 << 10
"""Bytes of a form: a login, a comment."""
OPEN_PATHS = frozenset({"/health", "/login"})
"""Answered without a token."""
OPEN_FOLDER = "/static/"
CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": CONTENT_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


def guarded(app: ASGIApp, door: Door) -> ASGIApp:
    """The application behind its door, with HEADERS on every answer, a refusal included."""
    return _WithHeaders(Guard(_Head(app), door, refused, open_paths=OPEN_PATHS, open_folder=OPEN_FOLDER))


class _Head:
    """Answers HEAD as GET does, without a body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_without_body(message: Message) -> None:
            await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

        if scope["type"] == "http" and scope["method"] == "HEAD":
            await self._app({**scope, "method": "GET"}, receive, send_without_body)
        else:
            await self._app(scope, receive, send)


class _WithHeaders:
    """Puts HEADERS on every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                if not scope["path"].startswith(OPEN_FOLDER):
                    headers["Cache-Control"] = "no-store"
            await send(message)

        await self._app(scope, receive, send_with_headers)


def refused(scope: Scope, refusal: Refusal) -> Response:
    """A refusal as JSON; a browser without a token is sent to the login."""
    wants_page = "text/html" in Headers(scope=scope).get("accept", "")
    if refusal.code == "bad_token" and wants_page and scope["method"] in ("GET", "HEAD"):
        return _to_login(scope)
    headers = {"WWW-Authenticate": "Bearer"} if refusal.status == 401 else {}
    return JSONResponse({"error": refusal.message}, status_code=refusal.status, headers=headers)


def _to_login(scope: Scope) -> Response:
    asked = scope.get("query_string", b"").decode("latin-1")
    wanted = quote(scope["path"]) + (f"?{asked}" if asked else "")
    login = f"/login?next={quote(wanted)}"
    return RedirectResponse(login if len(login) <= LONGEST_URL else "/login", status_code=303)
