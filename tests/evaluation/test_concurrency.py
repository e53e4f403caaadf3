"""Work at once: never more than allowed, and none that a stop leaves behind."""

from __future__ import annotations

import asyncio

import pytest

from evaluation.concurrency import Places, Stopped


async def test_no_more_than_the_limit_run_at_once() -> None:
    running, most = 0, 0

    async def rollout() -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        return 7

    places = Places(at_once=3)
    assert await asyncio.gather(*[places.run(rollout) for _ in range(20)]) == [7] * 20
    assert most == 3


async def test_what_a_rollout_raises_comes_out_as_it_is() -> None:
    trouble = ZeroDivisionError("ours")

    async def rollout() -> None:
        raise trouble

    with pytest.raises(ZeroDivisionError) as raised:
        await Places(at_once=1).run(rollout)
    assert raised.value is trouble


async def test_a_stop_abandons_what_runs_and_starts_nothing_more() -> None:
    begun = asyncio.Event()
    started = 0

    async def rollout() -> None:
        nonlocal started
        started += 1
        begun.set()
        await asyncio.Event().wait()  # never

    places = Places(at_once=1)
    both = asyncio.gather(places.run(rollout), places.run(rollout), return_exceptions=True)
    await begun.wait()
    places.stop()
    first, second = await both
    assert isinstance(first, Stopped)
    assert isinstance(second, Stopped)
    assert (str(first), str(second), started) == ("abandoned", "not started", 1)
