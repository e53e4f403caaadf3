"""Names of services as sources write them: made safe to print and to quote, and freed
of what names an instance.

A pod is one instance of a service, and the service is what an investigation is about. Which field of a source
holds the name is the reader's business.
"""

from __future__ import annotations

import re
from functools import lru_cache

UNNAMED = "unnamed"
"""The service of a row whose source names none."""
MOST_LETTERS = 120
_UNSAFE = re.compile(r"[^A-Za-z0-9._:/-]+")
_HASH = "[bcdfghjklmnpqrstvwxz2456789]"
"""Letters that Kubernetes draws the ends of names from: no vowels, so that no word comes out."""
_POD = re.compile(
    rf"(?P<name>.+?)-(?:{_HASH}{{6,10}}-{_HASH}{{5}}|[0-9a-f]{{8,10}}-[a-z0-9]{{5}}|{_HASH}{{5}}|\d{{1,3}})"
)
"""A pod of a Deployment, of a DaemonSet or Job, or of a StatefulSet."""
_DIGIT = re.compile(r"\d")


@lru_cache(maxsize=4096)
def service_name(name: str, otherwise: str = UNNAMED) -> str:
    """Return a name that is safe to print, to quote and to put in a file name."""
    safe = _UNSAFE.sub("_", name).lstrip("._:/-")[:MOST_LETTERS].rstrip("._:/-")
    return safe or otherwise


@lru_cache(maxsize=4096)
def workload(pod: str) -> str:
    """Return the name of the Deployment, StatefulSet, DaemonSet or Job that a pod belongs to.

    `cart-6d5f7c9b4-x2x4z` belongs to `cart`, `db-0` to `db`. A name that is no pod's is returned as it is.
    """
    found = _POD.fullmatch(pod)
    if not found:
        return pod
    end = pod[len(found["name"]) + 1 :]
    # five letters without a digit are as likely a word as a hash
    return pod if len(end) == 5 and not _DIGIT.search(end) else found["name"]
