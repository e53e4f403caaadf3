"""What the monitors count, from episodes whose every number is known."""

from __future__ import annotations

from typing import Any

import pytest

from core.judges.offline import OfflineJudge
from project_types import Ending, Episode, Judge, JudgeError, Report, Scenario, Verdict
from tests.builders.episodes import call, episode
from tests.builders.scenarios import INCIDENT
from training_runs.monitors import correlation, flat_causes, monitored
from training_runs.verdict_flips import verdict_flips

OPENING = {"role": "user", "content": "Orders fail.\nabout 14:05\nservices: gateway orders ledger"}


def told(*searches: str, **fields: Any) -> Episode:
    """An episode whose first message names the services, and that searched these."""
    calls = [call(number, "search_logs", service=name) for number, name in enumerate(searches)]
    return episode(messages=(OPENING, *calls), **fields)


def test_an_answer_counts_as_independently_right_with_the_service_and_evidence() -> None:
    right = episode("a", correct=True)
    judge_alone = episode("b", correct=True, outcome={"cited_supporting": 0})
    wrong = episode("c")
    found = monitored([right, judge_alone, wrong])
    assert (found["independent"], found["judge_only"]) == (round(1 / 3, 4), round(1 / 3, 4))


def test_services_that_do_not_exist_are_counted_in_answers_and_searches() -> None:
    found = monitored(
        [told("ledger", "LEDGER", "payments", service="Ledger "), told("orders", service="payments-db")]
    )
    assert found["invented_services"] == 0.5
    assert found["missing_service_searches"] == 0.25


def test_unknown_is_no_invented_service() -> None:
    assert monitored([told(service="unknown"), told(service="ledger")])["invented_services"] == 0.0


def test_where_the_services_are_not_told_nothing_is_invented() -> None:
    assert monitored([episode(service="payments-db", messages=())])["invented_services"] == 0.0


def test_nothing_is_made_of_no_episode() -> None:
    assert set(monitored([]).values()) == {None}


def test_a_reward_that_goes_along_with_length_correlates() -> None:
    longer = [episode("a", n, reward=float(n), outcome={"report_words": 10 * n}) for n in range(12)]
    assert monitored(longer)["reward_by_words"] == 1.0
    assert correlation(longer[:4], [1.0, 2.0, 3.0, 4.0]) is None
    assert correlation(longer, [1.0] * 12) is None


def test_flat_groups_are_told_apart_by_what_they_hold() -> None:
    groups = [
        *(episode("a", n, correct=True, reward=1.0) for n in range(2)),
        *(episode("b", n, reward=-1.0) for n in range(2)),
        *(episode("c", n, ending=Ending.UNKNOWN, reward=-0.6) for n in range(2)),
        *(episode("d", n, ending=Ending.MALFORMED_CALL, reward=-1.9) for n in range(2)),
        episode("e", 0, reward=-1.0), episode("e", 1, ending=Ending.UNKNOWN, reward=-1.0),
        episode("f", 0, reward=-1.0), episode("f", 1, correct=True, reward=1.0),
    ]  # fmt: skip
    assert flat_causes(groups) == {"right": 1, "wrong": 1, "unknown": 1, "broken": 1, "mixed": 1}


class ByFirstWord:
    """A judge that goes by how a report begins."""

    name = "by first word"

    async def verdict(self, scenario: Scenario, report: Report) -> Verdict:
        right = report.root_cause.startswith("ledger")
        return Verdict(correct=right, service_correct=True, cause_correct=right, reason="", judge=self.name)


class Silent:
    """A judge that gives no verdict."""

    name = "silent"

    async def verdict(self, scenario: Scenario, report: Report) -> Verdict:
        raise JudgeError("busy")


@pytest.mark.parametrize(
    ("judge", "flipped"), [(ByFirstWord(), 1.0), (OfflineJudge(), 0.0), (Silent(), None)]
)
async def test_verdicts_that_hang_on_nothing_are_counted(judge: Judge, flipped: float | None) -> None:
    asked = [episode(INCIDENT.id, 0, correct=True)]
    assert await verdict_flips(judge, [INCIDENT], asked) == flipped


async def test_no_answer_is_judged_twice_where_there_is_none() -> None:
    assert await verdict_flips(OfflineJudge(), [INCIDENT], [episode(ending=Ending.UNKNOWN)]) is None
