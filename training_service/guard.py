"""Who may talk to the service, and how much they may say: Host header, bearer token, body size, strict JSON.

`Guard` wraps the whole application, so no route can forget it. `read_json` is how every route reads its body.
What the fields mean is `wire.py`.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from typing import TypeVar

from fastapi import Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ValidationError
from pydantic_core import from_json
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from training_service.engine import RequestError
from training_service.wire import error_body

Body = TypeVar("Body", bound=BaseModel)
INLINE_BYTES = 128 << 10
"""Bodies up to here are parsed on the event loop: a hop to a thread takes longer while another thread trains.
"""
OPEN_PATHS = frozenset({"/health", "/v1/health"})
"""Answered without a token: they say nothing about models."""
LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "[::1]"})
KINDS = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}


def error_response(status: int, message: str, code: str | None = None) -> JSONResponse:
    """An OpenAI-style error. What a repetition cannot mend tells the client's retry loop so."""
    kind = KINDS.get(status, "invalid_request_error" if status < 500 else "server_error")
    headers = {} if status in (429, 503) else {"x-should-retry": "false"}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(error_body(message, kind, code), status_code=status, headers=headers)


class Guard:
    """Refuses foreign Host headers (a browser led here by a rebound name) and requests without the token."""

    def __init__(self, app: ASGIApp, token: str, hosts: frozenset[str] | None) -> None:
        self._app, self._token, self._hosts = app, token.encode(), hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope["path"], Headers(scope=scope)) if scope["type"] == "http" else None
        await (refusal or self._app)(scope, receive, send)

    def _refusal(self, path: str, headers: Headers) -> JSONResponse | None:
        host = _without_port(headers.get("host", ""))
        if self._hosts is not None and host not in self._hosts:
            return error_response(
                403, f"Host {host!r} is not served here; use {', '.join(sorted(self._hosts))}", "bad_host"
            )
        if path in OPEN_PATHS:
            return None
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not secrets.compare_digest(token.strip().encode(), self._token):
            message = "wrong or missing token; send 'Authorization: Bearer TOKEN' with the token the service was started with"
            return error_response(401, message, "invalid_api_key")
        return None


def body_of(model: type[Body], limit_bytes: int) -> Callable[[Request], Awaitable[Body]]:
    """A FastAPI dependency that reads the body as `model`, refusing more than `limit_bytes`."""

    async def read(request: Request) -> Body:
        raw = await _read_bytes(request, limit_bytes)
        if len(raw) <= INLINE_BYTES:
            return _parse(model, raw)
        return await run_in_threadpool(_parse, model, raw)

    return read


async def _read_bytes(request: Request, limit_bytes: int) -> bytes:
    """The body; a larger one is read to its end (within reason) so that the client hears the answer, but not
    kept.
    """
    body, total = bytearray(), 0
    async for chunk in request.stream():
        total += len(chunk)
        if total <= limit_bytes:
            body += chunk
        else:
            body.clear()
        if total > 4 * limit_bytes:
            break
    if total > limit_bytes:
        message = f"the body is larger than {limit_bytes >> 20} MiB; send less, or restart the service with a higher --max-*-mib"
        raise RequestError(413, message, "body_too_large")
    return bytes(body)


def _parse(model: type[Body], raw: bytes) -> Body:
    try:
        value = from_json(raw, allow_inf_nan=False, cache_strings="keys")
    except ValueError as trouble:
        raise RequestError(
            400, f"the body is not strict JSON: {trouble}; NaN and deep nesting are refused", "bad_json"
        ) from trouble
    try:
        return model.model_validate(value)
    except ValidationError as trouble:
        first = trouble.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        unknown = first["type"] == "extra_forbidden"
        what = "not known here; leave it out" if unknown else first["msg"].removeprefix("Value error, ")
        message = f"{where}: {what}" if where else what
        status = 400 if message.startswith("stream:") else 422
        raise RequestError(status, message, "bad_request") from trouble


def _without_port(host: str) -> str:
    name = host.strip().lower()
    if name.startswith("["):
        return name.partition("]")[0] + "]"
    return name.partition(":")[0]
