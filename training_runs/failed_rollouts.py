"""Where a run stops for failed rollouts.

A provider or a judge may fail now and then. Such a rollout leaves its group and is counted by its reason.
When more than a share of a batch has failed (`--max-failed-share`), the batch stops, and with it the run. Any
other exception is a bug of ours: it is not counted and surfaces.
"""

from __future__ import annotations

from collections import Counter

from core.log_stores.masks import masked
from project_types import InvestigatorError, JudgeError, ProviderError

TOLERATED = (ProviderError, JudgeError)
"""What may make a rollout fail without being our bug."""
SHOWN_REASONS = 5
LONGEST_REASON = 160


class TooManyFailures(InvestigatorError):
    """More rollouts of a batch failed than may. The text says why they did."""


class FailedRollouts:
    """The failed rollouts of one batch, and how many there may be."""

    def __init__(self, rollouts: int, most_share: float) -> None:
        """`rollouts` is the size of the batch, `most_share` the part of it that may fail."""
        self.by_reason: Counter[str] = Counter()
        self._rollouts, self._most = rollouts, int(most_share * rollouts)

    def count(self, trouble: BaseException) -> None:
        """Count one failure under its reason: its first line, without what varies in it."""
        first_line = str(trouble).partition("\n")[0]
        reason = masked(first_line)[:LONGEST_REASON]
        self.by_reason[f"{type(trouble).__name__}: {reason}"] += 1

    @property
    def too_many(self) -> bool:
        """Whether more failed than may."""
        return self.by_reason.total() > self._most

    def check(self, title: str) -> None:
        """Raise TooManyFailures, with the most frequent reasons, when too many have failed."""
        if not self.too_many:
            return
        reasons = [f"  {count} x {reason}" for reason, count in self.by_reason.most_common(SHOWN_REASONS)]
        what = f"{title}: more than {self._most} of {self._rollouts} rollouts failed"
        raise TooManyFailures("\n".join([f"{what} (see --max-failed-share):", *reasons]))
