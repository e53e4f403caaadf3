"""The command behind `python -m failure_analysis serve`: the address, the token, the watcher, uvicorn.

Loopback needs no token unless `FAILURE_ANALYSIS_TOKEN` is set; any other address needs one, and gets a fresh
one when none is set. A token is read from the environment only, because others can read a command line.
"""

from __future__ import annotations

import argparse
import ipaddress
import logging
import os
import secrets
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from failure_analysis.alerts import WEBHOOK, Alerts, webhook_from
from failure_analysis.capture_command import analyzer
from failure_analysis.store import DATABASE, FailureStore
from failure_analysis.watching import Watcher
from project_types import ConfigurationError

TOKEN = "FAILURE_ANALYSIS_TOKEN"
MOST_CONNECTIONS = 200


def command(arguments: argparse.Namespace) -> int:
    """Serve until a signal comes. Returns the exit code."""
    try:
        import uvicorn

        from dashboard.app import build_app
        from dashboard.guard import Door, hosts_for
        from dashboard.shelf import Shelf
    except ImportError as missing:
        raise ConfigurationError(
            f"the dashboard needs {missing.name}; run: pip install -e '.[dashboard]'"
        ) from missing
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", datefmt="%H:%M:%S"
    )
    logging.getLogger("httpx").setLevel(
        logging.WARNING
    )  # it logs addresses, and a webhook's address is a secret
    webhook = webhook_from(os.environ) if arguments.alerts else None
    if arguments.alerts and webhook is None:
        raise ConfigurationError(f"--alerts: set {WEBHOOK} to the address that takes Slack-compatible JSON")
    folder: Path = arguments.runs
    store = FailureStore(arguments.database or folder / DATABASE)
    token = os.environ.get(TOKEN) or None
    made = token is None and not _is_loopback(arguments.host)
    if made:
        token = secrets.token_urlsafe(24)
    any_address = arguments.host in ("0.0.0.0", "::")
    door = Door(token=token, hosts=hosts_for(arguments.host, arguments.allow_host), any_address=any_address)
    listener = bind(arguments.host, arguments.port)
    where = address_of(listener)
    alerts = Alerts(store, webhook, link=arguments.public_url or where) if webhook else None
    watcher = Watcher(
        folder,
        store,
        analyzer(arguments),
        every_s=arguments.every_s,
        after=alerts.send_new if alerts else lambda: None,
    )
    shelf = Shelf(folder, store, watcher if arguments.capture else None)
    options: dict[str, Any] = {
        "log_config": None,
        "access_log": False,
        "ws": "none",
        "server_header": False,
        "proxy_headers": False,
    }
    config = uvicorn.Config(
        build_app(shelf, door), **options, limit_concurrency=MOST_CONNECTIONS, timeout_graceful_shutdown=3
    )
    server = uvicorn.Server(config)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, server.handle_exit)
    with ExitStack() as open_things:
        if arguments.capture:
            open_things.enter_context(watcher)
        print(f"listening on {where}", flush=True)
        if made:
            print(f"token {token}  (set {TOKEN} to choose one)", flush=True)
        if not _is_loopback(arguments.host):
            print(
                "nothing is encrypted here: put a TLS proxy in front, or listen on loopback and use ssh -L",
                flush=True,
            )
        server.run(sockets=[listener])
    return 0 if server.started else 1


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def bind(host: str, port: int) -> socket.socket:
    """Take the port. Raises ConfigurationError when that cannot be."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(2048)  # whoever reads the address may connect at once
    except (OSError, OverflowError) as trouble:
        listener.close()
        raise ConfigurationError(
            f"cannot listen on {host} port {port}: {trouble}; choose another --port, or 0 for any"
        ) from trouble
    return listener


def address_of(listener: socket.socket) -> str:
    """Where a browser finds it."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextmanager
def in_background(app: Any) -> Iterator[str]:
    """The application on a free loopback port, in a thread, until the block ends. Gives its address."""
    import uvicorn

    listener = bind("127.0.0.1", 0)
    server = uvicorn.Server(
        uvicorn.Config(app, log_config=None, access_log=False, ws="none", timeout_graceful_shutdown=1)
    )
    thread = threading.Thread(
        target=server.run, kwargs={"sockets": [listener]}, name="dashboard", daemon=True
    )
    thread.start()
    try:
        yield address_of(listener)
    finally:
        server.should_exit = True
        thread.join(timeout=10)
