"""Who may talk to the dashboard, and how much they may say: Host, Origin, token, body size; and the headers
of every answer.

`Guard` wraps the whole application, so no route can forget it. On loopback no token is asked for unless one
was given; anywhere else there always is one, sent as `Authorization: Bearer TOKEN` or, by a browser that
logged in, as a cookie that is derived from the token and is not the token. Encryption is not done here: put a
TLS proxy in front, or use an SSH tunnel.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from urllib.parse import quote, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "failure_analysis"
LARGEST_BODY = 16 << 10
"""Bytes. The only body anybody sends is the login form."""
LONGEST_URL = 4096
LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "[::1]"})
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


@dataclass(frozen=True)
class Door:
    """Whom to let in."""

    token: str | None = None
    """None: nobody is asked for one."""
    hosts: frozenset[str] = LOOPBACK_NAMES
    """Names in the Host header that are answered, without port."""
    any_address: bool = False
    """Also answer to any IP address as Host: a listener on every interface. A rebound name is no address."""
    _key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    """Fresh in every process: cookies end with it."""

    def serves(self, host: str) -> bool:
        """Whether a Host header is one of ours."""
        name = _without_port(host)
        return name in self.hosts or (self.any_address and _is_address(name))

    def accepts(self, token: str) -> bool:
        """Whether this is the token."""
        return self.token is None or hmac.compare_digest(token.strip().encode(), self.token.encode())

    def cookie(self) -> str:
        """What a browser that has shown the token carries."""
        return hmac.new(self._key, (self.token or "").encode(), hashlib.sha256).hexdigest()

    def knows(self, headers: Headers) -> bool:
        """Whether a request carries the token or the cookie."""
        if self.token is None:
            return True
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self.accepts(token):
            return True
        try:
            carried = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            return False
        return carried is not None and hmac.compare_digest(carried.value.encode(), self.cookie().encode())


class Guard:
    """Refuses what must not come in, and puts HEADERS on every answer."""

    def __init__(self, app: ASGIApp, door: Door) -> None:
        self._app, self._door = app, door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                if not scope["path"].startswith(OPEN_FOLDER):
                    headers["Cache-Control"] = "no-store"
            await send(message)

        refusal = self._refusal(scope)
        if refusal is None:
            await self._app(scope, _bounded(receive, Headers(scope=scope)), send_guarded)
        else:
            await refusal(scope, receive, send_guarded)

    def _refusal(self, scope: Scope) -> Response | None:
        headers, path = Headers(scope=scope), scope["path"]
        host = headers.get("host", "")
        if not self._door.serves(host):
            return _error(
                403,
                f"Host {host[:100]!r} is not served here; use the address it was started on, or add --allow-host",
            )
        if not _same_origin(headers, host):
            return _error(403, "requests from other sites are refused; open the dashboard itself")
        if len(scope.get("raw_path") or b"") + len(scope.get("query_string", b"")) > LONGEST_URL:
            return _error(414, f"the address is longer than {LONGEST_URL} bytes; ask for less")
        if _declared(headers) > LARGEST_BODY:
            return _error(413, f"the body is larger than {LARGEST_BODY} bytes; nothing here takes that much")
        if path in OPEN_PATHS or path.startswith(OPEN_FOLDER) or self._door.knows(headers):
            return None
        if "text/html" in headers.get("accept", "") and scope["method"] in ("GET", "HEAD"):
            asked = scope.get("query_string", b"").decode("latin-1")
            wanted = quote(path) + (f"?{asked}" if asked else "")
            login = f"/login?next={quote(wanted)}"
            return RedirectResponse(login if len(login) <= LONGEST_URL else "/login", status_code=303)
        return _error(
            401, "wrong or missing token; send 'Authorization: Bearer TOKEN', or open /login in a browser"
        )


def _error(status: int, message: str) -> JSONResponse:
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
    return JSONResponse({"error": message}, status_code=status, headers=headers)


def _same_origin(headers: Headers, host: str) -> bool:
    """Whether a browser says the request comes from our own page, or it is a person following a link."""
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
        return False
    site, mode = headers.get("sec-fetch-site", "none"), headers.get("sec-fetch-mode", "")
    return site in ("none", "same-origin") or mode == "navigate"


def _declared(headers: Headers) -> int:
    length = headers.get("content-length", "0")
    return int(length) if length.isascii() and length.isdigit() else 0


def _bounded(receive: Receive, headers: Headers) -> Receive:
    """Cuts a body off that is larger than it said."""
    read = 0

    async def bounded() -> Message:
        nonlocal read
        message = await receive()
        read += len(message.get("body", b""))
        return {"type": "http.disconnect"} if read > LARGEST_BODY else message

    return bounded


def _without_port(host: str) -> str:
    """The name in a Host header, lower case; an IPv6 address keeps its brackets."""
    if host.startswith("["):
        return host.partition("]")[0].lower() + "]"
    return host.partition(":")[0].lower()


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def hosts_for(listening_on: str, more: Iterable[str]) -> frozenset[str]:
    """Host names to answer when listening on an address; `more` are those of --allow-host."""
    own = f"[{listening_on}]" if ":" in listening_on else listening_on
    return LOOPBACK_NAMES | {own.lower()} | {name.lower() for name in more}
