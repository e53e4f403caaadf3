"""A run is taken in whole, once, as it grows, and as far as it can be read; good days and bad."""

from __future__ import annotations

import fcntl
import json
import os
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from core.episode_store.lines import EpisodesError, last_text
from core.episode_store.run_writer import RunWriter
from evaluation.__main__ import main as evaluate
from failure_analysis.capture import Captured, capture
from failure_analysis.capture_command import beside, explain
from failure_analysis.logs.analyzer import NO_MODEL, LogAnalyzer
from failure_analysis.records import (
    Experiment,
    ExperimentType,
    FailureCategory,
    InvestigationKind,
    Severity,
    Status,
    StoreError,
)
from failure_analysis.store import FailureStore, Wanted
from project_types import Episode, ProviderError
from tests.builders.episodes import add_episodes
from tests.builders.played import GOLD, Stage, answer, evaluation, search, training

RULES = LogAnalyzer(NO_MODEL)
FAILED = Wanted(statuses=(Status.FAILED,))
EPISODES = Wanted(types=(ExperimentType.EPISODE,))


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    return Stage(tmp_path_factory.mktemp("stage"))


@pytest.fixture
def store(tmp_path: Path) -> FailureStore:
    return FailureStore(tmp_path / "failures.db")


def take(path: Path, store: FailureStore) -> Captured:
    return capture(path, store, RULES)


def only(store: FailureStore, wanted: Wanted) -> Experiment:
    (row,) = store.experiments(wanted).rows
    return row


def append(path: Path, text: str) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(text)


def test_an_evaluation_is_listed_whole_and_its_failures_are_explained(
    tmp_path: Path, stage: Stage, store: FailureStore
) -> None:
    run = evaluation(tmp_path / "eval", stage, [stage.right(0), stage.wrong(1)])
    done = take(run, store)
    assert (done.experiments, done.failures, done.notes) == (3, 1, ())
    wrong = only(store, FAILED)
    assert (wrong.type, wrong.run, wrong.sample, wrong.source) == (
        ExperimentType.EPISODE,
        "eval",
        1,
        "eval/episodes.jsonl:2",
    )
    assert (wrong.fault_type, wrong.topology, wrong.policy, wrong.split) == (
        "disk_full",
        "shop",
        "scripted",
        "test",
    )
    assert wrong.failure is not None
    assert wrong.failure.kind is InvestigationKind.SAW_AND_IGNORED
    assert wrong.failure.claims[0].log_ids == (GOLD,)
    assert wrong.failure.analysis.failure_category is FailureCategory.LOGIC_ERROR
    assert "turn 1 showed a decisive line of ledger" in wrong.failure.analysis.root_cause
    whole = only(store, Wanted(types=(ExperimentType.EVALUATION,)))
    assert (whole.status, whole.policy, whole.split) == (Status.OK, "script:scripted", "test")


def test_an_episode_can_be_read_back_from_its_place(
    tmp_path: Path, stage: Stage, store: FailureStore
) -> None:
    episodes = [stage.wrong(0), stage.right(1), stage.wrong(2)]
    take(evaluation(tmp_path / "eval", stage, episodes), store)
    rows = store.experiments(EPISODES).rows
    assert {row.sample: store.transcript(row) for row in rows} == dict(enumerate(episodes))


def test_capturing_again_changes_nothing_and_reads_only_what_is_new(
    tmp_path: Path, stage: Stage, store: FailureStore
) -> None:
    run = evaluation(tmp_path / "eval", stage, [stage.right(0), stage.wrong(1)])
    take(run, store)
    before = store.experiments(EPISODES)
    assert take(run, store).failures == 0
    assert store.experiments(EPISODES) == before
    add_episodes(run / "episodes.jsonl", [stage.wrong(2)])
    done = take(run, store)
    assert (done.experiments, done.failures) == (2, 1)
    assert store.experiments(EPISODES).total == 3


