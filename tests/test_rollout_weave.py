"""With Weave initialised an episode is one trace, its tool calls and verdict the children; without, Weave is
not imported.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.builders.scenarios import GOLD

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
WITHOUT = """
import asyncio, sys
from tests.fakes.openai_server import answer
from tests.fakes.played import play
episode, _ = asyncio.run(play([answer("ledger", "no space left on device")]))
print(episode.outcome.ending, "weave" in sys.modules)
"""


@pytest.fixture(scope="module")
def received(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """An answered and an unanswered episode, and their evaluation, as they arrived at a trace server."""
    command, log = (
        [sys.executable, "-m", "tests.fakes.weave_episode"],
        tmp_path_factory.mktemp("weave") / "foreign.log",
    )
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("WANDB_", "WEAVE_", "WF_"))
    }
    guard = {
        "PYTHONPATH": f"{ROOT / 'tests' / 'fakes' / 'only_loopback'}{os.pathsep}{ROOT}",
        "ONLY_LOOPBACK_LOG": str(log),
    }
    done = subprocess.run(command, cwd=ROOT, env=kept | guard, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    foreign = [line.split()[1] for line in log.read_text().splitlines()] if log.exists() else []
    return found | {"printed": done.stdout + done.stderr, "foreign": foreign}


def named(received: dict[str, Any], name: str) -> list[dict[str, Any]]:
    return [call for call in received["calls"] if call["name"] == name]


def test_an_episode_is_a_trace_with_its_tool_calls_and_its_verdict_inside(received: dict[str, Any]) -> None:
    episode, tool, verdict = received["calls"][:3]
    assert [(call["name"], call["in"]) for call in (episode, tool, verdict)] == [
        ("investigate", None),
        ("grep", "investigate"),
        ("verdict", "investigate"),
    ]
    assert episode["inputs"]["scenario_id"] == "0f3c"
    assert episode["output"]["outcome"]["ending"] == "answered"
    assert tool["inputs"] == {"word": "space"}
    assert GOLD in tool["output"]["text"]
    assert verdict["inputs"]["report"]["suspected_service"] == "ledger"
    assert verdict["output"]["correct"] is True


def test_every_episode_is_a_trace_of_its_own_linked_to_the_training_run(received: dict[str, Any]) -> None:
    first, second = named(received, "investigate")
    assert first["trace"] == received["trace"] != second["trace"]
    assert first["run"] == second["run"] == "team/investigator/seed1"


def test_no_link_is_printed_for_every_episode(received: dict[str, Any]) -> None:
    assert "/r/call/" not in received["printed"]


def test_beside_its_service_weave_asks_only_whether_there_is_a_newer_weave(received: dict[str, Any]) -> None:
    assert set(received["foreign"]) <= {"pypi.org"}


def test_an_evaluation_is_one_of_weave_with_the_judge_as_scorer(received: dict[str, Any]) -> None:
    (evaluation,) = named(received, "Evaluation.evaluate")
    scores = named(received, "Judge")
    assert evaluation["attributes"]["training_run"] == "seed1"
    assert {call["in"] for call in named(received, "Evaluation.predict_and_score")} == {"Evaluation.evaluate"}
    assert [score["output"]["correct"] for score in scores] == [True, False]
    assert [score["output"]["reason"] for score in scores] == [
        "decided beforehand",
        "not judged: out_of_turns",
    ]
    assert evaluation["output"]["Judge"]["correct"] == {"true_count": 1, "true_fraction": 0.5}
    assert evaluation["output"]["output"]["accuracy"] == 0.5


def test_an_evaluation_plays_nothing_and_judges_nothing_again(received: dict[str, Any]) -> None:
    predictions = [call["output"] for call in named(received, "Model.predict")]
    assert received["asked"] == len(named(received, "verdict")) == 1
    assert len(named(received, "investigate")) == len(predictions) == 2
    assert [prediction["trace"] for prediction in predictions] == [
        call["trace"] for call in named(received, "investigate")
    ]
    assert predictions[0]["report"]["suspected_service"] == "ledger"


def test_without_weave_configured_it_is_not_even_imported() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT], cwd=ROOT, capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.split() == ["answered", "False"]
