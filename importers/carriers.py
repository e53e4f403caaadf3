"""What container runtimes, kubectl and docker compose put around a program's own line.

A carrier has a clock, sometimes a name, and knows when it cut a long line into parts. What the
program wrote is `text_formats`.
"""

from __future__ import annotations

import json
import re
from typing import NamedTuple

from core.service_names import service_name, workload
from importers.clocks import moment

_CRI = re.compile(
    r"(?P<at>\d{4}-\d\d-\d\dT\S+) (?P<stream>stdout|stderr) (?P<tag>[FP])(?::\S*)? ?(?P<text>.*)", re.DOTALL
)
_STAMP = re.compile(
    r"(?P<at>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{3,9})?(?:Z|[+-]\d\d:\d\d)) (?P<text>.*)", re.DOTALL
)
_PREFIX = re.compile(r"\[pod/(?P<pod>[a-z0-9.-]+)/(?P<container>[a-z0-9.-]+)\] ?(?P<text>.*)", re.DOTALL)
_COMPOSE = re.compile(r"(?P<name>[A-Za-z][\w.-]{0,60}?)(?:[-_]\d+)? +\| (?P<text>.*)", re.DOTALL)
_DOCKER = re.compile(r'\{"log": ?"')
_SIDECARS = {"istio-proxy", "linkerd-proxy", "envoy"}


class Carried(NamedTuple):
    """One line as a program wrote it, or a part of one."""

    text: str
    at_ns: int | None = None
    service: str | None = None
    stream: str = ""
    is_part: bool = False
    """The line goes on in the next one of its stream."""


class Carriers(NamedTuple):
    """What a file's lines are wrapped in, found by looking at them."""

    stamped: bool
    """Every line begins with a clock that kubectl put there."""
    compose: bool


def carriers_of(lines: list[str]) -> Carriers:
    """Look at the first lines of a file."""
    texts = [line for line in lines if line.strip()]
    bare = [match["text"] if (match := _PREFIX.match(line)) else line for line in texts]
    stamped = len(bare) > 1 and all(_STAMP.match(line) for line in bare)
    compose = len(texts) > 1 and all(_COMPOSE.match(line) for line in texts)
    return Carriers(stamped, compose)


def carried(line: str, carriers: Carriers) -> Carried:
    """Take the carrier off a line."""
    first = line[:1]  # most lines have no carrier, and their first letter says so
    if first == "{" and _DOCKER.match(line) and (found := _docker(line)):
        return found
    if first.isdecimal() and (cri := _CRI.match(line)):
        return Carried(cri["text"], moment(cri["at"]), None, cri["stream"], cri["tag"] == "P")
    service, text = None, line
    if first == "[" and (prefix := _PREFIX.match(line)):
        service, text = _container(prefix["pod"], prefix["container"]), prefix["text"]
    elif carriers.compose and (compose := _COMPOSE.match(line)):
        service, text = service_name(compose["name"]), compose["text"]
    stamp = _STAMP.match(text) if carriers.stamped else None
    if stamp:
        return Carried(stamp["text"], moment(stamp["at"]), service)
    return Carried(text, None, service)


def _container(pod: str, container: str) -> str:
    name = workload(pod)
    return service_name(f"{name}/{container}" if container in _SIDECARS else name)


def _docker(line: str) -> Carried | None:
    """Read docker's json-file: a line of more than 16 kB comes in parts without a newline at their end."""
    try:
        found = json.loads(line)
        text, at_ns, stream = str(found["log"]), moment(found.get("time")), str(found.get("stream", ""))
    except (ValueError, TypeError, LookupError, RecursionError):
        return None
    return Carried(text.rstrip("\r\n"), at_ns, None, stream, not text.endswith("\n"))