def test_a_group_has_a_text_for_people_and_its_name_is_the_signature(
    tmp_path: Path, stage: Stage, store: FailureStore
) -> None:
    take(evaluation(tmp_path / "eval", stage, [stage.wrong(0), stage.wrong(1)]), store)
    failure = store.experiments(FAILED).rows[0].failure
    assert failure is not None
    (text,) = (tmp_path / "failures").iterdir()
    assert text.name == f"{failure.signature}.txt"
    content = text.read_text()
    assert "saw and ignored: disk_full" in content
    assert "stored      2 times" in content
    assert f"log ids {GOLD}" in content


# ---------------------------------------------------------------------------------------------- training runs


def test_a_training_run_is_taken_in_by_checkpoint(tmp_path: Path, stage: Stage, store: FailureStore) -> None:
    rows = [
        {"split": "test", "step": 0, "checkpoint": 0, "at": "2026-01-01T10:00:00+00:00"},
        {"split": "test_sampled", "step": 4, "checkpoint": 4, "at": "2026-01-01T11:00:00+00:00"},
    ]
    run = training(tmp_path / "seed1", stage, rows)
    add_episodes(run / "episodes" / "test-0000-t0.jsonl", [stage.wrong()])
    add_episodes(run / "episodes" / "test-0004-t1.jsonl", [stage.right()])
    add_episodes(run / "episodes" / "train-0001-rollouts.jsonl", [stage.wrong()])
    take(run, store)
    found = {(row.split, row.step, row.sampling): row for row in store.experiments(EPISODES).rows}
    assert set(found) == {("test", 0, "t0"), ("test", 4, "t1"), ("train", 1, "rollouts")}
    assert found["test", 0, "t0"].at.hour == 10
    assert found["test", 4, "t1"].at.hour == 11
    assert found["test", 4, "t1"].status is Status.OK
    whole = only(store, Wanted(types=(ExperimentType.TRAINING_RUN,)))
    assert (whole.status, whole.policy) == (Status.OK, "tiny")


def test_a_failed_training_job_is_explained_from_its_error_and_the_services_log(
    tmp_path: Path, stage: Stage, store: FailureStore
) -> None:
    run = training(tmp_path / "seed1", stage, finished=False)
    row = {
        "error": "JobFailed",
        "message": "step 3: OSError: [Errno 28] No space left on device",
        "at": "2026-01-01T10:00:00+00:00",
    }
    append(run / "failures.jsonl", json.dumps(row) + "\n")
    (run / "service.log").write_text("x\n" * 10_000 + "the end of it api_key=sk-0123456789abcdef\n")
    take(run, store)
    job = only(store, Wanted(types=(ExperimentType.TRAINING_JOB,)))
    assert job.failure is not None
    assert (job.failure.analysis.failure_category, job.failure.analysis.severity) == (
        FailureCategory.RESOURCE_ERROR,
        Severity.CRITICAL,
    )
    assert "the end of it" in job.failure.excerpt
    assert "0123456789abcdef" not in job.failure.excerpt
    whole = only(store, Wanted(types=(ExperimentType.TRAINING_RUN,)))
    assert whole.status is Status.FAILED
    assert whole.failure is not None
    assert "No space left" in whole.failure.error_message


def test_a_run_that_ended_without_a_word_was_stopped_or_killed(
    tmp_path: Path, stage: Stage, store: FailureStore
) -> None:
    take(training(tmp_path / "seed1", stage, finished=False), store)
    whole = only(store, Wanted(types=(ExperimentType.TRAINING_RUN,)))
    assert whole.failure is not None
    assert "stopped or killed" in whole.failure.analysis.root_cause


def test_rollouts_that_older_runs_only_counted_by_reason_are_counted(
    tmp_path: Path, stage: Stage, store: FailureStore
) -> None:
    reasons = {"ProviderError: tiny: no reply within # s": 3, "JudgeError: no verdict": 1}
    row = {
        "split": "train",
        "step": 2,
        "checkpoint": 2,
        "at": "2026-01-01T10:00:00+00:00",
        "failures": reasons,
    }
    take(training(tmp_path / "seed1", stage, [row]), store)
    found = store.experiments(Wanted(types=(ExperimentType.ROLLOUT,))).rows
    assert sorted(row.failure.times for row in found if row.failure) == [1, 3]
    assert {row.step for row in found} == {2}


