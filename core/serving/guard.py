"""Who may talk to a door of this house, and how much: Host, Origin, token, length of address and body.

`Guard` wraps a whole ASGI application, so no route can forget it. Each door gives its own form of refusal
(a page, JSON, an OpenAI-style error). `read_body` is how a route reads what was sent. Encryption is not done
here: put a TLS proxy in front, or use an SSH tunnel.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
from collections.abc import AsyncIterable, Callable, Iterable
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import NamedTuple
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from core.serving.tries import Tries
from project_types import InvestigatorError

COOKIE = "log_investigator"
LONGEST_URL = 4096
LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "[::1]"})


class BodyTooLarge(InvestigatorError):
    """More was sent than a route takes."""

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(f"the body is larger than {_size(limit_bytes)}; send less")
        self.limit_bytes = limit_bytes


class Refusal(NamedTuple):
    """Why a request does not come in."""

    status: int
    code: str
    """One word for programs: bad_host, foreign_origin, long_address, too_many_tries, bad_token."""
    message: str


Refuse = Callable[[Scope, Refusal], ASGIApp]
"""How a door says no: the request and the refusal in, the answer out."""


@dataclass(frozen=True)
class Door:
    """Whom to let in."""

    token: str | None = None
    """None: the door asks for no token."""
    hosts: frozenset[str] | None = LOOPBACK_NAMES
    """Names in the Host header that are answered, without port; None for any."""
    any_address: bool = False
    """Also answer to any IP address as Host: a listener on every interface. A rebound name is no address."""
    tries: Tries = field(default_factory=Tries)
    """Wrong tokens of late."""
    _key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    """Fresh in every process: cookies end with it."""

    def serves(self, host: str) -> bool:
        """Whether a Host header is one of ours."""
        name = without_port(host)
        return self.hosts is None or name in self.hosts or (self.any_address and _is_address(name))

    def accepts(self, token: str) -> bool:
        """Whether this is the token."""
        return self.token is None or hmac.compare_digest(token.strip().encode(), self.token.encode())

    def cookie(self) -> str:
        """What a browser that has shown the token carries: derived from the token, and not the token."""
        return hmac.new(self._key, (self.token or "").encode(), hashlib.sha256).hexdigest()

    def carries_cookie(self, headers: Headers) -> bool:
        """Whether a browser that logged in sends the request."""
        try:
            carried = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            return False
        return carried is not None and hmac.compare_digest(carried.value.encode(), self.cookie().encode())


class Guard:
    """Refuses what must not come in. `open_paths` and what begins with `open_folder` need no token."""

    def __init__(
        self,
        app: ASGIApp,
        door: Door,
        refuse: Refuse,
        *,
        open_paths: frozenset[str] = frozenset(),
        open_folder: str | None = None,
    ) -> None:
        self._app, self._door, self._refuse = app, door, refuse
        self._open_paths, self._open_folder = open_paths, open_folder

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on what may come in, and answer the rest."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # no door here speaks websockets
            return
        refusal = self._refusal(scope)
        answer = self._refuse(scope, refusal) if refusal else self._app
        await answer(scope, receive, send)

    def _refusal(self, scope: Scope) -> Refusal | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not self._door.serves(host):
            known = ", ".join(sorted(self._door.hosts or ()))
            return Refusal(403, "bad_host", f"Host {host[:100]!r} is not served here; use {known}")
        if not _same_origin(headers, host):
            return Refusal(403, "foreign_origin", "requests from other sites are refused; ask directly")
        if len(scope.get("raw_path") or b"") + len(scope.get("query_string", b"")) > LONGEST_URL:
            return Refusal(
                414, "long_address", f"the address is longer than {LONGEST_URL} bytes; ask for less"
            )
        return None if self._is_open(scope["path"]) else self._token_refusal(scope, headers)

    def _is_open(self, path: str) -> bool:
        return path in self._open_paths or (
            self._open_folder is not None and path.startswith(self._open_folder)
        )

    def _token_refusal(self, scope: Scope, headers: Headers) -> Refusal | None:
        if self._door.token is None or self._door.carries_cookie(headers):
            return None
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            client = client_of(scope)
            if wait_s := self._door.tries.wait_s(client):
                return too_many_tries(wait_s)
            if self._door.accepts(token):
                return None
            self._door.tries.failed(client)
        return Refusal(401, "bad_token", "wrong or missing token; send 'Authorization: Bearer TOKEN'")


def too_many_tries(wait_s: float) -> Refusal:
    """What somebody hears who has sent too many wrong tokens."""
    return Refusal(429, "too_many_tries", f"too many wrong tokens; try again in {wait_s:.0f} s")


def client_of(scope: Scope) -> str:
    """The address a request comes from."""
    client = scope.get("client")
    return str(client[0]) if client else ""


async def read_body(stream: AsyncIterable[bytes], limit_bytes: int) -> bytes:
    """What was sent. Raises BodyTooLarge.

    A larger body is read to its end, four times the limit at most, so that its sender hears the answer. It is
    not kept.
    """
    body, total = bytearray(), 0
    async for chunk in stream:
        total += len(chunk)
        if total <= limit_bytes:
            body += chunk
        else:
            body.clear()
        if total > 4 * limit_bytes:
            break
    if total > limit_bytes:
        raise BodyTooLarge(limit_bytes)
    return bytes(body)


def hosts_for(listening_on: str, more: Iterable[str] = ()) -> frozenset[str]:
    """Host names to answer when listening on an address; `more` are other names it is reached by."""
    own = f"[{listening_on}]" if ":" in listening_on else listening_on
    return LOOPBACK_NAMES | {own.lower()} | {name.lower() for name in more}


def without_port(host: str) -> str:
    """The name in a Host header, lower case; an IPv6 address keeps its brackets."""
    name = host.strip().lower()
    if name.startswith("["):
        return name.partition("]")[0] + "]"
    return name.partition(":")[0]


def _same_origin(headers: Headers, host: str) -> bool:
    """Whether a browser says the request comes from our own page, or it is a person following a link."""
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
        return False
    site, mode = headers.get("sec-fetch-site", "none"), headers.get("sec-fetch-mode", "")
    return site in ("none", "same-origin") or mode == "navigate"


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def _size(number: int) -> str:
    return f"{number >> 20} MiB" if number >= 1 << 20 else f"{number} bytes"
