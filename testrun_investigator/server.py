"""Start the MCP server: over stdio for an editor, or over HTTP for several clients.

    python testrun_investigator/server.py            what an editor starts
    python -m testrun_investigator serve --http      the same over HTTP, on loopback

Over HTTP every request passes the guard of all doors: Host, Origin, token. Beyond loopback a token is needed.
The server is `mcp_server`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # started as a file, the project is not on the path
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from project_types import ConfigurationError

DEFAULT_PORT = 8787


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `serve`."""
    parser.add_argument("--http", action="store_true", help="serve over HTTP at /mcp; without it over stdio")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1)")
    parser.add_argument(
        "--port", type=int, default=DEFAULT_PORT, help=f"port, 0 for any free one (default {DEFAULT_PORT})"
    )


def command(arguments: argparse.Namespace) -> int:
    """Serve until the client ends or somebody stops it."""
    toolbox = _toolbox()
    try:
        if arguments.http:
            serve_http(toolbox, arguments.host, arguments.port)
        else:
            _server(toolbox).run("stdio")
    finally:
        toolbox.close()
    return 0


def _toolbox() -> Any:
    from testrun_investigator.settings import read_settings
    from testrun_investigator.toolbox import Toolbox

    return Toolbox(read_settings())


def _server(toolbox: Any) -> Any:
    try:
        from testrun_investigator.mcp_server import INSTRUCTIONS, make_server
        from testrun_investigator.sessions import SESSIONS, McpSessions
    except ModuleNotFoundError as missing:
        if (missing.name or "").partition(".")[0] != "mcp":
            raise
        raise ConfigurationError(
            "the server needs the package mcp; run: pip install -e '.[mcp]', or uv sync"
        ) from missing
    return make_server(toolbox, McpSessions(toolbox.settings.cache / SESSIONS, INSTRUCTIONS))


def serve_http(toolbox: Any, host: str, port: int) -> None:
    """Serve over HTTP until it is stopped.

    Raises:
        ConfigurationError: the port is taken, or a host beyond loopback has no token.
    """
    import uvicorn

    from core.serving.listening import announce, bind, is_loopback

    token = toolbox.settings.server_token or None
    if not is_loopback(host) and token is None:
        raise ConfigurationError(
            f"--host {host}: other machines could ask without a token; set TESTRUN_SERVER_TOKEN, or use 127.0.0.1"
        )
    listener = bind(host, port)
    listener.listen(2048)  # its address is printed before the server runs
    app = guarded(_server(toolbox), host, token)
    print(f"{announce(listener)}/mcp is the address for clients", flush=True)
    config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=3)
    uvicorn.Server(config).run(sockets=[listener])


def guarded(server: Any, host: str, token: str | None) -> Any:
    """Return the server's application behind the guard."""
    from mcp.server.transport_security import TransportSecuritySettings
    from starlette.responses import JSONResponse

    from core.serving.guard import Door, Guard, hosts_for
    from core.serving.listening import EVERY_INTERFACE

    # the guard checks Host and Origin for every door alike, so the SDK's own check is off
    security = TransportSecuritySettings(enable_dns_rebinding_protection=False)
    app = server.streamable_http_app(transport_security=security, host=host)
    door = Door(token=token, hosts=hosts_for(host), any_address=host in EVERY_INTERFACE)
    return Guard(app, door, lambda scope, refusal: JSONResponse({"error": refusal.message}, refusal.status))


if __name__ == "__main__":
    from core.command_line import parser, run

    flags = parser("server.py", "Serve the tools to an assistant, over stdio or HTTP.")
    add_flags(flags)
    given = flags.parse_args()
    raise SystemExit(run("server.py", lambda: command(given)))
