"""What ART gets from a rollout: the policy's own tokens, every fact and component as a metric, and the slices
as metadata.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from build_logs import build
from project_types import Episode, Outcome
from rollout import BANDS, reward
from tests.builders.scenarios import GOLD, INCIDENT

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent


def rolled_out(folder: Path, call_format: str) -> dict[str, Any]:
    """Build a database of the hand-written incident and roll it out in a process that may import art."""
    scenario = folder / "scenarios" / "val" / "scenario-0f3c.json"
    scenario.parent.mkdir(parents=True)
    scenario.write_text(INCIDENT.model_dump_json(), encoding="utf-8")
    build(folder / "scenarios", folder / "logs.db")
    command = [
        sys.executable,
        "-m",
        "tests.fakes.art_rollout",
        str(folder / "logs.db"),
        str(scenario),
        call_format,
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    printed: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return printed


@pytest.fixture(scope="module")
def native(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return rolled_out(tmp_path_factory.mktemp("native"), "native")


def test_the_choices_keep_their_tokens_and_logprobs_on_the_way_to_training(native: dict[str, Any]) -> None:
    for trajectory in native["group"]["trajectories"]:
        choices = [item for item in trajectory["messages_and_choices"] if "finish_reason" in item]
        assert len(choices) == 2
        for choice in choices:
            assert len(choice["token_ids"]) == len(choice["logprobs"]["content"]) > 0
            assert len(choice["prompt_token_ids"]) > 0


def test_a_trajectory_tells_the_story_of_its_episode_in_order(native: dict[str, Any]) -> None:
    story = native["group"]["trajectories"][0]["messages_and_choices"]
    roles = [item["message"]["role"] if "message" in item else item["role"] for item in story]
    assert roles == ["system", "user", "assistant", "tool", "assistant"]
    assert GOLD[:4] in story[3]["content"]
    offered = [tool["function"]["name"] for tool in native["group"]["trajectories"][0]["tools"]]
    assert offered == ["search_logs", "read_trace", "return_final_answer"]


def test_every_component_and_every_fact_is_a_metric(native: dict[str, Any]) -> None:
    trajectory, episode = native["group"]["trajectories"][0], Episode.model_validate(native["episode"])
    metrics, score = trajectory["metrics"], reward(episode.outcome)
    assert trajectory["reward"] == score.total
    assert score.total >= BANDS["grounded"].low
    assert {f"reward_{name}": metrics[f"reward_{name}"] for name in score.components} == {
        f"reward_{name}": value for name, value in score.components.items()
    }
    renamed = {"prompt_tokens": "episode_prompt_tokens", "completion_tokens": "episode_completion_tokens"}
    facts = {name: getattr(episode.outcome, name) for name in Outcome.model_fields if name != "ending"}
    assert {name: metrics[renamed.get(name, name)] for name in facts} == facts
    assert metrics["grounded"] == 1


def test_what_results_are_sliced_by_is_metadata(native: dict[str, Any]) -> None:
    metadata = native["group"]["trajectories"][0]["metadata"]
    wanted = {
        "scenario_id": "0f3c",
        "split": "val",
        "sample": 1,
        "fault_type": "disk_full",
        "family": "resource",
        "unseen": False,
    }
    assert metadata.items() >= {**wanted, "ending": "answered", "policy": "tiny@3"}.items()


def test_a_rollout_asks_for_the_pinned_checkpoint_only(native: dict[str, Any]) -> None:
    assert {request["model"] for request in native["requests"]} == {"tiny@3"}


def test_a_rollout_in_plain_text_carries_no_tool_schemas(tmp_path: Path) -> None:
    trajectory = rolled_out(tmp_path, "text")["group"]["trajectories"][0]
    assert trajectory["tools"] is None
    assert trajectory["metadata"]["ending"] == "answered"
