"""What a labelled source says of an incident, in the words of a scenario's truth.

Data sets name a fault by a word such as `cpu_contention`. A report names it in words of its own, so each kind
has phrases that name it rightly, and phrases of other kinds that do not. Nothing of this reaches an agent: it
stands in the file's truth, and the description is vague.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from project_types import UNKNOWN, Window


class Label(NamedTuple):
    """The answer to an incident, and how people told of it."""

    service: str
    fault: str
    """As the source names it."""
    description: str
    time_hint: str
    source: str
    """Where the data comes from, for the provenance."""
    licence: str | None = None
    baseline: Window | None = None


class Kind(NamedTuple):
    """A kind of fault that data sets inject."""

    told: str
    """A sentence, with the service as {service}."""
    accepted: tuple[str, ...]


KINDS: Mapping[str, Kind] = {
    "cpu": Kind(
        "{service} is short of CPU: something else uses up its processor time",
        ("cpu contention", "cpu stress", "high cpu usage", "cpu load", "cpu saturation", "cpu throttling",
         "cpu hog", "cpu exhausted", "cpu starvation", "cpu pressure", "cpu overload", "short of cpu",
         "cpu usage rose", "slow cpu", "slow by itself", "own time rose"),
    ),
    "memory": Kind(
        "{service} is short of memory",
        ("memory contention", "memory stress", "high memory usage", "memory leak", "out of memory",
         "memory exhausted", "memory pressure", "oom killed", "short of memory", "memory usage rose",
         "jvm heap full", "garbage collection long", "memory overload"),
    ),
    "disk": Kind(
        "the disk of {service} is slow or overloaded",
        ("disk io stress", "disk slow", "disk io high", "disk contention", "disk read high",
         "disk write high", "io pressure", "disk overload", "disk latency", "disk space full",
         "no space left", "disk full", "io wait high"),
    ),
    "delay": Kind(
        "packets to and from {service} are delayed by the network",
        ("network delay", "network latency", "slow network", "high network latency", "delayed packets",
         "network slow", "latency between services", "connection slow", "gap between caller and callee",
         "calls under way long"),
    ),
    "loss": Kind(
        "packets to and from {service} are lost by the network",
        ("packet loss", "network loss", "lost packets", "dropped packets", "packets dropped",
         "network corruption", "corrupt packets", "retransmissions network", "network unstable"),
    ),
    "partition": Kind(
        "the network cuts {service} off",
        ("network partition", "network unreachable", "connection refused", "cut off network",
         "isolated network", "no route host", "bandwidth limit", "network bandwidth"),
    ),
    "socket": Kind(
        "{service} has no socket left",
        ("socket stress", "sockets exhausted", "too many sockets", "too many connections", "port exhaustion",
         "file descriptors exhausted"),
    ),
    "exception": Kind(
        "{service} throws an exception in its code",
        ("throws exception", "exception thrown", "code exception", "exception code", "unhandled exception",
         "raises exception", "exception injected", "code bug", "code error", "code defect",
         "method throws"),
    ),
    "return": Kind(
        "{service} returns a wrong value: a bug in its code",
        ("wrong return value", "returns wrong", "wrong value", "incorrect response", "returns error",
         "code bug", "code error", "code defect", "wrong result", "unexpected value", "empty result",
         "returns null", "returns failure", "logic error", "incorrect data"),
    ),
    "restart": Kind(
        "an instance of {service} was stopped or restarted",
        ("pod killed", "pod failure", "instance restarted", "container killed", "pod crash",
         "process crashed", "service stopped", "pod restarted", "container restarted", "instance down",
         "service down", "node crash", "pod unavailable", "process killed", "service crashed"),
    ),
    "code": Kind(
        "the code of {service} has a defect",
        ("code bug", "code defect", "code error", "wrong code", "incorrect parameter", "missing parameter",
         "missing function", "wrong value", "incorrect return", "missing exception handler", "logic error",
         "throws exception", "regression code"),
    ),
    "database": Kind(
        "connections of {service} to its database fail or run out",
        ("db connection limit", "database connections exhausted", "database connection limit",
         "too many connections", "db close", "database closed", "connection pool exhausted",
         "database unavailable"),
    ),
    "dns": Kind(
        "{service} cannot resolve names",
        ("dns failure", "name resolution fails", "dns error", "unknown host"),
    ),
    "time": Kind(
        "the clock of {service} is wrong",
        ("clock skew", "time skew", "wrong clock", "clock drift"),
    ),
    "http": Kind(
        "requests of {service} are aborted, delayed or changed on their way",
        ("http abort", "http delay", "request aborted", "response replaced", "response patched", "http fault",
         "wrong response", "aborted requests"),
    ),
}  # fmt: skip
"""Kinds by name; how sources name them is in `_WORDS`."""
_WORDS: tuple[tuple[str, str], ...] = (
    (r"dns", "dns"),
    (r"time.?skew|clock", "time"),
    (r"return", "return"),
    (r"exception|gc\b|runtime.?mutator", "exception"),
    (r"http|request|response", "http"),
    (r"loss|corrupt|duplicate|retrans", "loss"),
    (r"partition|isolation|bandwidth|interrupt", "partition"),
    (r"delay|latency", "delay"),
    (r"socket", "socket"),
    (r"\bdb\b|database|mysql|connection", "database"),
    (r"cpu", "cpu"),
    (r"mem|jvm|heap|oom", "memory"),
    (r"disk|i/?o\b|space", "disk"),
    (r"kill|fail|crash|restart|stop|terminat|down", "restart"),
    (r"^f\d$|code|defect|bug", "code"),
    (r"network|packet", "loss"),
)
"""Which kind the words of a fault mean; the first that fits counts, the more telling ones stand first."""
DESCRIPTIONS = (
    "Some requests fail or take very long.",
    "Users complain that the site does not work as it should.",
    "The error budget burns faster than it should.",
    "Customers report failures and slow pages.",
)


def vague(key: str) -> str:
    """Return a description that names nothing; which one depends on the incident's key alone."""
    return DESCRIPTIONS[sum(key.encode()) % len(DESCRIPTIONS)]


def kind_of(fault: str) -> str:
    """Return the name of the kind a source's fault belongs to; the fault itself where no kind is known."""
    text = re.sub(r"[_\-]+", " ", fault.lower())
    return next((kind for pattern, kind in _WORDS if re.search(pattern, text)), text)


def truth_of(label: Label) -> dict[str, Any]:
    """Return the fields that make an incident a scenario."""
    name = kind_of(label.fault)
    kind = KINDS.get(name) or Kind("{service}: " + name, (name,))
    told = kind.told.format(service=label.service)
    accepted = tuple(dict.fromkeys((*kind.accepted, re.sub(r"[_\-]+", " ", label.fault.lower()))))
    rejected = [
        other.accepted[0]
        for title, other in KINDS.items()
        if title != name and other.accepted[0] not in accepted
    ]
    known = label.service != UNKNOWN
    parts: dict[str, Any] = {
        "expected_root_cause": told if known else "the evidence does not suffice",
        "ground_truth": {
            "service": label.service,
            "fault_type": name.replace(" ", "_"),
            "accepted_causes": accepted if known else (),
            "rejected_causes": rejected if known else (),
        },
        "gold_report": {"root_cause": told, "suspected_service": label.service},
        "provenance": {"source": label.source, "licence": label.licence},
    }
    if label.baseline is not None:
        parts["baseline"] = label.baseline.model_dump(mode="json")
    return parts
