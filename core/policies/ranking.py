"""Scripts that ask the graph ranker: alone, and beside the careful investigation.

They need `EpisodeConfig.ranker`. They read only what the tools print, as a model does. Without those tools
both are as good as without the ranker: "unknown", and the investigation alone.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from typing import Any, NamedTuple

from core.policies.screen import ShownRow, rows
from core.policies.scripting import UNKNOWN, Answer, Call, Desk, Play, blame
from core.policies.sre.play import sre

NEEDED = {"rank_services", "explain_service"}
CALLS = 2
SURE = 50
"""Percent from which on the ranker's service is believed over that of the
investigation; half, and not fitted.
"""
_RANKED = re.compile(r"^1\. (?P<service>\S+) (?P<share>\d+) %$", re.MULTILINE)
_REASON = re.compile(r"^-\d+ points without (?P<reason>.*)$", re.MULTILINE)


class Ranking(NamedTuple):
    """What the ranker says."""

    service: str
    share: int
    """Percent."""
    answer: Answer


def ranker(desk: Desk) -> Play:
    """Blames the service that the ranker puts first."""
    found = yield from _ranking(desk)
    return found.answer if found else UNKNOWN


def sre_ranker(desk: Desk) -> Play:
    """Investigates with care, and believes the ranker where it is sure or the investigation finds nothing."""
    found = yield from _ranking(desk)
    left = desk.config.model_copy(update={"max_turns": max(1, desk.config.max_turns - CALLS)})
    own = yield from sre(desk._replace(config=left, tools=desk.tools - NEEDED))
    if found is None or own["suspected_service"] == found.service:
        return own
    return found.answer if found.share >= SURE or own == UNKNOWN else own


def _ranking(desk: Desk) -> Generator[Call, str, Ranking | None]:
    if not desk.tools >= NEEDED:
        return None
    alert = {"alert": desk.task[:500]}
    first = _RANKED.search((yield Call("rank_services", alert)))
    if not first:
        return None
    text = yield Call("explain_service", {"service": first["service"], **alert})
    return Ranking(first["service"], int(first["share"]), _blamed(first["service"], text))


def _blamed(service: str, text: str) -> Answer:
    """Return a report against the service, which quotes what the strongest reasons rest on."""
    shown = [row for row in rows(text) if row.service == service]
    reason = _REASON.search(text)
    because = reason["reason"] if reason else "it is the likeliest by metrics, logs and traces"
    if not shown:
        return {"root_cause": f"{service}: {because}", "suspected_service": service}
    return {**_of_rows(shown), "root_cause": f"{service}: {shown[0].message}; {because}"[:1500]}


def _of_rows(shown: list[ShownRow]) -> dict[str, Any]:
    return {**blame(shown[0]), "key_log_ids": [row.id for row in shown[:3]]}
