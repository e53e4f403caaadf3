"""Rollouts on a cluster of three nodes: whatever is killed, every unit is stored once, as if nothing had happened.

`RAY_KILLS=20 pytest -m slow tests/evaluation/test_ray_executor.py` kills at 20 random moments instead of four.
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
from pathlib import Path

import pytest

from core.episode_store.loading import load
from project_types import Episode
from tests.builders.commands import evaluation as run
from tests.builders.commands import eventually
from tests.builders.ray_cluster import RayCluster, free_port
from tests.builders.scenarios import write_scenarios

pytest.importorskip("ray", reason="run: pip install -e '.[ray]'")
pytestmark = pytest.mark.slow
ROOT = Path(__file__).parent.parent.parent
KILLS = int(os.environ.get("RAY_KILLS", "4"))
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
    with RayCluster(3) as cluster:
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


def driver(cluster: RayCluster, asked: list[str]) -> subprocess.Popen[bytes]:
    on_ray = ["--executor", "ray", "--address", cluster.address, "--workers", "3", "--concurrency", "6"]
    command = [sys.executable, "-m", "evaluation", *asked, *on_ray]
    return subprocess.Popen(command, cwd=ROOT, env=cluster.environment, stderr=subprocess.PIPE)


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
    out = tmp_path / "run"
    asked = flags(split, policy, out)
    process = driver(cluster, asked)
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
            process.send_signal(signal.SIGKILL)
    _, said = process.communicate(timeout=600)
    if what == "driver":
        assert process.returncode == -signal.SIGKILL
        process = driver(cluster, asked)
        _, said = process.communicate(timeout=600)
    assert process.returncode == 0, said.decode()
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
