"""The service's errors in OpenAI's shape, bodies as strict JSON, and work that ends when its client leaves.

Who may come in decides `core.serving.guard`. `body_of` is how every route reads its body. What the fields
mean is `wire.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from fastapi import Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ValidationError
from pydantic_core import from_json
from starlette.concurrency import run_in_threadpool
from starlette.types import Scope

from core.serving.guard import BodyTooLarge, Refusal, read_body
from training_service.engine import RequestError
from training_service.wire import error_body

Body = TypeVar("Body", bound=BaseModel)
T = TypeVar("T")
GONE = 499
"""Status of a reply that nobody reads any more."""
INLINE_BYTES = 128 << 10
"""Bodies up to here are parsed on the event loop: a hop to a thread takes longer while another thread trains.
"""
OPEN_PATHS = frozenset({"/health", "/v1/health"})
"""Answered without a token: they say nothing about models."""
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


def refused(_: Scope, refusal: Refusal) -> JSONResponse:
    """A refusal of the guard in OpenAI's shape."""
    code = "invalid_api_key" if refusal.code == "bad_token" else refusal.code
    return error_response(refusal.status, refusal.message, code)


async def unless_gone(request: Request, work: Coroutine[Any, Any, T]) -> T | None:
    """Return the result of `work`, or None after cancelling it because the client hung up.

    The body must have been read.
    """

    async def hung_up() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    doing, gone = asyncio.create_task(work), asyncio.create_task(hung_up())
    try:
        await asyncio.wait({doing, gone}, return_when=asyncio.FIRST_COMPLETED)
        return doing.result() if doing.done() else None
    finally:
        gone.cancel()
        doing.cancel()
        await asyncio.gather(gone, doing, return_exceptions=True)


def body_of(model: type[Body], limit_bytes: int) -> Callable[[Request], Awaitable[Body]]:
    """A FastAPI dependency that reads the body as `model`, refusing more than `limit_bytes`."""

    async def read(request: Request) -> Body:
        raw = await _read_bytes(request, limit_bytes)
        if len(raw) <= INLINE_BYTES:
            return _parse(model, raw)
        return await run_in_threadpool(_parse, model, raw)

    return read


async def _read_bytes(request: Request, limit_bytes: int) -> bytes:
    try:
        return await read_body(request.stream(), limit_bytes)
    except BodyTooLarge as trouble:
        message = f"{trouble}, or restart the service with a higher --max-*-mib"
        raise RequestError(413, message, "body_too_large") from trouble


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
