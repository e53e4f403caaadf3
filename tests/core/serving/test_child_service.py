"""The service as a child process: ready, restarted once, killed when it hangs, gone with its owner."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from core.serving.child_service import ChildService, ServiceError

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]


async def until(happened: Callable[[], bool], timeout_s: float = 60.0) -> None:
    """Look again and again until it has happened."""
    async with asyncio.timeout(timeout_s):
        while not happened():  # noqa: ASYNC110 - a process of another owner has no event to wait for
            await asyncio.sleep(0.02)


def alive(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status")
    return status.exists() and "State:\tZ" not in status.read_text()


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[ChildService]:
    """The real server on the scripted engine, started."""
    made = ChildService(tmp_path / "data", tmp_path / "log", module="tests.fakes.engine", say=lambda _: None)
    await made.start()
    yield made
    await made.stop()


async def test_a_started_service_is_healthy_until_it_is_stopped(service: ChildService) -> None:
    assert service.url.startswith("http://127.0.0.1:")
    assert await service.healthy()
    await service.stop()
    assert not service.alive()
    assert not await service.healthy()


async def test_a_dead_service_comes_back_at_the_same_address_once(service: ChildService) -> None:
    url, first = service.url, service.pid
    os.kill(first, signal.SIGKILL)
    await until(lambda: not service.alive())
    await service.restart()
    assert await service.healthy()
    assert (service.url, service.restarts) == (url, 1)
    assert service.pid != first
    os.kill(service.pid, signal.SIGKILL)
    await until(lambda: not service.alive())
    with pytest.raises(ServiceError, match="died again"):
        await service.restart()


async def test_a_service_that_hangs_is_killed(service: ChildService) -> None:
    watch = asyncio.create_task(service.watch(every_s=0.05, patience_s=0.5))
    os.kill(service.pid, signal.SIGSTOP)
    await until(lambda: not service.alive())
    watch.cancel()
    assert not service.alive()


async def test_a_service_that_answers_is_left_alone(service: ChildService) -> None:
    watch = asyncio.create_task(service.watch(every_s=0.05, patience_s=20.0))
    await asyncio.sleep(0.5)
    watch.cancel()
    assert await service.healthy()


async def test_a_service_that_cannot_start_says_why(tmp_path: Path) -> None:
    bad = ChildService(
        tmp_path / "data", tmp_path / "log", module="tests.fakes.engine", options=("--token", "")
    )
    with pytest.raises(ServiceError, match="--token: must be printable"):
        await bad.start()


async def test_a_service_that_is_not_ready_in_time_is_an_error(tmp_path: Path) -> None:
    slow = ChildService(tmp_path / "data", tmp_path / "log", module="tests.fakes.engine", ready_s=0.0)
    with pytest.raises(ServiceError, match="not ready within 0 s"):
        await slow.start()
    await slow.stop()
    assert not slow.alive()


async def test_a_service_ends_when_its_owner_is_killed_and_the_next_one_waits_for_its_folder(
    tmp_path: Path,
) -> None:
    code = (
        "import asyncio, pathlib, sys\n"
        "from core.serving.child_service import ChildService\n"
        "async def main():\n"
        "    service = ChildService(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), module='tests.fakes.engine')\n"
        "    await service.start()\n"
        "    print(service.pid, flush=True)\n"
        "    await asyncio.sleep(600)\n"
        "asyncio.run(main())\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "data"), str(tmp_path / "log")]
    owner = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=subprocess.PIPE)
    assert owner.stdout is not None
    orphan = int(await owner.stdout.readline())
    owner.kill()
    await owner.wait()
    heir = ChildService(tmp_path / "data", tmp_path / "log", module="tests.fakes.engine")
    await heir.start()
    assert await heir.healthy()
    assert not alive(orphan)
    await heir.stop()