def unfinished(stage: Stage) -> Episode:
    with pytest.raises(ProviderError) as caught:
        stage.play(search(min_level="WARN"), ProviderError("no reply"))
    assert caught.value.episode is not None
    return caught.value.episode


def test_a_failed_rollout_keeps_how_far_it_got(tmp_path: Path, stage: Stage, store: FailureStore) -> None:
    run = evaluation(tmp_path / "eval", stage, [])
    row: dict[str, Any] = {
        "scenario_id": "0f3c",
        "sample": 5,
        "error": "ProviderError",
        "at": "2026-01-01T10:00:00Z",
    }
    row |= {"message": "m: no reply within 120 s", "episode": unfinished(stage).model_dump(mode="json")}
    append(run / "failures.jsonl", json.dumps(row) + "\n")
    append(run / "failures.jsonl", json.dumps({**row, "sample": 6, "episode": None}) + "\n")
    take(run, store)
    first, second = sorted(
        store.experiments(Wanted(types=(ExperimentType.ROLLOUT,))).rows, key=lambda row: row.name
    )
    assert first.failure is not None
    assert second.failure is not None
    assert first.failure.kind is InvestigationKind.PROVIDER_TROUBLE
    assert first.failure.analysis.failure_category is FailureCategory.TIMEOUT
    assert first.failure.claims[0].turns == (1,)
    assert second.failure.analysis.failure_category is FailureCategory.TIMEOUT


def test_what_a_training_run_writes_down_of_its_failures_is_taken_in(
    tmp_path: Path, stage: Stage, store: FailureStore
) -> None:
    run = training(tmp_path / "seed1", stage, finished=False)
    trouble = ProviderError("tiny: no reply within 120 s")
    trouble.episode = unfinished(stage)
    folder = RunWriter(run)
    folder.fail(trouble)
    folder.fail(StoreError("step 3: no space left on device"))
    assert take(run, store).notes == ()
    assert only(store, Wanted(types=(ExperimentType.ROLLOUT,))).scenario_id == "0f3c"
    job = only(store, Wanted(types=(ExperimentType.TRAINING_JOB,)))
    assert job.failure is not None
    assert job.failure.analysis.failure_category is FailureCategory.RESOURCE_ERROR


