"""Listening on a port, and the one line that says where: `listening on http://HOST:PORT`.

Programs that start a server read this line (`LISTENING`). Who may come in is decided in `guard`.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from project_types import ConfigurationError

LISTENING = re.compile(r"listening on (http://[^\s/]+:(\d+))")
EVERY_INTERFACE = ("0.0.0.0", "::")


def bind(host: str, port: int) -> socket.socket:
    """Take the port before anything slow happens; 0 takes a free one. Raises ConfigurationError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio turns Nagle's algorithm off only for a socket that says it is TCP
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except (OSError, OverflowError) as trouble:
        listener.close()
        raise ConfigurationError(
            f"cannot listen on {host} port {port}: {trouble}; choose another --port, or 0 for any"
        ) from trouble
    return listener


def address_of(listener: socket.socket) -> str:
    """Where a client finds it."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches this address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def announce(listener: socket.socket) -> str:
    """Print where it listens, for a person and for the process that started this one."""
    where = address_of(listener)
    print(f"listening on {where}", flush=True)
    return where


@contextmanager
def in_background(app: Any) -> Iterator[str]:
    """The application on a free loopback port, in a thread, until the block ends. Gives its address."""
    import uvicorn

    listener = bind("127.0.0.1", 0)
    listener.listen(2048)  # its address is used before the server runs
    config = uvicorn.Config(app, log_config=None, access_log=False, ws="none", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield address_of(listener)
    finally:
        server.should_exit = True
        thread.join(timeout=10)
