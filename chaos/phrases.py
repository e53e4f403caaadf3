"""What services write apart from causes, and how people tell of an incident:
`data/phrases.toml`, `data/speech.toml`.

A `Phrasebook` gives the wordings of one split. Which wording a service uses for a kind of row is its habit.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from chaos.faults import DATA, Pool


@dataclass(frozen=True)
class EventWording:
    """A kind of event that a cluster reports."""

    reason: str
    type: str
    message: str


@cache
def _data(name: str) -> Mapping[str, Any]:
    return tomllib.loads((DATA / f"{name}.toml").read_text(encoding="utf-8"))


@cache
def _wordings(kind: str, pool: Pool) -> tuple[str, ...]:
    found: Any = _data("phrases")
    for part in kind.split("."):
        found = found[part]
    return tuple(found[pool])


@dataclass(frozen=True)
class Phrasebook:
    """The wordings of one split."""

    pool: Pool

    def of(self, kind: str) -> tuple[str, ...]:
        """The wordings of a kind, such as 'failed' or 'routine.store'."""
        return _wordings(kind, self.pool)

    def pick(self, kind: str, style: int) -> str:
        """The wording that a service of this style uses."""
        wordings = self.of(kind)
        return wordings[style % len(wordings)]

    def timeout(self, style: int) -> str:
        """How a service of this style says that it waited in vain."""
        found = _data("phrases")["reason"][f"timeout_{self.pool}"]
        return str(found[style % len(found)])

    def events(self) -> tuple[EventWording, ...]:
        """Kinds of events."""
        return tuple(
            EventWording(item["reason"], item["type"], item["message"])
            for item in _data("phrases")["events"]
            if item["pool"] == self.pool
        )


def speech(kind: str) -> tuple[str, ...]:
    """How people put it: 'error', 'slow', 'quiet', 'reports', 'entrance', 'hints'."""
    return tuple(_data("speech")[kind])


def every_wording(pool: Pool) -> list[str]:
    """All wordings of a split apart from causes."""
    found: list[str] = []

    def walk(part: Any) -> None:
        if isinstance(part, Mapping) and "message" in part:
            found.extend([part["message"]] if part["pool"] == pool else ())
        elif isinstance(part, Mapping):
            for key, value in part.items():
                if isinstance(value, str | Mapping) or key.endswith(pool) or key == "events":
                    walk(value)
        elif isinstance(part, list):
            for item in part:
                walk(item)
        elif isinstance(part, str):
            found.append(part)

    walk(_data("phrases"))
    return found
