"""How faults act: where calls hurt, and whether they fail at once or come too late. Data, with names for it.

slow_self: the culprit answers late. fail_self: it answers with an error. unreached: callers cannot get
through to it. hang: it takes requests and never answers. late_start: it begins its work late, because the
work queues. bad_response: its answers cannot be read by who called. caller_edge: its calls to one peer never
arrive. caller_deadline: it gives one peer too little time. slow_link: its calls to one peer take long
although the peer is quick. bad_request: it sends one peer something that the peer refuses. flood: it buries
one peer in calls, and everybody who needs that peer suffers. cold_cache: it answers with misses, and the
stores behind its readers suffer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Mechanism:
    """What a mechanism does to calls."""

    late: bool = False
    """Calls are answered too late; otherwise they fail at once."""
    inner: bool = False
    """It is the culprit's own call to its peer that breaks."""
    behind: bool = False
    """Others than the culprit are slow: its peer, or the stores behind a cache."""
    inside: bool = False
    """It acts while the sufferer works; otherwise on the way to it."""


MECHANISMS: Mapping[str, Mechanism] = {
    "slow_self": Mechanism(late=True, inside=True),
    "fail_self": Mechanism(inside=True),
    "unreached": Mechanism(),
    "hang": Mechanism(late=True),
    "late_start": Mechanism(late=True),
    "bad_response": Mechanism(),
    "caller_edge": Mechanism(inner=True),
    "caller_deadline": Mechanism(inner=True, late=True),
    "slow_link": Mechanism(inner=True, late=True),
    "bad_request": Mechanism(inner=True),
    "flood": Mechanism(behind=True, late=True, inside=True),
    "cold_cache": Mechanism(behind=True, late=True, inside=True),
}
