"""The command behind `python -m log_investigator_env serve`: the port, who may come in, uvicorn.

OpenEnv's protocol knows no token, so that only this machine is served, and no page of another site: a browser
sends an Origin, and OpenEnv's clients send none.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import MutableMapping
from typing import Any

from core.serving.guard import LOOPBACK_NAMES, without_port
from core.serving.listening import announce, bind
from log_investigator_env.investigations import Investigations
from project_types import ConfigurationError


def command(arguments: argparse.Namespace) -> int:
    """Serve until a signal comes. Returns the exit code."""
    listener = bind("127.0.0.1", arguments.port)
    print("loading openenv", file=sys.stderr)
    try:
        import uvicorn

        from log_investigator_env.openenv_server import app
    except ImportError as missing:
        raise ConfigurationError(
            f"the server needs {missing.name}; run: make trainers, and use .venv-openenv/bin/python"
        ) from missing
    investigations = Investigations.open(
        arguments.split, arguments.database, arguments.rules, arguments.judge
    )
    print(f"{len(investigations.paths)} scenarios of {investigations.folder}", file=sys.stderr)
    inside = only_from_here(app(investigations, arguments.sessions))
    listener.listen(2048)  # its address is printed before the server runs
    config = uvicorn.Config(inside, log_level="warning", server_header=False, timeout_graceful_shutdown=3)
    server = uvicorn.Server(config)
    announce(listener)
    server.run(sockets=[listener])
    return 0 if server.started else 1


def only_from_here(inside: Any) -> Any:
    """Wrap an ASGI application so that it answers loopback names only, and no browser's foreign page."""

    async def guarded(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan" and not _ours(dict(scope["headers"])):
            await _refuse(scope["type"], send)
            return
        await inside(scope, receive, send)

    return guarded


def _ours(headers: dict[bytes, bytes]) -> bool:
    host, origin = headers.get(b"host", b"").decode("latin-1"), headers.get(b"origin")
    same = origin is None or origin.decode("latin-1").partition("://")[2] == host
    return same and without_port(host) in LOOPBACK_NAMES


async def _refuse(kind: str, send: Any) -> None:
    if kind == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    await send({"type": "http.response.start", "status": 403, "headers": []})
    await send({"type": "http.response.body", "body": b"only loopback, and no page of another site"})
