"""Four rules of thumb that name a service without investigating: a quick alarm that a split has become too
easy.

The published baselines, with the judge and with intervals, are `python -m chaos baselines`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from core.log_stores.masks import masked
from project_types import Scenario, Span


def loudest_error(scenario: Scenario) -> str | None:
    """The service with most ERROR rows."""
    counts = Counter(row.service for row in scenario.logs if row.level in ("ERROR", "FATAL"))
    return counts.most_common(1)[0][0] if counts else None


def first_error(scenario: Scenario) -> str | None:
    """The service of the first ERROR row."""
    return next(
        (row.service for row in sorted(scenario.logs, key=lambda row: row.sort_key) if row.level == "ERROR"),
        None,
    )


def deepest_failing(scenario: Scenario) -> str | None:
    """The service of the failing span furthest from its root."""
    spans = {(span.trace_id, span.span_id): span for span in scenario.spans}

    def depth(span: Span) -> int:
        parent = spans.get((span.trace_id, span.parent_span_id or ""))
        return 1 + depth(parent) if parent else 0

    failing = [span for span in scenario.spans if span.failed]
    return max(failing, key=lambda span: (depth(span), span.duration_ms)).service if failing else None


def rarest_warning(scenario: Scenario) -> str | None:
    """The service of the rarest kind of WARN or ERROR row."""
    loud = [row for row in scenario.logs if row.level in ("WARN", "ERROR", "FATAL")]
    kinds = Counter((row.service, masked(row.message)) for row in loud)
    return (
        min(loud, key=lambda row: (kinds[row.service, masked(row.message)], row.sort_key)).service
        if loud
        else None
    )


RULES: dict[str, Callable[[Scenario], str | None]] = {
    "loudest error": loudest_error,
    "first error": first_error,
    "deepest failing span": deepest_failing,
    "rarest warning": rarest_warning,
}