def test_an_evaluation_explains_itself_when_it_ends_unless_told_not_to(
    tmp_path: Path, stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["run", "--policy", "script:first-error", "--split", str(stage.split), "--out"]
    assert evaluate([*command, str(tmp_path / "runs" / "one")]) == 0
    assert "1 explained" in capsys.readouterr().out
    assert FailureStore(tmp_path / "runs" / "failures.db").experiments(FAILED).total == 1
    assert evaluate([*command, str(tmp_path / "other" / "two"), "--no-explain"]) == 0
    assert not (tmp_path / "other" / "failures.db").exists()


# --------------------------------------------------------------------------------------------------- bad days


def test_a_half_written_line_waits_for_its_end(tmp_path: Path, stage: Stage, store: FailureStore) -> None:
    run = evaluation(tmp_path / "eval", stage, [stage.right(0)])
    line = stage.wrong(1).model_dump_json() + "\n"
    append(run / "episodes.jsonl", line[:700])
    assert take(run, store).notes == (
        f"{run}/episodes.jsonl:2: breaks off after 700 bytes; everything before it was taken in",
    )
    assert store.experiments(EPISODES).total == 1
    append(run / "episodes.jsonl", line[700:])
    assert take(run, store).notes == ()
    assert store.experiments(EPISODES).total == 2


def test_a_whole_last_line_needs_no_newline(tmp_path: Path, stage: Stage, store: FailureStore) -> None:
    run = evaluation(tmp_path / "eval", stage, [stage.right(0)])
    append(run / "episodes.jsonl", stage.wrong(1).model_dump_json())
    assert take(run, store).notes == ()
    assert store.experiments(EPISODES).total == 2
    append(run / "episodes.jsonl", "\n")
    add_episodes(run / "episodes.jsonl", [stage.wrong(2)])
    assert take(run, store).notes == ()
    assert store.experiments(EPISODES).total == 3


@pytest.mark.parametrize(
    "bad", ["{", "null", '{"scenario_id": 3}', "\x00\xff", '"' + "x" * 5000 + '"', "[" * 100_000]
)
def test_a_line_that_is_no_episode_is_said_and_the_others_are_taken_in(
    tmp_path: Path, stage: Stage, store: FailureStore, bad: str
) -> None:
    run = evaluation(tmp_path / "eval", stage, [stage.right(0)])
    append(run / "episodes.jsonl", bad + "\n")
    append(run / "failures.jsonl", bad + "\n")
    add_episodes(run / "episodes.jsonl", [stage.wrong(1)])
    done = take(run, store)
    assert any("episodes.jsonl:2: left out" in note for note in done.notes)
    assert any("failures.jsonl:1: left out" in note for note in done.notes)
    assert store.experiments(EPISODES).total == 2


def test_a_file_that_was_replaced_is_taken_in_anew(tmp_path: Path, stage: Stage, store: FailureStore) -> None:
    run = evaluation(tmp_path / "eval", stage, [stage.wrong(0), stage.wrong(1)])
    take(run, store)
    (run / "episodes.jsonl").unlink()
    add_episodes(run / "episodes.jsonl", [stage.right(7)])
    take(run, store)
    (row,) = store.experiments(EPISODES).rows
    assert (row.sample, row.status) == (7, Status.OK)


def test_an_episode_whose_file_changed_is_not_shown_as_another(
    tmp_path: Path, stage: Stage, store: FailureStore
) -> None:
    run = evaluation(tmp_path / "eval", stage, [stage.wrong(0), stage.wrong(1)])
    take(run, store)
    rows = store.experiments(EPISODES).rows
    content = (run / "episodes.jsonl").read_bytes()
    for changed in (
        content[1:],
        content.replace(b'"sample":1', b'"sample":9').replace(b'"sample":0', b'"sample":8'),
        b"",
    ):
        (run / "episodes.jsonl").write_bytes(changed)
        for row in rows:
            with pytest.raises(
                StoreError, match="changed since it was captured; run: python -m failure_analysis capture"
            ):
                store.transcript(row)
    (run / "episodes.jsonl").unlink()
    with pytest.raises(StoreError, match="put the file back"):
        store.transcript(rows[0])


def test_a_run_that_is_being_written_is_said_to_run(
    tmp_path: Path, stage: Stage, store: FailureStore
) -> None:
    run = training(tmp_path / "seed1", stage, finished=False)
    with (run / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = take(run, store)
        assert only(store, Wanted(types=(ExperimentType.TRAINING_RUN,))).status is Status.RUNNING
    assert any("still writing" in note for note in done.notes)


def test_without_its_scenario_an_episode_is_explained_by_itself(
    tmp_path: Path, stage: Stage, store: FailureStore
) -> None:
    run = evaluation(
        tmp_path / "eval", stage, [stage.play(search(min_level="WARN"), answer("unknown", "unknown"))]
    )
    (run / "run.json").write_text("{ torn")
    take(run, store)
    failure = only(store, FAILED).failure
    assert failure is not None
    assert failure.kind is InvestigationKind.GAVE_UP
    assert "scenario file was not found" in failure.analysis.why_method


@pytest.mark.parametrize(
    "name",
    [
        "../../../etc/passwd",
        "a/../../x",
        "<script>alert(1)</script>",
        "\x1b[2Jx",
        "'; DROP TABLE experiments; --",
        "ü" * 300,
        ".",
    ],
)
def test_a_hostile_scenario_name_is_only_a_name(
    tmp_path: Path, stage: Stage, store: FailureStore, name: str
) -> None:
    episode = stage.wrong().model_copy(
        update={"scenario_id": name, "metadata": {"fault_type": name, "topology": name}}
    )
    run = evaluation(tmp_path / "eval", stage, [episode])
    take(run, store)
    row = only(store, EPISODES)
    assert row.scenario_id == name
    assert store.transcript(row).scenario_id == name
    texts = list((tmp_path / "failures").iterdir())
    assert all(text.name.removesuffix(".txt").isalnum() for text in texts)
    assert "\x1b" not in texts[0].read_text()
    assert {path.name for path in tmp_path.iterdir()} == {"eval", "failures", "failures.db"}


@pytest.mark.slow
def test_a_line_of_any_length_is_skipped_in_bounded_memory(
    tmp_path: Path, stage: Stage, store: FailureStore
) -> None:
    run = evaluation(tmp_path / "eval", stage, [stage.wrong(0)])
    with (run / "episodes.jsonl").open("r+b") as file:
        file.seek(0, 2)
        file.seek(120 << 20, 1)  # a hole: 120 MiB of zero bytes that take no disk
        file.write(b"\n")
    add_episodes(run / "episodes.jsonl", [stage.wrong(1)])
    tracemalloc.start()
    done = take(run, store)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100 << 20
    assert any("too long" in note for note in done.notes)
    assert store.experiments(EPISODES).total == 2


def test_only_the_end_of_a_huge_log_is_read(tmp_path: Path) -> None:
    path = tmp_path / "service.log"
    with path.open("wb") as file:
        file.truncate(1 << 30)  # a hole of 1 GiB
        file.seek(0, 2)
        file.write("\nthe end \N{SNOWMAN}\n".encode())
    tracemalloc.start()
    assert last_text(path, 1000).endswith("the end \N{SNOWMAN}\n")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


# ------------------------------------------------------------------------------------------------------ where


def test_every_run_of_a_folder_is_taken_in(tmp_path: Path, stage: Stage) -> None:
    evaluation(tmp_path / "runs" / "one", stage, [stage.wrong()])
    training(tmp_path / "runs" / "two", stage)
    (tmp_path / "runs" / "three").mkdir()
    store = FailureStore(beside(tmp_path / "runs"))
    take(tmp_path / "runs", store)
    assert {run.run for run in store.runs()} == {"one", "two"}


def test_failures_are_kept_beside_the_run(tmp_path: Path, stage: Stage) -> None:
    run = evaluation(tmp_path / "runs" / "one", stage, [stage.wrong()])
    assert beside(run) == tmp_path / "runs" / "failures.db" == beside(tmp_path / "runs")


def test_a_bare_file_of_episodes_is_taken_in(tmp_path: Path, stage: Stage, store: FailureStore) -> None:
    add_episodes(tmp_path / "some.jsonl", [stage.wrong()])
    take(tmp_path / "some.jsonl", store)
    assert store.experiments(EPISODES).total == 1


@pytest.mark.parametrize("name", ["nothing", "empty"])
def test_a_path_without_a_run_says_what_to_give(tmp_path: Path, store: FailureStore, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(EpisodesError, match="give"):
        take(tmp_path / name, store)


def test_a_run_that_has_just_ended_is_explained_in_one_line(tmp_path: Path, stage: Stage) -> None:
    run = evaluation(tmp_path / "runs" / "one", stage, [stage.wrong()])
    assert "1 explained" in explain(run)
    assert "saw and ignored: disk_full (1)" in explain(run)


def test_explaining_never_stands_in_the_way_of_a_run(tmp_path: Path, stage: Stage) -> None:
    run = evaluation(tmp_path / "runs" / "one", stage, [stage.wrong()])
    (tmp_path / "runs" / "failures.db").write_bytes(b"damaged" * 1000)
    assert "not explained" in explain(run)
    assert "repair" in explain(run)
    assert os.path.exists(run / "episodes.jsonl")
