"""Stored episodes survive what happens to files: half lines, bad lines, two writers, damage."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from core.episode_store.evaluation_store import EvaluationStore
from core.episode_store.failures import Failure
from core.episode_store.lines import TORN, EpisodesError, append
from core.episode_store.loading import load
from core.episode_store.run_folder import EPISODES
from project_types import ProviderError
from tests.builders.episodes import episode, write_episodes
from tests.builders.examples import examples

THREE = [episode("a"), episode("b", correct=True), episode("c", 1)]


def store(folder: Path, *episodes: object) -> None:
    with EvaluationStore(folder) as open_store:
        for one in episodes:
            open_store.add(one.model_dump_json())  # type: ignore[attr-defined]


def test_what_is_stored_is_loaded_back_equal(tmp_path: Path) -> None:
    store(tmp_path / "run", *THREE)
    found = load(tmp_path / "run")
    assert found.episodes == THREE
    assert found.warnings() == []


def test_a_single_file_is_loaded_like_a_folder(tmp_path: Path) -> None:
    path = write_episodes(tmp_path / "test-0000-t0.jsonl", *THREE)
    assert load(path).episodes == THREE


def test_the_latest_of_a_sample_stored_twice_counts(tmp_path: Path) -> None:
    store(tmp_path, episode("a"), episode("a", correct=True))
    assert [one.outcome.correct for one in load(tmp_path).episodes] == [True]


@given(cut=st.integers(0, 10_000))
@examples(60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_file_cut_anywhere_loses_at_most_the_line_it_was_cut_in(tmp_path: Path, cut: int) -> None:
    path = write_episodes(tmp_path / EPISODES, *THREE)
    whole = path.read_bytes()
    kept = whole[: min(cut, len(whole))]
    path.write_bytes(kept)
    found = load(path)
    complete = kept.count(b"\n")
    assert len(found.episodes) in (complete, complete + 1)
    assert found.episodes == THREE[: len(found.episodes)]
    assert all(bad.torn for bad in found.bad_lines)


def test_a_writer_puts_a_torn_line_aside_and_starts_on_a_new_one(tmp_path: Path) -> None:
    path = write_episodes(tmp_path / EPISODES, *THREE)
    path.write_bytes(path.read_bytes()[:-40])
    store(tmp_path, episode("c", 1, correct=True))
    found = load(tmp_path)
    assert [one.scenario_id for one in found.episodes] == ["a", "b", "c"]
    assert found.bad_lines == []
    assert (tmp_path / TORN).read_text().startswith('{"schema_version":1,"scenario_id":"c"')


def test_a_last_line_that_only_lacks_its_newline_is_kept(tmp_path: Path) -> None:
    path = write_episodes(tmp_path / EPISODES, *THREE)
    path.write_bytes(path.read_bytes()[:-1])
    store(tmp_path, episode("d"))
    assert len(load(tmp_path).episodes) == 4
    assert not (tmp_path / TORN).exists()


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"rubbish\n", "Invalid JSON"),
        (b"\xff\xfe\x00\n", "Invalid JSON"),
        (b'{"scenario_id": 3}\n', "field scenario_id"),
        (b'{"schema_version": 2, "scenario_id": "x"}\n', "field schema_version"),
    ],
    ids=["text", "bytes", "wrong type", "a later schema"],
)
def test_a_bad_line_is_named_and_the_others_are_read(tmp_path: Path, line: bytes, why: str) -> None:
    path = write_episodes(tmp_path / EPISODES, *THREE)
    first, rest = path.read_bytes().split(b"\n", 1)
    path.write_bytes(first + b"\n" + line + rest)
    found = load(tmp_path)
    assert found.episodes == THREE
    assert f"{path}:2: left out, " in found.warnings()[0]
    assert why in found.warnings()[0]


def test_a_folder_that_is_being_written_says_so_and_shows_what_is_there(tmp_path: Path) -> None:
    with EvaluationStore(tmp_path) as open_store:
        open_store.add(THREE[0].model_dump_json())
        found = load(tmp_path)
        assert found.being_written
        assert "still writing" in found.warnings()[0]
        assert found.episodes == THREE[:1]
    assert not load(tmp_path).being_written


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    with (
        EvaluationStore(tmp_path),
        pytest.raises(EpisodesError, match="another run is writing here"),
        EvaluationStore(tmp_path),
    ):
        pass


def test_a_failure_counts_until_its_sample_succeeds(tmp_path: Path) -> None:
    with EvaluationStore(tmp_path) as open_store:
        open_store.add(THREE[0].model_dump_json())
        for scenario_id in ("a", "z"):
            open_store.fail(Failure.of(ProviderError("no reply"), scenario_id, 0))
    found = load(tmp_path)
    assert [failure.scenario_id for failure in found.failures] == ["z"]
    assert "1 samples failed" in found.warnings()[0]


def test_a_failure_keeps_how_far_the_episode_got() -> None:
    trouble = ProviderError("gone")
    trouble.episode = THREE[0]
    assert Failure.model_validate_json(Failure.of(trouble).model_dump_json()).episode == THREE[0]


def test_a_missing_run_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(EpisodesError, match=r"python -m evaluation run"):
        load(tmp_path / "nothing")


@pytest.mark.parametrize("text", ["{", "[]"])
def test_a_damaged_run_record_is_said_and_the_episodes_are_read(tmp_path: Path, text: str) -> None:
    store(tmp_path, *THREE)
    (tmp_path / "run.json").write_text(text)
    found = load(tmp_path)
    assert found.episodes == THREE
    assert "run.json: cannot be read" in found.warnings()[0]


def test_a_folder_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EpisodesError, match="cannot be written"), append(tmp_path / "file" / "below"):
        pass
