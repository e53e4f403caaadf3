"""Tells a webhook about critical failures, once per group: Slack-compatible JSON, retried, remembered.

A group of alike failures is told once and again only after it has been quiet for QUIET_HOURS, so a loop that
fails a thousand times is one message. What was told is kept in `alerts.json` beside failures.db: a restart
does not repeat it. Old failures are no news: only those of the last LOOK_BACK_HOURS are told. Texts come from
logs: they are escaped for Slack's markup and cut. The webhook's address is a secret: it is read from
FAILURE_ANALYSIS_WEBHOOK and never printed.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    wait_exponential,
    wait_random,
)
from tenacity.wait import wait_base

from failure_analysis.records import Experiment, Severity
from failure_analysis.store import FailureStore, Wanted
from project_types import ConfigurationError, InvestigatorError

log = logging.getLogger(__name__)
WEBHOOK = "FAILURE_ANALYSIS_WEBHOOK"
STATE = "alerts.json"
QUIET_HOURS = 24.0
LOOK_BACK_HOURS = 24.0
PAUSE_S = 300.0
"""After a message that the webhook did not take."""
MOST_AT_ONCE = 10
"""Messages of one pass; the rest is summed up in one more."""
ATTEMPTS = 5
LONGEST_WAIT_S = 30.0
TIMEOUT_S = 10.0
_LOOKED_AT = 1000
_KEPT = 2000


class AlertError(InvestigatorError):
    """The webhook did not take a message; the text says why and what to check. It is sent again later."""


class _TryAgain(Exception):
    """The webhook may take it later."""

    def __init__(self, why: str, after_s: float | None = None) -> None:
        super().__init__(why)
        self.after_s = after_s


class _Refused(Exception):
    """The webhook will not take it, however often it is asked."""


class _Wait(wait_base):
    """As long as the receiver asks, else longer each time."""

    def __init__(self, first_s: float) -> None:
        self._growing = wait_exponential(multiplier=first_s, max=LONGEST_WAIT_S) + wait_random(0, first_s)

    def __call__(self, retry_state: RetryCallState) -> float:
        trouble = retry_state.outcome.exception() if retry_state.outcome else None
        if isinstance(trouble, _TryAgain) and trouble.after_s is not None:
            return min(trouble.after_s, LONGEST_WAIT_S)
        return self._growing(retry_state)


def webhook_from(environment: Mapping[str, str]) -> str | None:
    """The webhook's address, None when there is none. Raises ConfigurationError for one that is no http
    address.
    """
    address = environment.get(WEBHOOK, "").strip()
    if not address:
        return None
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigurationError(
            f"{WEBHOOK} is no http or https address; copy it again from where the webhook was made"
        )
    return address


class Alerts:
    """Sends what is new and critical in a store to a webhook."""

    def __init__(
        self,
        store: FailureStore,
        webhook: str,
        *,
        link: str = "",
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        first_wait_s: float = 1.0,
        attempts: int = ATTEMPTS,
        pause_s: float = PAUSE_S,
    ) -> None:
        self._pause, self._refused_at, self._refusal = (
            timedelta(seconds=pause_s),
            datetime.min.replace(tzinfo=UTC),
            "",
        )
        self._store, self._webhook, self._link, self._clock = store, webhook, link.rstrip("/"), clock
        self._retrying = Retrying(
            retry=retry_if_exception_type(_TryAgain),
            stop=stop_after_attempt(attempts),
            wait=_Wait(first_wait_s),
            reraise=True,
        )

    def send_new(self) -> None:
        """Tell what was not told yet.

        Raises:
            AlertError: the webhook did not take it, now or less than `pause_s` ago. What it took is
            remembered.
        """
        if self._refusal and self._clock() - self._refused_at < self._pause:
            raise AlertError(self._refusal)
        self._refusal = ""
        told = self.due()
        for group in told[:MOST_AT_ONCE]:
            self._post(message(group, self._link))
            self._remember(group[:1])
        if rest := told[MOST_AT_ONCE:]:
            self._post(summary(rest, self._link))
            self._remember([group[0] for group in rest])

    def due(self) -> list[list[Experiment]]:
        """Groups of critical failures that should be told now, the latest failure of each first."""
        if not self._store.path.exists():
            return []
        now = self._clock()
        wanted = Wanted(severities=(Severity.CRITICAL,), since=now - timedelta(hours=LOOK_BACK_HOURS))
        groups: dict[str, list[Experiment]] = {}
        for experiment in self._store.experiments(wanted, limit=_LOOKED_AT).rows:
            if experiment.failure is not None:
                groups.setdefault(experiment.failure.signature, []).append(experiment)
        remembered, due = self._remembered(), []
        for signature, group in groups.items():
            last = remembered.get(signature)
            if last is None or (group[0].at - last).total_seconds() > QUIET_HOURS * 3600:
                due.append(group)
            elif group[0].at > last:
                self._remember(group[:1])  # still failing: not quiet yet
        return due

    # -- memory

    @property
    def _state(self) -> Path:
        return self._store.folder / STATE

    def _remembered(self) -> dict[str, datetime]:
        """Signature → its latest failure that was told of, or was known when it was."""
        try:
            found = json.loads(self._state.read_bytes())
            return {str(key): datetime.fromisoformat(value).astimezone(UTC) for key, value in found.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, AttributeError) as trouble:
            raise AlertError(
                f"{self._state}: cannot be read ({trouble}); delete it, then groups are told again"
            ) from trouble

    def _remember(self, told: list[Experiment]) -> None:
        state = self._remembered()
        for experiment in told:
            if experiment.failure is not None:
                state[experiment.failure.signature] = max(
                    experiment.at, state.get(experiment.failure.signature, experiment.at)
                )
        kept = sorted(state.items(), key=lambda item: item[1])[-_KEPT:]
        fresh = self._state.with_name(f"{STATE}.new")
        try:
            fresh.write_text(
                json.dumps({key: at.isoformat() for key, at in kept}, indent=0) + "\n", encoding="utf-8"
            )
            os.replace(fresh, self._state)
        except OSError as trouble:
            raise AlertError(
                f"{self._state}: cannot be written ({trouble.strerror}); without it alerts would repeat"
            ) from trouble

    # -- sending

    def _post(self, content: Mapping[str, Any]) -> None:
        try:
            self._retrying(self._post_once, content)
        except (_TryAgain, _Refused) as trouble:
            self._refused_at = self._clock()
            self._refusal = (
                f"the webhook did not take an alert ({trouble}); it is sent again later; check {WEBHOOK}"
            )
            raise AlertError(self._refusal) from trouble

    def _post_once(self, content: Mapping[str, Any]) -> None:
        try:
            answer = httpx.post(
                self._webhook, json=content, timeout=TIMEOUT_S, follow_redirects=False, trust_env=True
            )
        except (httpx.TransportError, httpx.InvalidURL) as trouble:
            raise _TryAgain(type(trouble).__name__) from None  # its text may hold the address
        if answer.status_code == 429 or answer.status_code >= 500:
            raise _TryAgain(f"it answered {answer.status_code}", _seconds(answer.headers.get("retry-after")))
        if answer.status_code >= 300:
            raise _Refused(f"it refuses with status {answer.status_code}")
        log.info("alert sent")


def message(group: list[Experiment], link: str) -> dict[str, Any]:
    """One group as Slack-compatible JSON; `text` alone says it all to a receiver that knows no blocks."""
    latest = group[0]
    why = latest.failure_analysis
    assert why is not None, "only failures are told"
    times = f" ({len(group)} times)" if len(group) > 1 else ""
    title = f"Critical: {_plain(latest.name, 150)} failed{times}"
    fields = [
        ("Category", why.failure_category.replace("_", " ")),
        ("Root cause", why.root_cause),
        ("Fix", why.fix_suggestion),
    ]
    lines = [f"*{name}:* {_plain(text, 600)}" for name, text in fields if text]
    if link:
        lines.append(f"<{link}/experiments/{latest.id}|Open it>")
    return {
        "text": f"{title}: {_plain(why.root_cause, 300)}",
        "blocks": [
            {"type": "section", "text": {"type": "mrkdwn", "text": f"*{title}*"}},
            {"type": "section", "text": {"type": "mrkdwn", "text": "\n".join(lines)}},
        ],
    }


def summary(groups: list[list[Experiment]], link: str) -> dict[str, Any]:
    """Many groups in one message."""
    where = f" <{link}/experiments?severity=critical|Open them>" if link else ""
    return {"text": f"Critical: {len(groups)} more groups of failures.{where}"}


def _plain(text: str, most: int) -> str:
    """Text on one line that Slack shows as it is: no mention, no link, no formatting of its own."""
    one_line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    cut = one_line if len(one_line) <= most else one_line[: most - 1] + "…"
    return cut.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _seconds(header: str | None) -> float | None:
    try:
        return max(0.0, float(header)) if header else None
    except ValueError:
        return None
