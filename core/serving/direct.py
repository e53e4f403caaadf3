"""Reach a service on this machine without the proxy that the environment names.

Clients of others (ART's, the OpenAI library) read HTTP_PROXY, and would ask a proxy for 127.0.0.1. Our own
clients ignore the environment (`trust_env=False`).
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from urllib.parse import urlsplit

from core.serving.listening import is_loopback

NAMES = ("NO_PROXY", "no_proxy")
"""Programs read one or the other."""


def reach_directly(url: str, environment: MutableMapping[str, str] = os.environ) -> None:
    """Add the host of a URL on this machine to those that need no proxy. Other hosts
    are left to the environment.
    """
    host = urlsplit(url).hostname or ""
    if not is_loopback(host):
        return
    for name in NAMES:
        known = [part for part in environment.get(name, "").split(",") if part.strip()]
        if host not in known and "*" not in known:
            environment[name] = ",".join([*known, host])
