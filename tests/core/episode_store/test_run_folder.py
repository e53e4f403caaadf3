"""A run's folder is read by one class, whatever lies in it, and says where the run stands."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from core.episode_store.lines import EpisodesError
from core.episode_store.loading import load, load_run
from core.episode_store.run_folder import RunFolder, State
from core.episode_store.run_writer import RunWriter
from core.episode_store.runs import Runs, UnknownRun, find_run, find_runs, latest_run, parse_run
from core.episode_store.runs import training_run as opened
from project_types import ConfigurationError
from tests.builders.episodes import episode, write_episodes
from tests.builders.examples import examples
from tests.builders.runs import SCENARIOS, evaluation_run, metrics_row, training_run, write_run, write_state


def runs(root: Path) -> Runs:
    """The runs of a folder, named from it."""
    return Runs(root, root)


def test_a_run_whose_folder_is_held_is_running(tmp_path: Path) -> None:
    run = training_run(tmp_path, finished=True)
    with (run / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert runs(tmp_path).get("seed1").state is State.RUNNING
    assert runs(tmp_path).get("seed1").state is State.FINISHED


def test_a_run_that_did_not_finish_and_is_not_held_was_stopped(tmp_path: Path) -> None:
    training_run(tmp_path, finished=False)
    found = runs(tmp_path).get("seed1")
    assert found.state is State.STOPPED
    assert (found.steps, found.most_steps) == (3, 3)


def test_a_run_that_the_clock_ended_early_is_out_of_time_and_not_finished(tmp_path: Path) -> None:
    run = training_run(tmp_path, finished=False)
    write_state(run, {"finished": False, "ended_by": "time"})
    (run / "summary.json").write_text(json.dumps({"go_on": "python train_serverless.py --resume"}))
    found = runs(tmp_path).get("seed1")
    assert found.state is State.OUT_OF_TIME
    assert found.goes_on_with == "python train_serverless.py --resume"


def test_an_evaluation_is_a_run_too(tmp_path: Path) -> None:
    evaluation_run(tmp_path / "eval", [episode()], policy="script:x", started="2026-03-01T14:00:00+00:00")
    found = runs(tmp_path).get("eval")
    assert found.kind == "evaluation"
    assert found.settings["policy"] == "script:x"
    assert [run.name for run in runs(tmp_path).all()] == ["eval"]


@pytest.mark.parametrize("content", [b"", b"[1]", b"{", b"\xff\xfe", b'{"config": [1]}', b"[" * 100_000])
def test_settings_that_cannot_be_read_are_said_and_the_rest_is_shown(tmp_path: Path, content: bytes) -> None:
    run = training_run(tmp_path)
    (run / "config.json").write_bytes(content)
    found = runs(tmp_path).get("seed1")
    assert found.steps == 3
    assert found.config == {}
    assert found.troubles or content == b'{"config": [1]}'


def test_a_name_that_is_no_utf8_can_be_shown_and_found_again(tmp_path: Path) -> None:
    training_run(tmp_path / "odd", "x")
    os.rename(os.fsencode(tmp_path / "odd" / "x"), os.fsencode(tmp_path) + b"/bad\xffname")
    (found,) = [run for run in runs(tmp_path).all() if run.name.startswith("bad")]
    assert found.name.encode("utf-8")
    assert runs(tmp_path).get(found.name).steps == 3


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    training_run(tmp_path / "elsewhere")
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "link").symlink_to(tmp_path / "elsewhere" / "seed1")
    assert runs(tmp_path / "runs").all() == []
    with pytest.raises(UnknownRun):
        runs(tmp_path / "runs").get("../elsewhere/seed1")


# ----------------------------------------------------------------------------------------- damage and enemies

TEXTS = st.one_of(
    st.binary(max_size=200),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
        max_leaves=12,
    ).map(lambda value: json.dumps(value).encode()),
)
READ = """kind settings config progress summary state goes_on_with best_checkpoint started changed rows
steps most_steps troubles"""
KEYS = (
    "config",
    "run",
    "finished",
    "ended_by",
    "best_checkpoint",
    "step",
    "split",
    "at",
    "steps",
    "scenarios",
)


@given(
    st.dictionaries(
        st.sampled_from(
            ["config.json", "run.json", "metrics.jsonl", "summary.json", "episodes.jsonl", "failures.jsonl"]
        ),
        TEXTS | st.sampled_from([json.dumps({key: {key: -1e999}}).encode() for key in KEYS]),
        min_size=1,
    ),
    TEXTS,
)
@examples(80, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_content_of_a_folder_makes_reading_it_fail(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes], state: bytes
) -> None:
    folder = tmp_path_factory.mktemp("run")
    for name, content in files.items():
        (folder / name).write_bytes(content)
    write_state(folder, {})
    next(folder.glob("art/*/models/*/state.json")).write_bytes(state)
    run = RunFolder(folder)
    for name in READ.split():
        getattr(run, name)
    run.latest("train", "accuracy")
    assert all(file.path.exists() for file in run.episode_files())
    assert run.scenario("../../etc/passwd", "..") is None


def test_rows_are_read_as_far_as_they_go(tmp_path: Path) -> None:
    run = training_run(tmp_path)
    lines = (run / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    (run / "metrics.jsonl").write_bytes(
        b"".join([lines[0], b"rubbish\n[1]\n", *lines[1:-1], lines[-1][:-20]])
    )
    found = RunFolder(run)
    assert len(found.rows) == len(lines) - 1  # the last one is half-written, and no trouble
    assert found.troubles == ("metrics.jsonl: 2 lines could not be read and are left out",)


def test_a_row_is_read_again_when_the_file_has_changed(tmp_path: Path) -> None:
    run = training_run(tmp_path)
    before = len(RunFolder(run).rows)
    with (run / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(metrics_row("train", 4, 0.5)) + "\n")
    assert len(RunFolder(run).rows) == before + 1


def test_a_scenario_is_found_where_the_run_had_it_and_never_elsewhere(tmp_path: Path) -> None:
    run = RunFolder(training_run(tmp_path / "runs"))
    found = run.scenario(SCENARIOS[0], "test")
    assert found is not None
    assert found.id == SCENARIOS[0]
    for name in (f"../test/scenario-{SCENARIOS[0]}", "..", "", "a/b", "a" * 300):
        assert run.scenario(name, "test") is None


# --------------------------------------------------------------------------------------------- which run


@pytest.mark.parametrize(
    ("text", "name", "step"),
    [("seed1", "seed1", None), ("seed1@40", "seed1", 40), ("a/b@0", "a/b", 0), ("x@y@7", "x@y", 7)],
)
def test_a_run_and_a_step_are_named_together(text: str, name: str, step: int | None) -> None:
    assert parse_run(text) == (name, step)
    assert str(parse_run(text)) == text


@pytest.mark.parametrize("text", ["seed1@", "seed1@last", "@3", "seed1@-1", "seed1@\N{SUPERSCRIPT TWO}"])
def test_what_follows_the_at_sign_is_a_number(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"write .*@40"):
        parse_run(text)


def test_a_run_is_found_by_its_path_or_by_its_name_below_runs(tmp_path: Path) -> None:
    run = training_run(tmp_path)
    assert find_run(str(run)) == (run, None)
    assert find_run(f"{run}@3") == (run, 3)
    assert find_run("seed1@3", tmp_path) == (run, 3)
    odd = evaluation_run(tmp_path / "odd@9", [episode()])
    assert find_run(str(odd)) == (odd, None)
    with pytest.raises(EpisodesError, match="no such run"):
        find_run("seed9", tmp_path)


def test_runs_below_a_folder_are_found_and_a_folder_without_any_says_what_to_give(tmp_path: Path) -> None:
    training_run(tmp_path / "runs")
    evaluation_run(tmp_path / "runs" / "deeper" / "eval", [episode()])
    assert [run.path.name for run in find_runs(tmp_path / "runs")] == ["eval", "seed1"]
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "empty", tmp_path / "nothing"):
        with pytest.raises(EpisodesError, match="give"):
            find_runs(path)


def test_the_latest_training_run_is_the_one_to_resume(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="holds no run yet"):
        latest_run(tmp_path)
    for name, at in (("first", 100), ("second", 300), ("third", 200)):
        os.utime(write_run(tmp_path / name, {}) / "config.json", (at, at))
    assert latest_run(tmp_path) == "second"


def test_a_training_run_needs_its_settings(tmp_path: Path) -> None:
    run = training_run(tmp_path)
    assert opened(run).config["seed"] == 1
    (run / "config.json").write_text("{")
    with pytest.raises(EpisodesError, match="put it back"):
        opened(run)


# -------------------------------------------------------------------------- which episodes of a training run


def chosen(run: Path, **choice: Any) -> str:
    return load(run, **choice).file.path.name


def test_the_episodes_of_the_best_checkpoint_are_read_unless_told_otherwise(tmp_path: Path) -> None:
    run = training_run(tmp_path)
    write_episodes(run / "episodes" / "val-0003-t1.jsonl", episode(split="val"))
    assert chosen(run) == "test-0003-t0.jsonl"
    assert chosen(run, step=0) == "test-0000-t0.jsonl"
    assert chosen(run, split="val", sampling="t1") == "val-0003-t1.jsonl"
    write_state(run, {"best_checkpoint": 2})  # nothing was tested there: the last that was
    assert chosen(run) == "test-0003-t0.jsonl"
    assert load_run(f"{run}@0").again == run / "episodes" / "test-0000-t0.jsonl"


def test_episodes_that_are_not_there_are_told_which_there_are(tmp_path: Path) -> None:
    run = training_run(tmp_path)
    with pytest.raises(
        EpisodesError, match=r"no episodes of test \(t0\) at step 2; it holds test \(t0\) at 0, 3"
    ):
        load(run, step=2)
    with pytest.raises(EpisodesError, match="plays one checkpoint"):
        load(evaluation_run(tmp_path / "eval", [episode()]), step=2)


# ------------------------------------------------------------------------------------------------- the writer


def test_what_a_killed_writer_left_is_put_aside_and_the_rest_taken_up(tmp_path: Path) -> None:
    run = training_run(tmp_path)
    with (run / "metrics.jsonl").open("ab") as file:
        file.write(b'{"split": "train", "st')
    writer = RunWriter(run)
    with writer.claimed(resume=True):
        writer.take_up()
        writer.add(metrics_row("train", 4, 0.5))
    assert [row["step"] for row in RunFolder(run).of("train")] == [1, 2, 3, 4]
    assert (run / "torn.txt").read_text() == '{"split": "train", "st\n'


def test_a_damaged_row_keeps_a_run_from_going_on(tmp_path: Path) -> None:
    run = training_run(tmp_path)
    content = (run / "metrics.jsonl").read_bytes()
    (run / "metrics.jsonl").write_bytes(b"rubbish\n" + content)
    with pytest.raises(ConfigurationError, match=r"metrics\.jsonl: 1 line.*--resume"):
        RunWriter(run).take_up()


@pytest.mark.parametrize("what", ["training", "evaluation"])
def test_a_training_run_is_not_written_over_another(tmp_path: Path, what: str) -> None:
    made = training_run(tmp_path) if what == "training" else evaluation_run(tmp_path / "eval", [episode()])
    with pytest.raises(ConfigurationError, match="holds a run"), RunWriter(made).claimed(resume=False):
        pass
