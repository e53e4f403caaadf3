"""Real runs of the command: two training steps over HTTP, no socket that leaves the machine, deaths of either
process, Ctrl-C.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import resource
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from core.episode_store.run_writer import RunWriter
from core.episode_store.tokens import read_tokens
from core.serving.child_service import ChildService
from project_types import Episode
from tests.builders.commands import eventually
from tests.builders.training_place import GUARD, Place
from tests.fakes.judge_server import judge_server
from tests.fakes.openai_server import Mode


def alive(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status")
    return status.exists() and "State:\tZ" not in status.read_text()


def lines(path: Path) -> int:
    return path.read_text().count("\n") if path.exists() else 0


def steps(rows: list[dict[str, Any]]) -> list[int]:
    return [row["step"] for row in rows]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("training"))


@pytest.fixture(scope="module")
def finished(place: Place) -> subprocess.CompletedProcess[str]:
    """A whole run of two steps, named `two`, beside a proxy that leads nowhere."""
    proxy = dict.fromkeys(("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"), "http://127.0.0.1:9")
    return place.run("--name", "two", "--steps", "2", **proxy)


class Started(NamedTuple):
    """A long run that is under way."""

    process: subprocess.Popen[str]
    name: str
    episodes: Path


@pytest.fixture
def started(place: Place, request: pytest.FixtureRequest) -> Iterator[Started]:
    """A long run named after the test, which does not outlive it."""
    name = re.sub(r"[^a-z]+", "-", request.node.name)[-50:].strip("-")
    process = place.start("--name", name, "--steps", "500")
    yield Started(process, name, place.folder / "runs" / name / "episodes")
    process.kill()
    process.wait()


# ------------------------------------------------------------------------------------------------ a whole run


@pytest.mark.slow
def test_two_steps_train_validate_test_and_report(
    place: Place, finished: subprocess.CompletedProcess[str]
) -> None:
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert steps(place.rows("two", "train")) == [1, 2]
    assert steps(place.rows("two", "val")) == steps(place.rows("two", "val_sampled")) == [0, 1, 2]
    for row, rate in zip(place.rows("two", "train"), (2e-4, 1.1e-4), strict=True):
        taught = row["flat_groups"] < row["groups"]  # a random model's groups may all be flat
        assert row["job"].get("data/step_num_gradient_steps", 0.0) == float(taught)
        assert row["job"].get("loss/learning_rate", rate) == pytest.approx(rate), (
            "it falls by 0.9 over two steps"
        )
    assert place.history("two", "train/reward") == [1, 2]
    assert "report     runs/two/report.html" in finished.stdout
    assert "before" in finished.stdout
    assert "reward=" not in finished.stderr, "ART's own progress bars, thirty metrics wide, stay away"


@pytest.mark.slow
def test_a_summary_has_what_was_promised(place: Place, finished: subprocess.CompletedProcess[str]) -> None:
    summary = json.loads((place.folder / "runs/two/summary.json").read_text())
    promised = {
        "seed",
        "revision",
        "backend",
        "base_model",
        "splits",
        "seconds",
        "rollouts",
        "tokens",
        "failed_rollouts",
    }
    assert promised <= summary.keys()
    facts = ("accuracy", "grounded", "ci95", "avg2", "avg2_ci95")
    of_split = {f"{name}_{side}" for name in facts for side in ("before", "after")}
    assert of_split | {"n", "by_slice"} <= summary["splits"]["test"].keys()
    assert summary["splits"]["test"]["n"] == 2
    assert summary["rollouts"] == sum(row["rollouts"] for row in place.rows("two"))
    assert summary["finished"]
    assert summary["failed_rollouts"] == 0


@pytest.mark.slow
def test_the_best_checkpoint_is_the_best_at_both_temperatures(
    place: Place, finished: subprocess.CompletedProcess[str]
) -> None:
    greedy = {row["step"]: row["reward"] for row in place.rows("two", "val")}
    sampled = {row["step"]: row["reward"] for row in place.rows("two", "val_sampled")}
    best = max(greedy, key=lambda step: (greedy[step] + sampled[step], step))
    assert json.loads((place.folder / "runs/two/summary.json").read_text())["best_checkpoint"] == best


@pytest.mark.slow
def test_every_episode_is_stored_once(place: Place, finished: subprocess.CompletedProcess[str]) -> None:
    stored = {
        "train-0001-rollouts": 12,
        "train-0002-rollouts": 12,
        "val-0000-t0": 2,
        "val-0000-t1": 2,
        "test-0000-t1": 4,
    }
    for path, count in stored.items():
        stored_at = place.folder / f"runs/two/episodes/{path}.jsonl"
        episodes = [Episode.model_validate_json(line) for line in stored_at.read_bytes().splitlines()]
        samples = {(episode.scenario_id, episode.sample) for episode in episodes}
        assert len(samples) == len(episodes) == count
        tokens = read_tokens(stored_at)
        assert tokens.keys() == samples
        spoken = {(one.scenario_id, one.sample): one.outcome.completion_tokens for one in episodes}
        said = {key: sum(len(reply.token_ids) for reply in one.replies) for key, one in tokens.items()}
        assert said == spoken


@pytest.mark.slow
def test_how_the_service_trains_is_kept_and_said(
    place: Place, finished: subprocess.CompletedProcess[str]
) -> None:
    kept = json.loads((place.folder / "runs/two/config.json").read_text())["training_service"]
    assert kept["asked"] == "auto"
    assert kept["precision"] in ("float32", "bfloat16")
    assert kept["float32_ms"] > 0
    assert kept["bfloat16_ms"] > 0
    assert f"Gradient steps use {kept['precision']}, chosen by timing both" in finished.stdout


@pytest.mark.slow
def test_after_the_first_step_a_run_says_how_long_the_others_take(
    finished: subprocess.CompletedProcess[str],
) -> None:
    said = finished.stdout.splitlines()
    first = next(number for number, line in enumerate(said) if line.startswith("step 1/2"))
    assert "the step left takes about" in said[first + 1]


@pytest.mark.slow
def test_a_run_that_the_clock_ends_early_names_the_command_that_goes_on(place: Place) -> None:
    ended = place.run("--name", "clock", "--steps", "2", "--max-minutes", "0.0001")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "enough for 0 of 2 training steps" in ended.stdout
    assert not json.loads((place.folder / "runs/clock/summary.json").read_text())["finished"]
    assert "enough for 0 of 2 training steps" in (place.folder / "runs/clock/report.html").read_text()
    (typed,) = [line for line in ended.stdout.splitlines() if line.startswith("go on ")]
    script, *flags = shlex.split(typed)[3:]
    assert script == "train_serverless.py"
    gone_on = place.typed(*flags)
    assert gone_on.returncode == 0, gone_on.stdout + gone_on.stderr
    assert steps(place.rows("clock", "train")) == [1, 2]
    assert json.loads((place.folder / "runs/clock/summary.json").read_text())["finished"]


@pytest.mark.slow
def test_without_a_key_no_socket_leaves_the_machine(
    place: Place, finished: subprocess.CompletedProcess[str]
) -> None:
    assert finished.returncode == 0
    assert not place.log.exists(), place.log.read_text()


def test_the_guard_against_foreign_sockets_sees_them(tmp_path: Path) -> None:
    log = tmp_path / "log"
    code = "import socket; socket.create_connection(('192.0.2.1', 80), timeout=1)"
    environment = os.environ | {"PYTHONPATH": str(GUARD), "ONLY_LOOPBACK_LOG": str(log)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert "192.0.2.1" in log.read_text()


@pytest.mark.slow
def test_the_service_ends_with_the_run(place: Place, finished: subprocess.CompletedProcess[str]) -> None:
    assert not alive(place.service_pid("two"))


@pytest.mark.slow
def test_a_run_is_not_started_twice_by_mistake(
    place: Place, finished: subprocess.CompletedProcess[str]
) -> None:
    again = place.run("--name", "two", "--steps", "2")
    assert again.returncode == 2
    assert "--resume" in again.stderr
    assert steps(place.rows("two", "train")) == [1, 2]


# ----------------------------------------------------------------------------------------- deaths and signals


@pytest.mark.slow
def test_a_killed_run_goes_on_at_the_next_step(place: Place, started: Started) -> None:
    process, name, episodes = started
    second = episodes / "train-0002-rollouts.jsonl"
    eventually(lambda: second.exists() and second.stat().st_size > 0)
    service = place.service_pid(name)
    process.kill()
    process.wait()
    first = episodes / "train-0001-rollouts.jsonl"
    before = first.read_bytes()
    eventually(lambda: not alive(service))
    more = len(place.rows(name, "train")) + 2
    resumed = place.run("--name", name, "--resume", "--steps", str(more))
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert "going on after step " in resumed.stdout
    assert steps(place.rows(name, "train")) == list(range(1, more + 1))
    assert place.history(name, "train/reward") == list(range(1, more + 1))
    for split in ("val", "val_sampled", "test", "test_sampled"):
        assert len(steps(place.rows(name, split))) == len(set(steps(place.rows(name, split))))
    assert first.read_bytes() == before
    assert len(second.read_bytes().splitlines()) == 12


@pytest.mark.slow
def test_rollouts_are_played_one_step_ahead_and_after_a_kill_with_the_latest_weights(place: Place) -> None:
    flags = ("--name", "ahead", "--max-staleness", "1", "--validate-every", "2")
    process = place.start(*flags, "--steps", "500")
    eventually(lambda: len(place.rows("ahead", "train")) >= 2)
    service = place.service_pid("ahead")
    process.kill()
    process.communicate()
    eventually(lambda: not alive(service))
    resumed = place.run(*flags, "--resume", "--steps", str(len(place.rows("ahead", "train")) + 3))
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    (after,) = re.findall(r"going on after step (\d+)", resumed.stdout)
    rows = place.rows("ahead", "train")
    assert steps(rows) == list(range(1, len(rows) + 1))
    afresh = (1, int(after) + 1)
    timed = [row for row in rows if "staleness" in row]  # a row that was mended after the kill has none
    assert [row["staleness"] for row in timed] == [int(row["step"] not in afresh) for row in timed]
    for row in timed:
        path = place.folder / f"runs/ahead/episodes/train-{row['step']:04}-rollouts.jsonl"
        played = [Episode.model_validate_json(one) for one in path.read_bytes().splitlines()]
        assert len(played) == 12
        weights = {one.policy.rpartition(":step")[2] for one in played}
        assert weights == {str(row["step"] - 1 - row["staleness"])}


@pytest.mark.slow
def test_a_step_whose_row_was_lost_is_not_trained_again(
    place: Place, finished: subprocess.CompletedProcess[str], tmp_path: Path
) -> None:
    shutil.copytree(place.folder / "runs", tmp_path / "runs")
    metrics = tmp_path / "runs/two/metrics.jsonl"
    rows = metrics.read_text().splitlines(keepends=True)
    kept = [line for line in rows if json.loads(line)["step"] < 2]
    metrics.write_text("".join(kept) + '{"split": "train", "st')
    (tmp_path / "runs/two/art/log-investigator/models/two/state.json").write_text('{"run": {"bes')
    resumed = place.run("--name", "two", "--resume", "--runs", str(tmp_path / "runs"))
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    rows_after = RunWriter(tmp_path / "runs/two")
    rows_after.take_up()
    assert steps(rows_after.of("train")) == [1, 2]
    assert rows_after.of("train")[1]["recovered"]
    assert rows_after.of("train")[1]["rollouts"] == 12


@pytest.mark.slow
def test_ctrl_c_saves_and_reports_and_the_run_can_go_on(place: Place, started: Started) -> None:
    process, name, _ = started
    eventually(lambda: len(place.rows(name, "train")) >= 1)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=600)
    assert process.returncode == 130, said
    assert f"--name {name} --resume" in said
    folder = place.folder / "runs" / name
    assert not json.loads((folder / "summary.json").read_text())["finished"]
    assert "has not finished" in (folder / "report.html").read_text()
    assert not alive(place.service_pid(name))
    reached = len(place.rows(name, "train"))
    resumed = place.run("--name", name, "--resume", "--steps", str(reached + 1))
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert steps(place.rows(name, "train")) == list(range(1, reached + 2))


@pytest.mark.slow
@pytest.mark.parametrize("during", ["rollouts", "training"])
def test_a_service_that_dies_is_started_again_and_nothing_is_repeated(
    place: Place, started: Started, during: str
) -> None:
    process, name, episodes = started
    eventually(lambda: len(place.rows(name, "train")) >= 1)
    if during == "training":  # all rollouts are in, and the client looks for the end of a job every second
        eventually(
            lambda: lines(episodes / f"train-{len(place.rows(name, 'train')) + 1:04d}-rollouts.jsonl") == 12
        )
    os.kill(place.service_pid(name), signal.SIGKILL)
    reached = len(place.rows(name, "train"))
    eventually(lambda: len(place.rows(name, "train")) > reached + 1)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=600)
    assert "died and is started again" in said
    trained = steps(place.rows(name, "train"))
    assert trained == list(range(1, len(trained) + 1))
    assert json.loads((place.folder / "runs" / name / "summary.json").read_text())["service_restarts"] == 1


@pytest.mark.slow
def test_a_service_that_cannot_start_ends_the_run_with_its_words(place: Place) -> None:
    done = place.run("--name", "unknown", "--base-model", "no-such-model")
    assert done.returncode == 1
    assert "no-such-model" in done.stderr
    assert "runs/unknown/report.html" in done.stdout


@pytest.mark.slow
def test_a_run_whose_logs_are_replaced_stops_and_goes_on_as_printed(place: Place) -> None:
    process = place.start("--name", "replaced", "--steps", "2")
    eventually(lambda: any((place.folder / "runs/replaced/episodes").glob("test-0000-*.jsonl")))
    os.utime(place.folder / "logs.db")
    said, _ = process.communicate(timeout=600)
    assert process.returncode == 1, said
    assert "was replaced or changed while this run reads it" in said
    (typed,) = [line for line in said.splitlines() if line.startswith("go on ")]
    gone_on = place.typed(*shlex.split(typed)[4:])
    assert gone_on.returncode == 0, gone_on.stdout + gone_on.stderr
    assert steps(place.rows("replaced", "train")) == [1, 2]


@pytest.mark.slow
def test_a_run_on_a_full_disk_stops_and_goes_on_as_printed(place: Place) -> None:
    process = place.start("--name", "full", "--steps", "2")
    eventually(lambda: any((place.folder / "runs/full/episodes").glob("test-0000-*.jsonl")))
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (1, 1))
    said, _ = process.communicate(timeout=600)
    assert process.returncode == 2, said
    assert "make room on the disk" in said
    assert "Traceback" not in said
    typed = said.rpartition("go on with: ")[2].splitlines()[0]
    gone_on = place.typed(*shlex.split(typed)[2:])
    assert gone_on.returncode == 0, gone_on.stdout + gone_on.stderr
    assert steps(place.rows("full", "train")) == [1, 2]


# ---------------------------------------------------------------------------------------- backends and judges


@pytest.mark.slow
async def test_a_service_that_runs_already_can_be_trained_on(place: Place, tmp_path: Path) -> None:
    options = ("--base-models", str(place.folder / "random"))
    service = ChildService(tmp_path / "data", tmp_path / "log", options=options)
    await service.start()
    try:
        flags = (
            "--backend",
            "serverless",
            "--service-url",
            f"{service.url}/v1",
            "--name",
            "elsewhere",
            "--steps",
            "1",
        )
        done = await asyncio.to_thread(place.run, *flags)
        assert service.alive()
    finally:
        await service.stop()
    assert done.returncode == 0, done.stdout + done.stderr
    assert steps(place.rows("elsewhere", "train")) == [1]
    assert not place.log.exists(), place.log.read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "says"),
    [
        pytest.param(
            "ok", {"service_correct": False, "cause_correct": False, "reason": "no"}, id="rejects everything"
        ),
        pytest.param("rubbish", {}, id="answers rubbish"),
    ],
)
def test_a_judge_that_cannot_judge_stops_the_run_before_its_first_rollout(
    place: Place, mode: Mode, says: dict[str, Any]
) -> None:
    name = f"judged-{mode}"
    with judge_server(mode, says) as judge:
        done = place.run(
            "--name", name, "--judge", "openai/fake", JUDGE_API_BASE=judge.base_url, JUDGE_API_KEY="test"
        )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "judge" in done.stderr
    assert not list((place.folder / "runs" / name / "episodes").iterdir())


@pytest.mark.slow
@pytest.mark.skipif(find_spec("megatron") is not None, reason="ART's own backend is installed here")
def test_a_backend_that_is_not_installed_says_what_to_install(place: Place) -> None:
    done = place.run("--name", "own-gpu", "--backend", "local")
    assert done.returncode == 2, done.stdout + done.stderr
    assert "pip install 'openpipe-art[backend]==" in done.stderr
    assert "Traceback" not in done.stderr
