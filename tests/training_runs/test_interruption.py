"""The first signal stops a run at a safe point, the second at once."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from training_runs.interruption import Interruption


async def test_a_real_signal_stops_what_runs(capsys: pytest.CaptureFixture[str]) -> None:
    interruption, stopped = Interruption(), asyncio.Event()
    interruption.listen()
    try:
        with interruption.stopping(stopped.set):
            os.kill(os.getpid(), signal.SIGTERM)
            await stopped.wait()
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().remove_signal_handler(number)
    assert interruption.signal == signal.SIGTERM
    assert "once more to stop at once" in capsys.readouterr().out


def test_a_signal_that_came_between_two_batches_stops_the_next_one() -> None:
    interruption, stopped = Interruption(), list[str]()
    interruption.come(signal.SIGINT)
    with interruption.stopping(lambda: stopped.append("stopped")):
        assert stopped == ["stopped"]


def test_a_signal_stops_all_that_is_under_way_and_nothing_that_has_ended() -> None:
    interruption, stopped = Interruption(), list[str]()
    with interruption.stopping(lambda: stopped.append("first")):
        with interruption.stopping(lambda: stopped.append("ended")):
            pass
        with interruption.stopping(lambda: stopped.append("ahead")):
            interruption.come(signal.SIGINT)
    assert stopped == ["first", "ahead"]


def test_the_second_signal_stops_at_once() -> None:
    interruption = Interruption()
    interruption.come(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        interruption.come(signal.SIGINT)
