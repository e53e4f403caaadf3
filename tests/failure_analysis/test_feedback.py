"""What failed before reaches the next prompt, without the test split, and the model that
explains the next failure.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from core.episode_store.episodes import read_episodes
from evaluation.__main__ import main as evaluate
from failure_analysis.__main__ import main
from failure_analysis.explaining import Explainer
from failure_analysis.feedback import as_prompt, feedback
from failure_analysis.logs.analyzer import LogAnalyzer
from failure_analysis.notes import Notes
from failure_analysis.records import ExperimentType, Status
from failure_analysis.store import FailureStore, Wanted
from tests.builders.scenarios import write_scenarios
from tests.failure_analysis.test_sharing import answers, message, put
from tests.failure_analysis.test_store import experiment, failure, store_with
from tests.fakes.openai_server import OpenAIServer


def stored(tmp_path: Path) -> FailureStore:
    def failed(number: int, name: str, **more: Any) -> Any:
        return experiment(number, status=Status.FAILED, failure=failure(name), **more)

    return store_with(
        tmp_path,
        *(failed(n, "often", split="train") for n in range(3)),
        failed(10, "job", type=ExperimentType.TRAINING_JOB),
        *(failed(n, "secret of the test", split="test") for n in range(20, 30)),
    )


def test_what_fails_most_is_told_and_the_test_split_is_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = stored(tmp_path)
    Notes(tmp_path).add(failure("often").signature, mark="known")
    told = feedback(store, Wanted(), 5)
    assert [(one["cause"], one["failures"]) for one in told] == [("cause often", 3), ("cause job", 1)]
    assert main(["feedback", "--failures", str(store.path)]) == 0
    said = capsys.readouterr().out
    assert "1. timeout (3 times" in said
    assert "known" in said
    assert "Fix: fix" in said
    assert "secret of the test" not in said
    assert main(["feedback", "--failures", str(store.path), "--json", "--limit", "1"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 1


def test_the_next_agent_reads_it_at_the_end_of_its_instructions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["feedback", "--failures", str(stored(tmp_path).path)])
    hints = tmp_path / "hints.txt"
    hints.write_text(capsys.readouterr().out, encoding="utf-8")
    scenarios = write_scenarios(tmp_path / "scenarios", "aa01")
    asked = [
        "run",
        "--policy",
        "script:investigator",
        "--split",
        str(scenarios),
        "--out",
        str(tmp_path / "run"),
    ]
    assert evaluate([*asked, "--hints", str(hints), "--no-explain", "--no-wandb"]) == 0
    played = next(read_episodes(tmp_path / "run" / "episodes.jsonl"))
    assert played.messages[0]["content"].endswith(hints.read_text(encoding="utf-8").strip())


def test_hints_that_cannot_be_read_or_are_too_long_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    long = tmp_path / "long.txt"
    long.write_text("x" * 8001, encoding="utf-8")
    asked = ["run", "--policy", "script:investigator", "--split", "test", "--out", str(tmp_path / "run")]
    for path, why in ((tmp_path / "nosuch", "cannot be read"), (long, "at most 8000 characters")):
        with suppress(SystemExit):
            assert evaluate([*asked, "--hints", str(path)]) == 2
        assert why in capsys.readouterr().err


def test_nothing_to_tell_is_no_prompt() -> None:
    assert as_prompt([]) == ""


def test_the_model_that_explains_a_failure_hears_what_failed_like_it(tmp_path: Path) -> None:
    store = FailureStore(tmp_path / "failures.db")
    with OpenAIServer(answers) as server:
        analyzer = LogAnalyzer("openai/fake", api_base=server.base_url, api_key="test", timeout_s=60)
        put(store, "a1", Explainer(analyzer, store).error("a1", "log", message("orders.csv"), ""))
        Explainer(analyzer, store).error("a2", "log", message("users.csv"), "")
        first, second = (request["messages"][1]["content"] for request in server.requests)
    assert "similar_failures_before" not in first
    assert "similar_failures_before" in second
    assert "orders.csv is not there Fix: make it" in second
