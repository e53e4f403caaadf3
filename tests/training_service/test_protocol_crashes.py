"""Kills, restarts, signals and disks: nothing is ever half done."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.fakes.engine import ScriptedEngine
from tests.training_service.service_process import ROOT, ServiceProcess, refusal, wait_until
from training_service.engine import RequestError
from training_service.folders import Folders, carry_over
from training_service.jobs import Jobs
from training_service.store import Store
from training_service.wire import PageQuery

pytestmark = pytest.mark.slow


def steps_trained(answer: str) -> int:
    return len(json.loads(answer)["history"])


def test_a_kill_during_a_job_keeps_the_last_finished_step_and_fails_the_job(tmp_path: Path) -> None:
    with ServiceProcess(tmp_path / "data") as service:
        model = service.register("killed")["id"]
        service.train(model)
        running = service.submit(model, hold=str(tmp_path / "never"))
        waiting = service.submit(model)
        wait_until((tmp_path / "never.waiting").exists)
        service.kill()
        assert list((service.data / "tmp").iterdir()), "the unfinished step was on disk"
        service.start()
        assert service.steps(model) == [1]
        assert steps_trained(service.answer("killed")) == 1
        for job, was in ((running, "running"), (waiting, "waiting")):
            failed = service.ended(job)
            assert failed["type"] == "training_failed"
            assert failed["data"]["error_message"] == (
                f"the service stopped while this job was {was}; the model is at step 1, submit the batch again"
            )
        assert list((service.data / "tmp").iterdir()) == []
        assert service.register("killed")["id"] == model
        assert service.train(model)["data"] == {"step": 2}
        assert steps_trained(service.answer("killed")) == 2


def test_a_kill_between_the_files_and_the_row_leaves_no_step(tmp_path: Path) -> None:
    with ServiceProcess(tmp_path / "data") as service:
        model = service.register("torn")["id"]
        service.train(model)
        service.kill()
        orphan = service.data / "models" / model / "step-000002"
        carry_over(orphan.with_name("step-000001"), orphan)
        (service.data / "models" / "model-unknown" / "step-000000").mkdir(parents=True)
        service.start()
        assert service.steps(model) == [1]
        assert not orphan.exists()
        assert not (service.data / "models" / "model-unknown").exists()
        assert service.train(model)["data"] == {"step": 2}


@pytest.mark.slow
def test_kills_at_any_moment_leave_whole_steps(tmp_path: Path) -> None:
    with ServiceProcess(tmp_path / "data") as service:
        model = service.register("unlucky")["id"]
        for round_number in range(4):
            jobs = [service.submit(model) for _ in range(8)]
            wait_until(lambda job=jobs[round_number]: service.events(job))  # type: ignore[misc]
            service.kill()
            service.start()
            steps = service.steps(model)
            assert steps == list(range(1, len(steps) + 1))
            assert [steps_trained(service.answer(f"unlucky@step{step}")) for step in steps] == steps
            ended = [service.ended(job)["type"] for job in jobs]
            assert ended == sorted(ended), "finished jobs come before failed ones"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_service_cleanly_and_fails_the_running_job(
    tmp_path: Path, number: signal.Signals
) -> None:
    with ServiceProcess(tmp_path / "data") as service:
        model = service.register("stopped")["id"]
        service.train(model)
        job = service.submit(model, hold=str(tmp_path / "never"))
        wait_until((tmp_path / "never.waiting").exists)
        assert service.stop(number) == 0
        assert "the engine is closed" in service.log.read_text()
        service.start()
        reason = service.ended(job)["data"]["error_message"]
        assert reason == "the service was stopped; start it and submit the batch again"
        assert service.steps(model) == [1]


def test_a_job_that_ignores_the_signal_is_cut_off_after_the_grace_period(tmp_path: Path) -> None:
    with ServiceProcess(tmp_path / "data", "--grace-s", "1") as service:
        model = service.register("deaf")["id"]
        job = service.submit(model, hold=str(tmp_path / "never"), deaf=True)
        wait_until((tmp_path / "never.waiting").exists)
        assert service.stop() == 1
        service.start()
        assert service.ended(job)["type"] == "training_failed"
        assert service.steps(model) == []


def test_the_service_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    with ServiceProcess(tmp_path / "data", "--parent-pid", str(parent.pid)) as service:
        assert service.http.get("/health").is_success
        parent.kill()
        parent.communicate()
        assert service.process.wait(30) == 0


def test_an_orphan_notices_at_once(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys, os\n"
        "child = subprocess.Popen([sys.executable, '-m', 'tests.fakes.engine', 'serve', '--data', sys.argv[1],"
        " '--parent-pid', str(os.getpid())], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)\n"
        "child.stdout.readline()\n"
        "print(child.pid, flush=True)\n"
        "os._exit(0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "data")],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    wait_until(lambda: not Path(f"/proc/{int(done.stdout)}").exists() or _is_zombie(int(done.stdout)))
    Folders(tmp_path / "data").close()


def test_two_services_cannot_share_a_folder(tmp_path: Path) -> None:
    with ServiceProcess(tmp_path / "data") as service:
        second = subprocess.run(
            [sys.executable, "-m", "tests.fakes.engine", "serve", "--data", str(service.data)],
            capture_output=True,
            text=True,
            cwd=ROOT,
        )
        assert second.returncode == 2
        assert (
            f"another training service (process {service.process.pid}) uses this folder; stop it or choose another"
            in second.stderr
        )
        assert service.http.get("/health").is_success


def test_a_full_disk_refuses_jobs_before_they_start(tmp_path: Path) -> None:
    with ServiceProcess(tmp_path / "data", "--min-free-mib", str(1 << 40)) as service:
        model = service.register("cramped")["id"]
        body = {"model_id": model, "trajectory_groups": []}
        status, message = refusal(service.http.post("/v1/preview/training-jobs", json=body))
        assert status == 507
        assert "delete old checkpoints" in message


def test_a_database_of_another_version_is_refused(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "service.db")) as database:
        database.execute("PRAGMA user_version=99")
    done = subprocess.run(
        [sys.executable, "-m", "tests.fakes.engine", "serve", "--data", str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 2
    assert "made by another version of the service (schema 99); choose another --data" in done.stderr


# ------------------------------------------------------------------------------------------ folders and store


def test_a_job_whose_end_could_not_be_written_fails_when_asked_for(tmp_path: Path) -> None:
    folders = Folders(tmp_path)
    store = Store(folders.database)
    job = store.add_job("model-1")
    store.start_job(job)
    Jobs(store, folders, ScriptedEngine()).mend(job)
    ((event,), more) = store.events(job, PageQuery())
    assert event["data"] == {
        "error_message": "the outcome could not be recorded; see the service's log, then submit again"
    }
    assert (event["type"], more, store.unfinished_jobs()) == ("training_failed", False, [])


def test_a_carried_over_checkpoint_outlives_its_source(tmp_path: Path) -> None:
    folders = Folders(tmp_path)
    first, second = folders.checkpoint("m", 1), folders.checkpoint("m", 2)
    fresh = folders.fresh()
    (fresh / "weights").write_text("w")
    (fresh / "optimizer.bin").write_text("o")
    folders.publish(fresh, first)
    carried = folders.fresh()
    carry_over(first, carried)
    folders.publish(carried, second)
    assert os.stat(first / "weights").st_ino == os.stat(second / "weights").st_ino, (
        "unchanged weights cost no disk"
    )
    folders.drop_optimizer(first)
    folders.condemn(first)
    assert sorted(path.name for path in second.iterdir()) == ["optimizer.bin", "weights"]
    folders.close()


def test_a_condemned_folder_goes_with_its_last_user_and_takes_no_new_ones(tmp_path: Path) -> None:
    folders = Folders(tmp_path)
    folder = folders.checkpoint("m", 0)
    folders.publish(folders.fresh(), folder)
    with folders.pinned(folder), folders.pinned(folder):
        folders.condemn(folder)
        with pytest.raises(RequestError, match="are gone; ask for another step"), folders.pinned(folder):
            pass
        assert folder.exists()
    assert not folder.parent.exists()
    folders.close()


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True
