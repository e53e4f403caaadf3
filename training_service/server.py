"""The process: a socket, uvicorn, signals, and an end that loses nothing.

It prints one line on stdout when it is ready, `listening on http://HOST:PORT`; everything else goes to the
log. A first signal stops accepting and asks the running job to end after its gradient step; what has not
ended after the grace period is cut off, which is safe because nothing on disk is ever half done.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import uvicorn

from core.processes import runs
from core.serving.guard import Door, hosts_for
from core.serving.listening import EVERY_INTERFACE, announce
from training_service.app import Limits, Service, build_app, open_service
from training_service.engine import Engine

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ServeOptions:
    """What the command line decided; see `python -m training_service serve --help`."""

    data: Path
    token: str
    host: str = "127.0.0.1"
    port: int = 0
    limits: Limits = field(default_factory=Limits)
    min_free_bytes: int = 512 << 20
    grace_s: float = 30.0
    parent_pid: int | None = None


def serve(options: ServeOptions, open_engine: Callable[[], Engine], listener: socket.socket) -> int:
    """Run until a signal or the parent's end. Returns the exit code."""
    service = open_service(options.data, open_engine, options.min_free_bytes)
    app = build_app(service, door(options), options.limits, options.grace_s)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        ws="none",
        server_header=False,
        timeout_keep_alive=75,  # longer than clients keep theirs: a POST on a connection closed meanwhile is not repeated
        timeout_graceful_shutdown=max(1, int(options.grace_s)),
        backlog=2048,
    )
    server = Server(config, service, Owner(options.parent_pid))
    for number in (
        signal.SIGTERM,
        signal.SIGINT,
    ):  # uvicorn raises a signal again once it has shut down: not to die of it
        signal.signal(number, server.handle_exit)
    server.run(sockets=[listener])
    if service.jobs.waiting():
        log.error("a job did not end within %s s; leaving it, its step was not kept", options.grace_s)
        logging.shutdown()
        os._exit(1)
    return 0 if server.started else 1


class Owner:
    """The process this service ends with, if any."""

    def __init__(self, pid: int | None) -> None:
        self._pid, self._our_parent = pid, os.getppid() == pid

    def has_ended(self) -> bool:
        if self._pid is None:
            return False
        if self._our_parent:  # exact: an orphan gets another parent, whatever takes the number
            return os.getppid() != self._pid
        return not runs(self._pid)


class Server(uvicorn.Server):
    """uvicorn that says where it listens, ends with its owner, and tells jobs of a signal at once."""

    def __init__(self, config: uvicorn.Config, service: Service, owner: Owner) -> None:
        super().__init__(config)
        self._service, self._owner = service, owner

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if not self.started or not sockets:
            return
        where = announce(sockets[0])
        log.info("listening on %s, data in %s", where, self._service.folders.data)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._service.jobs.begin_stop()
        super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        """uvicorn asks ten times a second whether to go on."""
        if not self.should_exit and self._owner.has_ended():
            log.info("the process that started this service has ended, and the service with it")
            self._service.jobs.begin_stop()
            self.should_exit = True
        return await super().on_tick(counter)


def door(options: ServeOptions) -> Door:
    """Whom to let in: on every interface any Host, because a client without the token gets nowhere."""
    everywhere = options.host in EVERY_INTERFACE
    return Door(token=options.token, hosts=None if everywhere else hosts_for(options.host))
