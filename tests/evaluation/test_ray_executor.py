"""Rollouts on a cluster: whatever is killed, every unit is stored once, as if nothing had happened.

One worker is killed on one node. `RAY_KILLS=20 pytest -m slow tests/evaluation/test_ray_executor.py` starts
three nodes, and kills workers, nodes, the policy's server and the driver at 20 random moments.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from core.episode_store.loading import load
from evaluation.ray_executor import OnRay
from evaluation.rollout_executor import Rolled, Unit
from project_types import Episode, EpisodeConfig, ProviderError
from tests.builders.commands import evaluation as run
from tests.builders.commands import eventually
from tests.builders.ray_cluster import RayCluster, free_port
from tests.builders.scenarios import incident, write_scenarios

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parent.parent.parent
KILLS = int(os.environ.get("RAY_KILLS", "1"))
WHAT = ("worker", "node", "policy server", "driver")
SCENARIOS, SAMPLES = 12, 3
RNG = random.Random(os.environ.get("RAY_SEED", "19"))
MOMENTS = [(WHAT[number % len(WHAT)], RNG.randrange(1, SCENARIOS * SAMPLES)) for number in range(KILLS)]
"""What is killed, and after how many stored episodes."""


class PolicyProcess:
    """A policy server in a process of its own, at an address that stays the same."""

    def __init__(self) -> None:
        self.port = free_port()
        self.start()

    def start(self) -> None:
        command = [
            sys.executable,
            "-m",
            "benchmarks.policy_server",
            "--wait-s",
            "0.1",
            "--port",
            str(self.port),
        ]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        assert self.process.stdout.readline()

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayCluster]:
    with RayCluster(3 if KILLS > 1 else 1) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def policy() -> Iterator[PolicyProcess]:
    policy = PolicyProcess()
    yield policy
    policy.kill()


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Path:
    names = (f"aa{number:02}" for number in range(SCENARIOS))
    return write_scenarios(tmp_path_factory.mktemp("ray") / "split", *names)


def flags(split: Path, policy: PolicyProcess, out: Path) -> list[str]:
    url = f"http://127.0.0.1:{policy.port}/v1"
    asked = ["run", "--policy", "openai:fixed", "--base-url", url, "--split", str(split), "--out", str(out)]
    return [*asked, "--k", str(SAMPLES), "--no-explain", "--no-wandb"]


@contextmanager
def driver(cluster: RayCluster, asked: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """An evaluation on the cluster, which says everything to a log and does not outlive the block."""
    on_ray = ["--executor", "ray", "--address", cluster.address, "--workers", "3", "--concurrency", "6"]
    command = [sys.executable, "-m", "evaluation", *asked, *on_ray]
    with log.open("ab") as said:
        process = subprocess.Popen(command, cwd=ROOT, env=cluster.environment, stderr=said)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def end_well(process: subprocess.Popen[bytes], log: Path) -> None:
    eventually(lambda: process.poll() is not None)
    assert process.returncode == 0, log.read_text()


def stored(out: Path) -> int:
    path = out / "episodes.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def units(out: Path) -> Counter[tuple[str, int, str]]:
    """Every stored line, also one that a later line would replace."""
    lines = (out / "episodes.jsonl").read_text().splitlines()
    return Counter((one["scenario_id"], one["sample"], one["policy"]) for one in map(json.loads, lines))


def facts(episode: Episode) -> dict[str, object]:
    return episode.model_dump(exclude={"outcome": {"seconds"}})


@pytest.fixture(scope="module")
def undisturbed(split: Path, policy: PolicyProcess, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    assert run(*flags(split, policy, out)) == 0
    assert set(units(out).values()) == {1}
    assert len(units(out)) == SCENARIOS * SAMPLES
    return out


@pytest.mark.parametrize(("what", "after"), MOMENTS, ids=[f"{what} after {n}" for what, n in MOMENTS])
def test_a_kill_loses_no_unit_and_stores_none_twice(
    cluster: RayCluster,
    policy: PolicyProcess,
    split: Path,
    undisturbed: Path,
    tmp_path: Path,
    what: str,
    after: int,
) -> None:
    out, log = tmp_path / "run", tmp_path / "log"
    asked = flags(split, policy, out)
    with driver(cluster, asked, log) as process:
        eventually(lambda: stored(out) >= after or process.poll() is not None)
        match what:
            case "worker":
                eventually(lambda: cluster.kill_worker() or process.poll() is not None)
            case "node":
                cluster.kill_node()
            case "policy server":
                policy.kill()
                policy.start()
            case "driver":
                process.kill()
        if what != "driver":
            end_well(process, log)
    if what == "driver":
        assert process.returncode == -signal.SIGKILL, log.read_text()
        with driver(cluster, asked, log) as process:
            end_well(process, log)
    assert units(out) == units(undisturbed)
    told = {(one.scenario_id, one.sample): facts(one) for one in load(undisturbed).episodes}
    assert {(one.scenario_id, one.sample): facts(one) for one in load(out).episodes} == told
    if what == "node":
        cluster.add_node()


def test_ray_listens_on_every_interface_and_asks_for_the_token(cluster: RayCluster, tmp_path: Path) -> None:
    port = int(cluster.address.rpartition(":")[2])
    everywhere = f":{port:04X}"
    listening = [
        line.split()[1]
        for table in ("/proc/net/tcp", "/proc/net/tcp6")
        for line in Path(table).read_text().splitlines()[1:]
        if line.split()[3] == "0A" and line.split()[1].endswith(everywhere)
    ]
    loopback = ("0100007F", "00000000000000000000000001000000")
    assert listening, "the cluster listens"
    assert not any(place.startswith(loopback) for place in listening), "docs/scaling.md says that it does not"
    strange = {**cluster.environment, "RAY_AUTH_TOKEN": "0" * 64}
    code = f"import ray; ray.init(address={cluster.address!r}, log_to_driver=False); print('joined')"
    log = tmp_path / "log"
    with log.open("wb") as said:
        process = subprocess.Popen([sys.executable, "-c", code], env=strange, stdout=said, stderr=said)
    eventually(lambda: b"InvalidAuthToken" in log.read_bytes() or process.poll() is not None)
    process.kill()  # Ray asks again and again
    process.communicate()
    assert "InvalidAuthToken" in log.read_text()
    assert "joined" not in log.read_text()


def test_a_cluster_that_is_not_there_says_what_to_look_at(
    split: Path, policy: PolicyProcess, tmp_path: Path
) -> None:
    asked = flags(split, policy, tmp_path / "run")
    command = [sys.executable, "-m", "evaluation", *asked, "--executor", "ray", "--address"]
    done = subprocess.run(
        [*command, f"127.0.0.1:{free_port()}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 2
    assert "no cluster can be joined" in done.stderr


class Broken:
    """A worker of a cluster that answers every unit with what it raises."""

    def __init__(self, trouble: Exception) -> None:
        self.play, self._trouble = self, trouble

    async def remote(self, _: Unit) -> Rolled:
        raise self._trouble


async def test_a_cluster_that_loses_a_unit_fails_that_unit_and_a_bug_in_a_worker_surfaces() -> None:
    from ray.exceptions import LocalRayletDiedError, RayTaskError

    unit = Unit(scenario=incident("aa01"), sample=2, policy="openai:fixed", config=EpisodeConfig())
    with pytest.raises(ProviderError, match=r"aa01#2: the cluster gave it up .*ray status"):
        await OnRay([Broken(LocalRayletDiedError())]).play(unit)
    bug = RayTaskError("play", "a traceback", ZeroDivisionError("ours"))
    with pytest.raises(RayTaskError):
        await OnRay([Broken(bug)]).play(unit)
