"""The command behind `python -m dashboard serve`: the address, the token, the watcher, uvicorn.

Loopback needs no token unless `FAILURE_ANALYSIS_TOKEN` is set; any other address needs one, and gets a fresh
one when none is set. A token is read from the environment only, because others can read a command line.
"""

from __future__ import annotations

import argparse
import logging
import os
import secrets
import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from core.serving.listening import EVERY_INTERFACE, address_of, announce, bind, is_loopback
from failure_analysis.alerts import Alerts
from failure_analysis.capture_command import analyzer
from failure_analysis.receivers import MAIL_TO, SMTP, WEBHOOK, receivers_from
from failure_analysis.store import DATABASE, FailureStore
from failure_analysis.watching import Watcher
from project_types import ConfigurationError

TOKEN = "FAILURE_ANALYSIS_TOKEN"
MOST_CONNECTIONS = 200
SWITCH_S = 0.0005
"""A tenth of what is usual."""


def command(arguments: argparse.Namespace) -> int:
    """Serve until a signal comes. Returns the exit code."""
    try:
        import uvicorn

        from core.serving.guard import Door, hosts_for
        from dashboard.app import build_app
        from dashboard.rendering import compile_all
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
    receivers = receivers_from(os.environ) if arguments.alerts else []
    if arguments.alerts and not receivers:
        raise ConfigurationError(
            f"--alerts: set {WEBHOOK} to an address that takes Slack-compatible JSON, or {SMTP} and {MAIL_TO}"
        )
    folder: Path = arguments.runs
    store = FailureStore(arguments.failures or folder / DATABASE)
    token = os.environ.get(TOKEN) or None
    made = token is None and not is_loopback(arguments.host)
    if made:
        token = secrets.token_urlsafe(24)
    any_address = arguments.host in EVERY_INTERFACE
    door = Door(token=token, hosts=hosts_for(arguments.host, arguments.allow_host), any_address=any_address)
    listener = bind(arguments.host, arguments.port)
    listener.listen(2048)  # its address is printed before the server runs
    where = address_of(listener)
    alerts = [Alerts(store, receiver, link=arguments.public_url or where) for receiver in receivers]
    watcher = Watcher(
        folder,
        store,
        analyzer(arguments),
        every_s=arguments.every_s,
        after=[one.send_new for one in alerts],
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
    # a page waits for the interpreter's lock at each row it reads, while the watcher computes without a pause
    sys.setswitchinterval(SWITCH_S)
    with ExitStack() as open_things:
        compile_all()
        if arguments.capture:
            open_things.enter_context(watcher)
        announce(listener)
        if made:
            print(f"token {token}  (set {TOKEN} to choose one)", flush=True)
        if not is_loopback(arguments.host):
            print(
                "nothing is encrypted here: put a TLS proxy in front, or listen on loopback and use ssh -L",
                flush=True,
            )
        server.run(sockets=[listener])
    return 0 if server.started else 1
