"""How the imitated investigators search, when they stop and whom they blame, told in rows as the tools print
them.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from core.policies.demonstrator import HASTE, demonstrator, investigator
from core.policies.scripting import Answer, Call, Desk, Play
from project_types import EMBEDDED

TASK = "Orders fail.\nabout 14:05\nservices: gateway orders ledger mailer"
VICTIM = "14:05:33 ERROR gateway x2 call to orders failed: status 500 log 11aa"
LOUD = "14:05:31 ERROR mailer x9 mail to customer 12 came back, mailbox unknown log 22bb"
CAUSE = "14:04:02 WARN ledger journal write: 0 bytes free log 33cc"
ROUTINE = "14:04:07 INFO orders x30 committed 7 rows log 44dd"
MISHAP = "14:04:09 WARN orders spell check for text 12 failed, shown as is log 55ee"
STRANGE = "14:04:09 WARN ledger gasket flimmered beyond the third lattice log 66ff"
READ_ONLY = "14:05:30 ERROR orders x3 call to ledger failed: refused: read only log 77aa"


class Dice(random.Random):
    """Dice that always fall the same way."""

    def __init__(self, side: float) -> None:
        super().__init__(0)
        self.side = side

    def random(self) -> float:
        """The side they fall on."""
        return self.side


def hasty(desk: Desk) -> Play:
    return demonstrator(desk._replace(rng=Dice(HASTE - 0.01)))


def alone(asked: Call | list[Call]) -> Call:
    """The one call of a reply."""
    assert isinstance(asked, Call)
    return asked


def play(script: Callable[[Desk], Play], *results: Sequence[str]) -> tuple[list[Call], Answer | None]:
    """What a script asks while it is shown these results in turn, and its answer, if it has given one by
    then.
    """
    under_way, calls = script(Desk(Dice(0.99), EMBEDDED, TASK)), list[Call]()
    try:
        calls.append(alone(next(under_way)))
        for shown in results:
            calls.append(alone(under_way.send("\n".join([f"{len(shown)} lines match", *shown]))))
    except StopIteration as stop:
        answer: Any = stop.value
        return calls, answer
    return calls, None


def test_the_hasty_one_looks_at_errors_then_at_the_loudest_service_whoever_is_complained_about() -> None:
    calls, _ = play(hasty, [VICTIM, LOUD])
    assert [call.arguments for call in calls] == [{"min_level": "ERROR"}, {"service": "mailer"}]


def test_the_experienced_one_looks_at_warnings_then_where_a_complaint_leads() -> None:
    calls, _ = play(investigator, [LOUD, VICTIM])
    assert [call.arguments for call in calls] == [{"min_level": "WARN"}, {"service": "orders"}]


def test_the_hasty_one_answers_after_three_results() -> None:
    calls, answer = play(hasty, [VICTIM, LOUD], [ROUTINE], [ROUTINE])
    assert len(calls) == 3
    assert answer is not None


@pytest.mark.parametrize("script", [hasty, investigator])
def test_both_stop_at_a_row_worded_like_a_cause_and_blame_it(script: Callable[[Desk], Play]) -> None:
    calls, answer = play(script, [VICTIM, LOUD, CAUSE])
    assert len(calls) == 1
    assert answer == {
        "suspected_service": "ledger",
        "root_cause": "ledger: journal write: 0 bytes free",
        "key_log_ids": ["33cc"],
    }


def test_a_caller_that_says_read_only_complains_about_a_disk_and_is_not_the_cause() -> None:
    calls, answer = play(investigator, [READ_ONLY])
    assert calls[-1].arguments == {"service": "ledger"}
    assert answer is None


def test_strange_words_are_blamed_before_everyday_mishaps_complaints_and_routine() -> None:
    _, answer = play(investigator, [LOUD, VICTIM], [MISHAP, ROUTINE, READ_ONLY], [STRANGE])
    assert answer is not None
    assert answer["key_log_ids"] == ["66ff"]


def test_who_has_seen_nothing_says_so() -> None:
    _, answer = play(investigator, *[[]] * 6)
    assert answer is not None
    assert answer["suspected_service"] == "unknown"
