"""With Weave initialised an episode is one trace, its tool calls and verdict the children; without, Weave is not imported."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.fakes.incident import GOLD

ROOT = Path(__file__).parent.parent
WITHOUT = """
import asyncio, sys
from tests.fakes.openai_server import answer
from tests.fakes.played import play
episode, _ = asyncio.run(play([answer("ledger", "no space left on device")]))
print(episode.outcome.ending, "weave" in sys.modules)
"""


def test_an_episode_is_a_trace_with_its_tool_calls_and_its_verdict_inside() -> None:
    command = [sys.executable, "-m", "tests.fakes.weave_episode"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    episode, tool, verdict = json.loads(done.stdout.splitlines()[-1])
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


def test_without_weave_configured_it_is_not_even_imported() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT], cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.split() == ["answered", "False"]
