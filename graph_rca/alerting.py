"""Who is told of a ranking: a Slack-compatible webhook and OpsGenie; what was not taken
is sent with the next look.

The webhook and its message are those of failure analysis. OpsGenie takes an alert with an alias, so that a
trouble that goes on is one alert there. Keys come from the environment and never stand in an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import httpx

from failure_analysis.receivers import (
    TIMEOUT_S,
    Message,
    Receiver,
    Refused,
    TryAgain,
    plain,
    receivers_from,
)
from graph_rca.explain import Reason
from graph_rca.rank import Ranked

OPSGENIE_KEY = "OPSGENIE_API_KEY"
OPSGENIE_URL = "OPSGENIE_URL"
_USUAL_URL = "https://api.opsgenie.com"


@dataclass(frozen=True)
class OpsGenie:
    """OpsGenie's alert API (v2)."""

    address: str
    key: str
    name: str = "OpsGenie"
    variable: str = OPSGENIE_KEY
    state: str = "alerts-opsgenie.json"

    def send(self, message: Message) -> None:
        """Create an alert. Raises TryAgain or Refused."""
        body = {"message": message.title[:130], "alias": message.title[:512], "source": "graph_rca",
                "description": "\n".join(f"{name}: {text}" for name, text in message.fields)[:15_000],
                "details": {"link": message.link}}  # fmt: skip
        try:
            answer = httpx.post(
                f"{self.address}/v2/alerts", json=body, headers={"Authorization": f"GenieKey {self.key}"},
                timeout=TIMEOUT_S, follow_redirects=False,
            )  # fmt: skip
        except (httpx.TransportError, httpx.InvalidURL) as trouble:
            raise TryAgain(type(trouble).__name__) from None  # its text may hold the address
        if answer.status_code == 429 or answer.status_code >= 500:
            raise TryAgain(f"it answered {answer.status_code}")
        if answer.status_code >= 300:
            raise Refused(f"it refuses with status {answer.status_code}")


def people(environment: Mapping[str, str]) -> list[Receiver]:
    """Return who is to be told. Raises ConfigurationError for an address that cannot be one."""
    found = receivers_from(environment)
    if key := environment.get(OPSGENIE_KEY, "").strip():
        found.append(OpsGenie(environment.get(OPSGENIE_URL, _USUAL_URL).rstrip("/"), key))
    return found


def message(found: Ranked, why: list[Reason], link: str) -> Message:
    """Return a ranking as a message: who, how likely, why, along which path, and what was missing."""
    first = found.order[0]
    likely = [
        f"{found.graph.services[place]} {100 * found.probabilities[place]:.0f} %" for place in found.order[:3]
    ]
    fields = [
        ("Root cause", f"likely {', '.join(likely)}"),
        ("Why", plain("; ".join(f"{one.what}: {one.text}" for one in why), 600)),
        ("Evidence", plain(", ".join(f"{e.kind} {e.id}" for one in why for e in one.evidence), 400)),
        ("Path", plain(" -> ".join(found.path()), 300)),
        ("Missing", plain("; ".join(found.graph.missing), 300)),
    ]
    title = f"Something is wrong; {plain(found.graph.services[first], 100)} is the likeliest cause"
    return Message(title, tuple((name, text) for name, text in fields if text), link, "Open the graph")


class Outbox:
    """Messages on their way. One that a receiver cannot take now is kept and sent again.

    With `once` there is no other look, and what was not taken is said to be lost.
    """

    def __init__(self, receivers: list[Receiver], *, once: bool = False) -> None:
        self._receivers = receivers
        self._then = (
            "there is no other look, so it is lost" if once else "it is sent again with the next look"
        )
        self._waiting: list[tuple[Receiver, Message]] = []

    def add(self, content: Message) -> None:
        """Take a message for every receiver."""
        self._waiting += [(receiver, content) for receiver in self._receivers]

    def send(self) -> list[str]:
        """Send what waits, and return what went wrong, in words."""
        told, left = [], []
        for receiver, content in self._waiting:
            try:
                receiver.send(content)
            except TryAgain as trouble:
                left.append((receiver, content))
                told.append(f"{receiver.name} did not take an alert ({trouble}); {self._then}")
            except Refused as trouble:
                told.append(f"{receiver.name} did not take an alert ({trouble}); check {receiver.variable}")
        self._waiting = left
        return told
