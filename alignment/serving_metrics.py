"""What each served adapter did: a log line and a span for every request, and counters
in Prometheus' text form.

    alignment_requests_total{adapter, kind, outcome}      kind is chat, triage or score; outcome is ok or failed
    alignment_seconds_total{adapter, kind}
    alignment_written_tokens_total{adapter, kind}

Labels are names of the registry, so what clients send never becomes a label. Not
here: the routes (`serving`).
"""

from __future__ import annotations

import logging
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Literal, TypeVar

from core.tracing import traced

log = logging.getLogger(__name__)
Kind = Literal["chat", "triage", "score"]
MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
T = TypeVar("T")


class Meter:
    """Counters of one process."""

    def __init__(self) -> None:
        self._requests: Counter[tuple[str, Kind, str]] = Counter()
        self._seconds: defaultdict[tuple[str, Kind], float] = defaultdict(float)
        self._tokens: Counter[tuple[str, Kind]] = Counter()

    async def measured(
        self,
        adapter: str,
        kind: Kind,
        work: Callable[[], Awaitable[T]],
        written: Callable[[T], int] = lambda _: 0,
    ) -> T:
        """Do the work of one request and count it. `written` reads the tokens that were
        written out of the result.
        """
        began, outcome, tokens = time.monotonic(), "failed", 0
        try:
            result = await traced(f"alignment.{kind}", {"adapter": adapter}, work)
            outcome, tokens = "ok", written(result)
            return result
        finally:
            seconds = time.monotonic() - began
            self._requests[adapter, kind, outcome] += 1
            self._seconds[adapter, kind] += seconds
            self._tokens[adapter, kind] += tokens
            log.info("%s by %s: %s, %d tokens, %.2f s", kind, adapter, outcome, tokens, seconds)

    def text(self) -> str:
        """Return the counters as Prometheus reads them."""
        return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        yield "# TYPE alignment_requests_total counter"
        for (adapter, kind, outcome), count in sorted(self._requests.items()):
            labels = f'adapter="{adapter}",kind="{kind}",outcome="{outcome}"'
            yield f"alignment_requests_total{{{labels}}} {count}"
        totals: dict[str, Mapping[tuple[str, Kind], float]]
        totals = {"seconds": self._seconds, "written_tokens": self._tokens}
        for name, counter in totals.items():
            yield f"# TYPE alignment_{name}_total counter"
            for (adapter, kind), value in sorted(counter.items()):
                yield f'alignment_{name}_total{{adapter="{adapter}",kind="{kind}"}} {value}'
