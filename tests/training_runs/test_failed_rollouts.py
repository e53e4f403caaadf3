"""How many rollouts may fail before a run stops."""

from __future__ import annotations

import pytest

from project_types import JudgeError, ProviderError
from training_runs.failed_rollouts import FailedRollouts, TooManyFailures


def test_a_share_of_the_batch_may_fail_and_one_more_stops_it() -> None:
    failed = FailedRollouts(8, 0.25)
    for _ in range(2):
        failed.count(ProviderError("no reply"))
        failed.check("step 3")
    failed.count(ProviderError("no reply"))
    assert failed.too_many
    with pytest.raises(TooManyFailures, match=r"step 3: more than 2 of 8 .*--max-failed-share") as stopped:
        failed.check("step 3")
    assert "3 x ProviderError: no reply" in str(stopped.value)


def test_reasons_that_differ_in_numbers_only_are_one_reason() -> None:
    failed = FailedRollouts(8, 1.0)
    failed.count(ProviderError("HTTP 500 after 3 attempts\nand more"))
    failed.count(ProviderError("HTTP 503 after 5 attempts"))
    failed.count(JudgeError("HTTP 503 after 5 attempts"))
    assert failed.by_reason == {
        "ProviderError: HTTP # after # attempts": 2,
        "JudgeError: HTTP # after # attempts": 1,
    }
