"""For PYTHONPATH: in every Python process of a test, a look-up or a connection that is not loopback is
refused and written down.

Python imports `sitecustomize` before anything else, in child processes too. The file named by
ONLY_LOOPBACK_LOG gets one line per attempt.
"""

from __future__ import annotations

import os
import sys
from typing import Any

LOOPBACK = {"127.0.0.1", "localhost", "::1", "0.0.0.0", "", None}


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "socket.connect":
        address = arguments[1]
        host = address[0] if isinstance(address, tuple) else None  # a Unix socket has no host
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = arguments[0]
    else:
        return
    host = host.decode() if isinstance(host, bytes) else host
    if host not in LOOPBACK:
        with open(os.environ["ONLY_LOOPBACK_LOG"], "a", encoding="utf-8") as log:
            log.write(f"{event} {host} in {sys.argv[:4]}\n")
        raise ConnectionRefusedError(f"this test allows loopback only, not {host}")


sys.addaudithook(_refuse)
