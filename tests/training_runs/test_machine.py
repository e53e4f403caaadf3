"""What is said about a busy machine."""

from __future__ import annotations

from training_runs.machine import Cores, cores, slowdown


def test_a_quiet_machine_and_an_unknown_one_are_not_worth_a_line() -> None:
    assert slowdown(Cores(usable=2, busy=0.1)) == ""
    assert slowdown(None) == ""


def test_a_busy_core_of_two_makes_a_run_twice_as_long() -> None:
    said = slowdown(Cores(usable=2, busy=1.0))
    assert "other programs use 1.0 of 2 processor cores" in said
    assert "2.0 times the minutes" in said
    assert "2.0 times the minutes" in slowdown(Cores(usable=2, busy=2.0))


def test_the_cores_of_this_machine_are_measured_or_unknown() -> None:
    found = cores(window_s=0.05)
    assert found is None or (found.usable >= 1 and 0 <= found.busy <= found.usable)
