"""When an incident is: a healthy stretch, a suspicious stretch, and the moment of the alert, in seconds UTC.

An incident that names its healthy window is cut there. Otherwise the first 60 % of the time that
its rows, spans and metrics cover counts as healthy. The time hint gives a moment too; `graph`
prefers the one that metrics show.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from project_types import Incident, MetricSeries

_CLOCK = re.compile(r"(?<!\d)([01]?\d|2[0-3]):([0-5]\d)(?!\d)")
_HEALTHY_SHARE = 0.6
_MARGIN_S = 300.0
"""How far outside the data an alert may lie."""


class Windows(NamedTuple):
    """Seconds since 1970, UTC."""

    start: float
    """Where the healthy stretch begins."""
    split: float
    """Where it ends, and the suspicious one begins."""
    end: float
    alert: float | None = None
    """None: not known yet."""

    @property
    def before_s(self) -> float:
        """Length of the healthy stretch."""
        return max(1.0, self.split - self.start)

    @property
    def now_s(self) -> float:
        """Length of the suspicious stretch."""
        return max(1.0, self.end - self.split)


def windows_of(incident: Incident) -> Windows:
    """Return the windows of an incident; all are zero when nothing in it has a clock."""
    moments = sorted(_moments(incident))
    if not moments:
        return Windows(0.0, 0.0, 0.0)
    start, end = moments[0], moments[-1]
    split = start + _HEALTHY_SHARE * (end - start)
    if incident.baseline:
        split = incident.baseline.end.timestamp()
        start = incident.baseline.start.timestamp()
    return Windows(start, split, max(end, split + 1.0), alert_of(incident.time_hint, split, end))


def _moments(incident: Incident) -> Iterable[float]:
    yield from (row.timestamp.timestamp() for row in incident.logs if row.timestamp)
    yield from (span.start.timestamp() for span in incident.spans)
    for one in incident.metrics:
        yield from ends_of(one)


def ends_of(series: MetricSeries) -> tuple[float, ...]:
    """Return the first and the last moment of a series."""
    if series.start is not None and series.step_s is not None:
        first = series.start.timestamp()
        return first, first + series.step_s * max(0, len(series.values) - 1)
    points = series.points
    return (points[0][0].timestamp(), points[-1][0].timestamp()) if points else ()


def alert_of(hint: str, start: float, end: float) -> float | None:
    """Return the moment between start and end at which a clock shows what the hint says, or None."""
    found = _CLOCK.search(hint)
    if not found:
        return None
    midnight = datetime.fromtimestamp(start, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    clock = timedelta(hours=int(found[1]), minutes=int(found[2]))
    for day in (0, 1, -1):  # an incident around midnight
        moment = (midnight + timedelta(days=day) + clock).timestamp()
        if start - _MARGIN_S <= moment <= end + _MARGIN_S:
            return moment
    return None
