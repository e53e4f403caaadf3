"""Tells people about critical failures, once per group: through a webhook or by e-mail, retried, remembered.

A group of alike failures is told once and again only after it has been quiet for QUIET_HOURS, so a loop that
fails a thousand times is one message. What a receiver was told is kept in a file beside failures.db: a
restart does not repeat it. Old failures are no news: only those of the last LOOK_BACK_HOURS are told. A group
that somebody marked as known is not told. How a message is sent is in `receivers`.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    wait_exponential,
    wait_random,
)
from tenacity.wait import wait_base

from core.files import replace_file
from failure_analysis.notes import NOTHING_SAID, Notes
from failure_analysis.receivers import Message, Receiver, Refused, TryAgain, plain
from failure_analysis.records import Experiment, Severity
from failure_analysis.store import FailureStore, Wanted
from project_types import InvestigatorError

log = logging.getLogger(__name__)
QUIET_HOURS = 24.0
LOOK_BACK_HOURS = 24.0
PAUSE_S = 300.0
"""After a message that the receiver did not take."""
MOST_AT_ONCE = 10
"""Messages of one pass; the rest is summed up in one more."""
ATTEMPTS = 5
LONGEST_WAIT_S = 30.0
_LOOKED_AT = 1000
_KEPT = 2000


class AlertError(InvestigatorError):
    """A receiver did not take a message; the text says why and what to check. It is sent again later."""


class _Wait(wait_base):
    """As long as the receiver asks, else longer each time."""

    def __init__(self, first_s: float) -> None:
        self._growing = wait_exponential(multiplier=first_s, max=LONGEST_WAIT_S) + wait_random(0, first_s)

    def __call__(self, retry_state: RetryCallState) -> float:
        trouble = retry_state.outcome.exception() if retry_state.outcome else None
        if isinstance(trouble, TryAgain) and trouble.after_s is not None:
            return min(trouble.after_s, LONGEST_WAIT_S)
        return self._growing(retry_state)


class Alerts:
    """Sends what is new and critical in a store to one receiver."""

    def __init__(
        self,
        store: FailureStore,
        receiver: Receiver,
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
        self._store, self._receiver, self._link, self._clock = store, receiver, link.rstrip("/"), clock
        self._retrying = Retrying(
            retry=retry_if_exception_type(TryAgain),
            stop=stop_after_attempt(attempts),
            wait=_Wait(first_wait_s),
            reraise=True,
        )

    def send_new(self) -> None:
        """Tell what was not told yet.

        Raises:
            AlertError: the receiver did not take it, now or less than `pause_s` ago. What it took is
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
        notes = Notes(self._store.folder).all()
        for signature, group in groups.items():
            if notes.get(signature, NOTHING_SAID).mark == "known":
                continue
            last = remembered.get(signature)
            if last is None or (group[0].at - last).total_seconds() > QUIET_HOURS * 3600:
                due.append(group)
            elif group[0].at > last:
                self._remember(group[:1])  # still failing: not quiet yet
        return due

    # -- memory

    @property
    def _state(self) -> Path:
        return self._store.folder / self._receiver.state

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
        told_at = {key: at.isoformat() for key, at in kept}
        try:
            replace_file(self._state, (json.dumps(told_at, indent=0) + "\n").encode())
        except OSError as trouble:
            raise AlertError(
                f"{self._state}: cannot be written ({trouble.strerror}); without it alerts would repeat"
            ) from trouble

    # -- sending

    def _post(self, content: Message) -> None:
        try:
            self._retrying(self._receiver.send, content)
        except (TryAgain, Refused) as trouble:
            self._refused_at = self._clock()
            self._refusal = (
                f"{self._receiver.name} did not take an alert ({trouble}); it is sent again later; "
                f"check {self._receiver.variable}"
            )
            raise AlertError(self._refusal) from trouble
        log.info("alert sent")


def message(group: list[Experiment], link: str) -> Message:
    """One group of alike failures."""
    latest = group[0]
    why = latest.failure_analysis
    assert why is not None, "only failures are told"
    times = f" ({len(group)} times)" if len(group) > 1 else ""
    fields = (
        ("Category", why.failure_category.replace("_", " ")),
        ("Root cause", plain(why.root_cause, 600)),
        ("Fix", plain(why.fix_suggestion, 600)),
    )
    return Message(
        f"Critical: {plain(latest.name, 150)} failed{times}",
        tuple((name, text) for name, text in fields if text),
        f"{link}/experiments/{latest.id}" if link else "",
    )


def summary(groups: list[list[Experiment]], link: str) -> Message:
    """Many groups in one message."""
    where = f"{link}/experiments?severity=critical" if link else ""
    return Message(f"Critical: {len(groups)} more groups of failures.", link=where, link_text="Open them")
