"""`python -m evaluation run` plays what is missing, once, and says what went wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from core.episode_store.lines import EpisodesError
from core.episode_store.loading import load
from core.episode_store.run_folder import EPISODES
from evaluation.__main__ import main
from evaluation.run_record import read_run
from project_types import EMBEDDED, Episode
from tests.builders.commands import evaluation as run
from tests.builders.commands import eventually
from tests.builders.scenarios import incident, write_scenarios
from tests.fakes.openai_server import OpenAIServer, answer, by_turn, call, http_error, say

IDS = ("aa01", "aa02", "aa03")


@pytest.fixture
def split(tmp_path: Path) -> Path:
    return write_scenarios(tmp_path / "split", *IDS)


def played(folder: Path) -> list[tuple[str, int]]:
    return [(episode.scenario_id, episode.sample) for episode in load(folder).episodes]


def test_every_scenario_is_played_k_times_and_summarised(
    split: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert run("run", "--policy", "script:rarest-warning", "--split", split, "--k", 2, "--out", out) == 0
    assert sorted(played(out)) == [(name, sample) for name in IDS for sample in (0, 1)]
    summary = json.loads((out / "summary.json").read_text())
    assert (summary["k"], summary["scenarios"], summary["episodes"], summary["failed"]) == (2, 3, 6, 0)
    assert summary["measures"]["accuracy"]["value"] == 1.0
    assert set(summary["slices"]["seen"]) == {"seen", "unseen"}
    assert "root cause right (avg@k)" in capsys.readouterr().out


def test_an_episode_holds_what_reading_it_later_takes(split: Path, tmp_path: Path) -> None:
    run("run", "--policy", "script:rarest-warning", "--split", split, "--out", tmp_path / "run")
    episode = load(tmp_path / "run").episodes[0]
    assert (episode.policy, episode.split) == ("script:rarest-warning", "split")
    assert episode.verdict is not None
    assert episode.outcome.grounded
    assert episode.metadata["family"] == "resource"
    assert len(str(episode.metadata["scenario_digest"])) == 16


def test_the_same_command_again_plays_nothing(
    split: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ("run", "--policy", "script:first-error", "--split", split, "--out", tmp_path / "run")
    run(*command)
    before = (tmp_path / "run" / EPISODES).read_bytes()
    assert run(*command) == 0
    assert (tmp_path / "run" / EPISODES).read_bytes() == before
    assert "nothing is missing" in capsys.readouterr().err


def test_a_run_cut_short_plays_only_what_is_missing(split: Path, tmp_path: Path) -> None:
    command = ("run", "--policy", "script:first-error", "--split", split, "--k", 2, "--out", tmp_path / "run")
    run(*command)
    path = tmp_path / "run" / EPISODES
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:3]) + lines[3][:50])
    assert run(*command) == 0
    assert path.read_bytes().splitlines(keepends=True)[:3] == lines[:3]
    assert sorted(played(tmp_path / "run")) == [(name, sample) for name in IDS for sample in (0, 1)]


def test_a_larger_k_plays_only_the_new_samples(split: Path, tmp_path: Path) -> None:
    command = ("run", "--policy", "script:first-error", "--split", split, "--out", tmp_path / "run")
    run(*command)
    before = (tmp_path / "run" / EPISODES).read_bytes()
    run(*command, "--k", 3)
    assert (tmp_path / "run" / EPISODES).read_bytes().startswith(before)
    assert len(played(tmp_path / "run")) == 9


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (("--policy", "script:unknown"), "policy"),
        (("--seed", "5"), "seed"),
        (("--temperature", "0"), "config"),
    ],
)
def test_other_settings_need_another_folder(
    split: Path, tmp_path: Path, change: tuple[str, str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ("run", "--policy", "script:first-error", "--split", split, "--out", tmp_path / "run")
    run(*command)
    assert run(*command, *change) == 2
    assert f"other settings ({named}:" in capsys.readouterr().err


def untimed(episode: Episode) -> Episode:
    """The episode without the time it took."""
    return episode.model_copy(update={"outcome": episode.outcome.model_copy(update={"seconds": 0.0})})


@pytest.mark.slow
def test_processes_give_the_same_episodes_as_one(split: Path, tmp_path: Path) -> None:
    for workers in (1, 2):
        out = tmp_path / str(workers)
        assert (
            run(
                "run",
                "--policy",
                "script:demonstrator",
                "--split",
                split,
                "--k",
                3,
                "--workers",
                workers,
                "--out",
                out,
            )
            == 0
        )
    one, two = (list(map(untimed, load(tmp_path / workers).episodes)) for workers in "12")
    assert one == two


def test_another_seed_rolls_other_dice(split: Path, tmp_path: Path) -> None:
    for seed in (0, 1):
        out = tmp_path / str(seed)
        run(
            "run", "--policy", "script:demonstrator", "--split", split, "--k", 3, "--seed", seed, "--out", out
        )
    first, second = ([e.messages for e in load(tmp_path / name).episodes] for name in ("0", "1"))
    assert first != second


def test_a_file_name_that_lies_about_its_id_is_still_played_once(split: Path, tmp_path: Path) -> None:
    (split / "scenario-<script>alert(1); rm -rf $(HOME)\n\x1b[31m.json").write_text(
        incident("real-id").model_dump_json()
    )
    command = ("run", "--policy", "script:first-error", "--split", split, "--out", tmp_path / "run")
    assert run(*command) == 0
    assert run(*command) == 0
    assert [name for name, _ in played(tmp_path / "run")].count("real-id") == 1
    assert len((tmp_path / "run" / EPISODES).read_bytes().splitlines()) == 4


def test_a_scenario_whose_file_changed_is_played_again(split: Path, tmp_path: Path) -> None:
    command = ("run", "--policy", "script:first-error", "--split", split, "--out", tmp_path / "run")
    run(*command)
    file = split / "scenario-aa02.json"
    file.write_text(file.read_text().replace("Orders fail for some users.", "Orders fail."))
    assert run(*command) == 0
    assert len((tmp_path / "run" / EPISODES).read_bytes().splitlines()) == 4
    changed = {episode.scenario_id: episode for episode in load(tmp_path / "run").episodes}["aa02"]
    assert changed.messages[1]["content"].startswith("Orders fail.\n")


def test_a_bad_scenario_file_is_named_and_nothing_is_lost(
    split: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ("run", "--policy", "script:first-error", "--split", split, "--k", 2, "--out", tmp_path / "run")
    run(*command[:-4], "--k", 1, *command[-2:])
    before = played(tmp_path / "run")
    (split / "scenario-bad.json").write_text('{"id": "bad"}')
    assert run(*command) == 2
    assert "scenario-bad.json: field description" in capsys.readouterr().err
    assert played(tmp_path / "run") == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--policy", "script:nobody"), "no such script; known: deepest-span"),
        (("--policy", "nonsense"), "write script:NAME, embedded:NAME[@stepN], litellm:MODEL"),
        (("--split", "no-such-folder"), "no such folder"),
        (("--judge", "nobody/knows"), "nobody/knows"),
        (("--temperature", "7"), "--temperature 7.0"),
        (("--workers", "2", "--policy", "litellm:x"), "--workers is for scripts"),
        (("--address", "127.0.0.1:6379"), "add --executor ray"),
        (("--executor", "ray", "--policy", "embedded:x"), "give its address as --base-url"),
    ],
    ids=["script", "policy", "split", "judge", "temperature", "workers", "address", "embedded on ray"],
)
def test_a_wrong_argument_says_what_to_type(
    split: Path, tmp_path: Path, arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    usual = ["--policy", "script:first-error", "--split", str(split), "--out", str(tmp_path / "run")]
    assert run("run", *usual, *arguments) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run" / EPISODES).exists()


def test_a_dry_run_writes_nothing(split: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        run(
            "run",
            "--policy",
            "litellm:x/y",
            "--split",
            split,
            "--k",
            4,
            "--out",
            tmp_path / "run",
            "--dry-run",
        )
        == 0
    )
    assert "episodes    12 (4 samples each)" in capsys.readouterr().out
    assert not (tmp_path / "run").exists()


QUOTE = "ledger: journal write: no space left on device"
INVESTIGATION = by_turn(
    [call("search_logs", min_level="WARN"), answer("ledger", QUOTE, key_log_ids=["a1b2"])]
)


def model_run(split: Path, out: Path, server: OpenAIServer, *more: str) -> int:
    return run(
        "run",
        "--policy",
        "litellm:openai/fake",
        "--split",
        split,
        "--out",
        out,
        "--base-url",
        server.base_url,
        *more,
    )


def test_a_model_behind_litellm_is_asked_and_its_tokens_counted(split: Path, tmp_path: Path) -> None:
    with OpenAIServer(INVESTIGATION) as server:
        assert model_run(split, tmp_path / "run", server, "--temperature", "0.25", "--rules", "embedded") == 0
    episodes = load(tmp_path / "run").episodes
    assert [episode.outcome.grounded for episode in episodes] == [True] * 3
    assert all(episode.outcome.prompt_tokens > 0 for episode in episodes)
    assert server.requests[0]["temperature"] == 0.25
    assert server.requests[0]["max_completion_tokens"] == EMBEDDED.max_completion_tokens


def test_samples_that_failed_are_recorded_and_redone(
    split: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuses_one(body: dict[str, Any]) -> Any:
        return http_error(401, "no such key") if next(refused, False) else INVESTIGATION(body)

    refused = iter([True])
    with OpenAIServer(refuses_one) as server:
        assert model_run(split, tmp_path / "run", server, "--concurrency", "1") == 1
        found = load(tmp_path / "run")
        assert (len(found.episodes), len(found.failures)) == (2, 1)
        assert "HTTP 401" in found.failures[0].message
        assert json.loads((tmp_path / "run" / "summary.json").read_text())["failed"] == 1
        assert "the same command plays them again" in capsys.readouterr().err
        assert model_run(split, tmp_path / "run", server) == 0
    found = load(tmp_path / "run")
    assert (len(found.episodes), len(found.failures)) == (3, 0)


def test_a_run_in_which_nothing_works_stops_early(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    split = write_scenarios(tmp_path / "split", *(f"b{number:02}" for number in range(40)))
    with OpenAIServer(lambda body: http_error(401, "no such key")) as server:
        assert model_run(split, tmp_path / "run", server, "--concurrency", "4") == 2
    assert len(server.requests) < 30
    said = capsys.readouterr()
    assert "the first 20 samples all failed" in said.err
    lines = (tmp_path / "run" / "failures.jsonl").read_text().splitlines()
    assert json.loads(lines[0])["failure_analysis"]["failure_category"], (
        "explained when it failed, not when the run ended"
    )
    stored = len(lines)
    assert 20 <= stored <= 23, "the three under way beside the twentieth may have failed by then, too"
    assert f"{stored} explained in" in said.out


def test_a_policy_that_never_calls_a_tool_is_stopped_with_a_hint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    split = write_scenarios(tmp_path / "split", *(f"b{number:02}" for number in range(40)))
    with OpenAIServer(lambda body: say("I cannot know.")) as server:
        assert model_run(split, tmp_path / "run", server, "--concurrency", "1", "--no-explain") == 2
    said = capsys.readouterr().err
    assert "10 episodes in a row ended without a usable call, the last with malformed call" in said
    assert "try --call-format text" in said
    assert len(load(tmp_path / "run").episodes) == 10


@pytest.mark.parametrize("workers", ["1", pytest.param("2", marks=pytest.mark.slow)])
def test_an_interrupted_run_keeps_whole_lines_and_goes_on(tmp_path: Path, workers: str) -> None:
    split = write_scenarios(tmp_path / "split", *IDS)
    out = tmp_path / "run"
    command = [sys.executable, "-m", "evaluation", "run", "--policy", "script:first-error"]
    command += ["--split", str(split), "--out", str(out)]
    root = Path(__file__).parent.parent.parent
    endless = [*command, "--k", "5000", "--workers", workers, "--no-explain"]
    with subprocess.Popen(endless, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        eventually(lambda: (out / EPISODES).exists() and (out / EPISODES).stat().st_size > 20_000)
        os.kill(process.pid, signal.SIGINT)
        _, said = process.communicate()
    assert process.returncode == 130
    assert b"the same command goes on from there" in said
    found = load(out)
    assert found.bad_lines == []
    assert not found.being_written
    assert run(*command[3:], "--k", 5) == 0
    assert set(played(out)) >= {(name, sample) for name in IDS for sample in range(5)}


@pytest.mark.parametrize("number", ["0", "x", "2.5"])
def test_a_number_of_samples_that_is_none_is_refused_in_plain_words(
    number: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["run", "--policy", "script:unknown", "--out", "never", "--k", number])
    assert f"argument --k: '{number}' is not a whole number from 1 on" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["{", "[]"])
def test_a_damaged_run_record_keeps_a_run_from_going_on(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(EpisodesError, match=r"run\.json.*delete it"):
        read_run(tmp_path)
