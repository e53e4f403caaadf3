"""Guessing a token is slow: ten wrong ones in a minute, counted by address."""

from __future__ import annotations

from core.serving.tries import MOST_TRIES, Tries


class Clock:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_after_ten_wrong_tokens_an_address_waits_until_the_first_is_a_minute_old() -> None:
    clock = Clock()
    tries = Tries(clock=clock)
    for _ in range(MOST_TRIES):
        assert tries.wait_s("192.0.2.7") == 0
        tries.failed("192.0.2.7")
        clock.now += 1
    assert tries.wait_s("192.0.2.7") == 50
    clock.now += 50
    assert tries.wait_s("192.0.2.7") == 0


def test_one_address_does_not_make_another_wait() -> None:
    tries = Tries(most=1, clock=Clock())
    tries.failed("192.0.2.7")
    assert tries.wait_s("192.0.2.7") > 0
    assert tries.wait_s("192.0.2.8") == 0


def test_addresses_without_end_are_not_all_remembered() -> None:
    tries = Tries(most=1, clock=Clock())
    for number in range(3000):
        tries.failed(f"address {number}")
    assert tries.wait_s("address 0") == 0
    assert tries.wait_s("address 2999") > 0
