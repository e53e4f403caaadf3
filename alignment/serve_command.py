"""`python -m alignment serve`: adapters and triage over HTTP, until SIGINT or SIGTERM."""

from __future__ import annotations

import argparse

import uvicorn

from alignment.adapters import Registry
from alignment.learning import opened
from alignment.serving import Desk, build_app
from core.serving.guard import Door, hosts_for
from core.serving.listening import announce, bind, is_loopback
from project_types import ConfigurationError
from training_service.engine import RequestError

GRACE_S = 20
"""Seconds that requests under way get at the end."""


def command(arguments: argparse.Namespace) -> int:
    """Bind, load, serve. Raises ConfigurationError that names the fix."""
    if not is_loopback(arguments.host) and arguments.token == "local":
        raise ConfigurationError(
            f"--host {arguments.host} lets other machines in, so it needs a token of your own: --token TEXT"
        )
    listener = bind(arguments.host, arguments.port)
    try:
        desk = Desk(
            opened(arguments.base_model),
            Registry(arguments.adapters),
            arguments.canary,
            arguments.canary_share,
            arguments.reward,
        )
    except RequestError as trouble:
        raise ConfigurationError(trouble.message) from trouble
    app = build_app(desk, Door(token=arguments.token, hosts=hosts_for(arguments.host)))
    print(f"serving {', '.join(desk.names())}")
    announce(listener)
    try:
        config = uvicorn.Config(app, log_level="warning", ws="none", timeout_graceful_shutdown=GRACE_S)
        uvicorn.Server(config).run(sockets=[listener])
    finally:
        desk.answerer.close()
    return 0
