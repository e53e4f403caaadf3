"""How the imitated investigators search and whom they blame, told in what the tools print."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from core.policies.demonstrator import CAREFUL, LONGEST_QUOTE, MEDIOCRE, demonstrator, investigator
from core.policies.scripting import UNKNOWN, Answer, Call, Desk, Play
from project_types import EMBEDDED, EpisodeConfig

TASK = "Booking a ticket does not work.\nabout 14:05\nservices: gateway orders ledger mailer"
FOUND = """3 traces of 2 kinds of requests
14:06:00 900 ms gateway GET /seats trace 11aa > orders free, 4 spans, 2 failed: orders free error
14:05:31 300 ms gateway POST /tickets/book trace 22bb > orders create, 4 spans, 3 failed: ledger insert error"""
TREE = """trace 22bb: 4 spans, 300 ms from 14:05:31
gateway POST /tickets/book 300 ms (own 10) error
  orders create 290 ms (own 20) error
    mailer check 10 ms
    ledger insert 200 ms error
the trail ends at ledger: gateway > orders > ledger"""
SLOW_TREE = """trace 22bb: 3 spans, 4000 ms from 14:05:31
gateway POST /tickets/book 4000 ms (own 10)
  orders create 3900 ms (own 3870)
    mailer check 30 ms
the trail ends at orders: gateway > orders"""
USUAL = """2 series in 14:00:00/14:10:00 against 13:50:00/14:00:00
errors gateway 0 -> 9 (up 40.0 sd), 9 at 14:05:00
queue_length orders 1 -> 9 (up 8.0 sd), 9 at 14:05:00"""
SHORT = USUAL + "\nmemory_percent mailer 40 -> 99 (up 7.0 sd), 99 at 14:05:00"
NOTHING = "nothing changed"
CAUSE = "14:04:02 WARN ledger x3{new} gasket flimmered beyond the third lattice log 33cc"
EVENT = "14:05:30 WARN ledger x1{new} Deployment/ledger Unhealthy: Readiness probe failed log 55ee"
COMPLAINT = "14:05:31 ERROR ledger x9{new} call to mailer failed: status 500 log 66ff"
LOUD = "14:05:33 ERROR mailer x9 call to orders failed: status 500 log 77aa"
SEARCHED = "14:05:33 ERROR gateway x2 user got 500 after 300 ms trace 22bb log 88bb"


class Dice(random.Random):
    """Dice that always fall the same way."""

    def __init__(self, side: float) -> None:
        super().__init__(0)
        self.side = side

    def random(self) -> float:
        """The side they fall on."""
        return self.side


def play(
    script: Callable[[Desk], Play], *results: str, side: float = 0.0, rules: EpisodeConfig = EMBEDDED
) -> tuple[list[Call], Answer | None]:
    """What a script asks while it is shown these results in turn, and its answer, if
    it has given one by then.
    """
    under_way, calls = script(Desk(Dice(side), rules, TASK)), list[Call]()
    try:
        asked = next(under_way)
        for shown in (*results, None):
            assert isinstance(asked, Call)
            calls.append(asked)
            if shown is not None:
                asked = under_way.send(shown)
    except StopIteration as stop:
        answer: Answer = stop.value
        return calls, answer
    return calls, None


def test_the_careful_one_reads_the_trace_that_people_mean_and_asks_where_it_ends() -> None:
    calls, _ = play(investigator, FOUND, TREE, USUAL)
    assert calls == [
        Call("find_traces", {}),
        Call("read_trace", {"trace_id": "22bb"}, "POST /tickets/book"),
        Call("read_metrics", {}),
        Call("compare", {"service": "ledger"}, "ends at ledger"),
    ]


def test_a_request_that_is_slow_ends_where_its_time_is_spent() -> None:
    calls, _ = play(investigator, FOUND, SLOW_TREE, USUAL)
    assert calls[-1].arguments == {"service": "orders"}


def test_a_service_that_ran_short_of_something_is_asked_first() -> None:
    calls, _ = play(investigator, FOUND, TREE, SHORT, NOTHING)
    assert calls[-2:] == [
        Call("compare", {"service": "mailer"}, "memory_percent mailer"),
        Call("compare", {"service": "ledger"}, "ends at ledger"),
    ]


def test_it_blames_the_row_that_is_no_event_and_no_complaint_whatever_its_words() -> None:
    calls, _ = play(investigator, FOUND, TREE, USUAL, "\n".join([COMPLAINT, EVENT, CAUSE]))
    report = {
        "suspected_service": "ledger",
        "root_cause": "ledger: gasket flimmered beyond the third lattice",
        "key_log_ids": ["33cc"],
    }
    assert calls[-1] == Call("return_final_answer", report, "WARN ledger")


def test_it_asks_the_caller_when_the_last_service_has_nothing_to_say() -> None:
    calls, answer = play(investigator, FOUND, TREE, USUAL, NOTHING)
    assert calls[-1].arguments == {"service": "orders"}
    assert answer is None


def test_a_long_row_is_quoted_in_part() -> None:
    calls, _ = play(investigator, FOUND, TREE, USUAL, CAUSE.replace("lattice", "lattice " * 80))
    assert len(str(calls[-1].arguments["root_cause"])) == LONGEST_QUOTE


def test_who_has_two_tools_finds_the_trace_through_a_row_that_names_it() -> None:
    two = EMBEDDED.model_copy(update={"tools": "two"})
    calls, _ = play(investigator, SEARCHED, TREE, rules=two)
    assert calls == [
        Call("search_logs", {"min_level": "ERROR"}),
        Call("read_trace", {"trace_id": "22bb"}),
        Call("search_logs", {"service": "ledger"}, "ends at ledger"),
    ]


def test_the_hasty_way_looks_at_errors_and_then_at_the_loudest_service() -> None:
    calls, _ = play(demonstrator, "\n".join([SEARCHED, LOUD]), LOUD, side=0.99)
    *asked, last = calls
    assert [call.arguments for call in asked] == [{"min_level": "ERROR"}, {"service": "mailer"}]
    assert last.arguments["suspected_service"] == "mailer"


def test_who_saw_nothing_says_unknown() -> None:
    _, answer = play(investigator, "no traces: 0 traces of 0 kinds of requests")
    assert answer == UNKNOWN


@pytest.mark.parametrize("turning", ["traces", "story", "end", "row"])
def test_the_demonstrator_takes_the_careful_way_at_every_turning_sometimes(turning: str) -> None:
    assert 0 < getattr(MEDIOCRE, turning) < getattr(CAREFUL, turning) == 1


def test_who_has_seen_nothing_says_so() -> None:
    _, answer = play(investigator, *[NOTHING] * 8)
    assert answer is not None
    assert answer["suspected_service"] == "unknown"
