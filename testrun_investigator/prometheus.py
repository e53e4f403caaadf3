"""Read the metrics of a test run from Prometheus: always for the time of the run, never for now.

The step follows from the length of the run, so that a range never asks for more points than a server gives.
Each series says its extremes and when they were. Starting a Prometheus of one's own over a run's snapshot is
`local_prometheus`.
"""

from __future__ import annotations

import asyncio
import io
import math
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from core.redaction import redact
from project_types import ConfigurationError, InvestigatorError, Window

MOST_POINTS = 11_000
"""What a Prometheus server gives for one series in one range query."""
USUAL_POINTS = 120
_MOST_BYTES = 64 << 20


class PrometheusError(InvestigatorError):
    """Metrics cannot be read; the text says why and what to do."""


class NamedQuery(NamedTuple):
    """A query worth asking about any run."""

    promql: str
    unit: str
    meaning: str


NAMED: Mapping[str, NamedQuery] = {
    "load": NamedQuery("avg by (instance) (scylla_reactor_utilization)", "%", "how busy each node's shards are"),
    "requests": NamedQuery("sum by (instance) (scylla_transport_requests_served)", "1/s", "CQL requests served"),
    "write_timeouts": NamedQuery("sum by (instance) (scylla_storage_proxy_coordinator_write_timeouts)", "1/s",
                                 "writes that timed out, by coordinator"),
    "read_errors": NamedQuery("sum by (instance) (scylla_storage_proxy_coordinator_read_errors)", "1/s",
                              "reads that failed, by coordinator"),
    "compactions": NamedQuery("sum by (instance) (scylla_compaction_manager_pending)", "tasks", "compactions that wait"),
    "free_memory": NamedQuery("sum by (instance) (scylla_memory_free_memory)", "bytes", "memory left to Scylla"),
    "io_delay": NamedQuery("max by (instance) (scylla_io_queue_delay)", "s", "time that disk requests wait in the queue"),
    "live_nodes": NamedQuery("min by (instance) (scylla_gossip_live)", "nodes", "nodes that each node believes alive"),
    "disk_free": NamedQuery("min by (instance) (node_filesystem_avail_bytes)", "bytes", "space left on the data volume"),
    "network": NamedQuery("sum by (instance) (node_network_receive_bytes)", "bytes/s", "bytes received"),
}  # fmt: skip


class Series(NamedTuple):
    """One time series: its labels and its finite points, in time order."""

    labels: Mapping[str, str]
    points: Sequence[tuple[datetime, float]]

    @property
    def lowest(self) -> tuple[datetime, float]:
        """Return the smallest point."""
        return min(self.points, key=lambda point: point[1])

    @property
    def highest(self) -> tuple[datetime, float]:
        """Return the largest point."""
        return max(self.points, key=lambda point: point[1])

    @property
    def usual(self) -> float:
        """Return the median of the first quarter: the level the run began with."""
        first = sorted(value for _, value in self.points[: max(1, len(self.points) // 4)])
        return first[len(first) // 2]

    @property
    def moved(self) -> float:
        """Return how far the series went from its usual level, as a share of it;
        a fall counts like a rise.
        """
        far = max(abs(self.highest[1] - self.usual), abs(self.lowest[1] - self.usual))
        return far / max(abs(self.usual), 1e-9)


class Metrics(NamedTuple):
    """What a range query answered."""

    promql: str
    window: Window
    step_s: int
    series: Sequence[Series]
    """Those that moved furthest first."""


def step_of(window: Window, points: int = USUAL_POINTS) -> int:
    """Return the seconds between two points, so that the window has at most so many."""
    span = (window.end - window.start).total_seconds()
    return max(1, math.ceil(span / min(points, MOST_POINTS - 1)))


def query_of(name: str | None, promql: str | None) -> str:
    """Return the PromQL that a name or a query stands for. Raises PrometheusError with the known names."""
    if promql and promql.strip() and not name:
        return promql.strip()
    if name and not promql:
        if name not in NAMED:
            raise PrometheusError(
                f"name={name[:60]!r}: unknown; use one of {', '.join(NAMED)}, or give query"
            )
        return NAMED[name].promql
    raise PrometheusError(f"give either query (PromQL) or name, one of {', '.join(NAMED)}")


async def query_range(
    url: str, promql: str, window: Window, deadline_s: float = 20.0, points: int = USUAL_POINTS
) -> Metrics:
    """Ask a server for a range.

    Raises:
        PrometheusError: the server is not there, is late, or refuses the query.
    """
    step = step_of(window, points)
    try:
        async with asyncio.timeout(deadline_s):
            found = await asyncio.to_thread(_ask, url.rstrip("/"), promql, window, step, deadline_s)
    except TimeoutError:
        raise PrometheusError(f"{url}: did not answer within {deadline_s:.0f} s; narrow the query") from None
    series = [one for one in map(_series, found) if one.points]
    return Metrics(promql, window, step, sorted(series, key=lambda one: -one.moved))


def _series(raw: Any) -> Series:
    try:
        points = [(datetime.fromtimestamp(float(at), UTC), float(value)) for at, value in raw["values"]]
        labels = {str(name): str(value) for name, value in raw["metric"].items()}
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as trouble:
        raise PrometheusError(f"the server's answer is no range ({type(trouble).__name__})") from None
    return Series(labels, [point for point in points if math.isfinite(point[1])])


def _ask(url: str, promql: str, window: Window, step: int, deadline_s: float) -> list[Any]:
    """Ask with the usual client, bounded in time and in bytes, without retries and without proxies."""
    try:
        import requests
        from prometheus_api_client.exceptions import PrometheusApiClientException
        from prometheus_api_client.prometheus_connect import PrometheusConnect
    except ModuleNotFoundError as missing:
        raise ConfigurationError(f"metrics need {missing.name}; run: pip install -e '.[mcp]'") from missing
    with requests.Session() as session:
        session.trust_env = False
        client = PrometheusConnect(url, session=session, timeout=min(deadline_s, 10.0))
        session.mount(url, _bounded(deadline_s))
        try:
            answer = client.custom_query_range(promql, window.start, window.end, str(step))
        except PrometheusApiClientException as refused:
            raise PrometheusError(f"{url}: refused the query: {redact(str(refused))[:400]}") from None
        except (requests.RequestException, ValueError, LookupError, TypeError) as trouble:
            why = redact(f"{type(trouble).__name__}: {trouble}")[:200]
            raise PrometheusError(f"{url}: cannot be read ({why}); check PROMETHEUS_URL") from None
    if not isinstance(answer, list):
        raise PrometheusError(f"{url}: the answer is no range; is it a Prometheus server?")
    return answer


def _bounded(deadline_s: float) -> Any:
    """Return an HTTP adapter that reads a body in bounded time and size."""
    import requests
    from requests.adapters import HTTPAdapter

    class Bounded(HTTPAdapter):
        def send(self, *arguments: Any, **options: Any) -> requests.Response:
            ends = time.monotonic() + deadline_s
            response = super().send(*arguments, **{**options, "stream": True})
            body = bytearray()
            for piece in response.raw.stream(64 << 10, decode_content=True):
                body += piece
                if len(body) > _MOST_BYTES or time.monotonic() > ends:
                    response.close()
                    raise requests.ConnectionError("the answer is too large or too slow")
            response.raw = io.BytesIO(bytes(body))
            return response

    return Bounded()
