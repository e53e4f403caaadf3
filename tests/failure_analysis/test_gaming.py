"""Alarms about a reward that is earned without investigating: the recorded run is
found, sound ones are not.
"""

from __future__ import annotations

from typing import Any

import pytest

from failure_analysis.prediction.gaming import RECENT, alarms
from failure_analysis.prediction.readings import of_rows

SOUND: dict[str, Any] = {
    "split": "train", "groups": 8, "judge_only": 0.02, "reward_by_words": 0.1, "reward_by_tokens": -0.2,
    "invented_services": 0.002, "missing_service_searches": 0.01, "verdict_flips": 0.0,
    "flat_causes": {"right": 6, "wrong": 1},
}  # fmt: skip


def rows(steps: int, **fields: Any) -> list[dict[str, Any]]:
    return [SOUND | {"step": step} | fields for step in range(steps)]


@pytest.mark.parametrize(
    ("name", "fields", "said"),
    [
        ("judge_only", {"judge_only": 0.4}, "right for the judge alone"),
        ("reward_by_words", {"reward_by_words": 0.8}, "words of the report"),
        ("reward_by_words", {"reward_by_tokens": 0.8}, "tokens"),
        ("invented_services", {"invented_services": 21 / 510}, "service that does not exist"),
        ("missing_service_searches", {"missing_service_searches": 0.3}, "searches name"),
        ("flat_causes", {"flat_causes": {"unknown": 6}}, "unknown"),
        ("verdict_flips", {"verdict_flips": 0.25}, "verdicts change"),
    ],
)
def test_each_sign_raises_its_alarm_and_no_other(name: str, fields: dict[str, Any], said: str) -> None:
    found = alarms([*rows(RECENT), *rows(RECENT, **fields)])
    assert list(found) == [name]
    assert said in found[name]
    assert name in [warned.sign for warned in of_rows([*rows(RECENT), *rows(RECENT, **fields)])]


def test_a_sound_run_raises_none() -> None:
    assert alarms(rows(40)) == {}


def test_groups_that_are_all_right_are_no_alarm() -> None:
    assert alarms(rows(10, flat_causes={"right": 8})) == {}


def test_invented_services_that_rise_from_1_to_21_of_510_are_noticed() -> None:
    """What happened in a run that nobody noticed."""
    rising = [SOUND | {"step": step, "invented_services": (1 + step) / 510} for step in range(21)]
    assert "invented_services" in alarms(rising)
    assert alarms(rising[:6]) == {}


def test_one_odd_step_says_nothing() -> None:
    assert alarms([*rows(9), *rows(1, judge_only=0.3, verdict_flips=0.4)]) == {}


@pytest.mark.parametrize("value", [None, "many", True, float("nan"), float("inf"), [1], {}])
def test_a_value_that_is_no_number_is_left_out(value: object) -> None:
    fields: dict[str, Any] = {name: value for name in SOUND if name not in ("split", "groups")}
    assert alarms(rows(10, **fields)) == {}
    assert alarms(rows(10, groups=value, flat_causes={"wrong": value})) == {}
