"""The command behind `python -m evaluation show`: one stored episode, turn by turn, as plain text.

Everything printed comes from logs or models, so control characters are taken out before they reach a
terminal.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator

from core.command_line import printable
from core.episode_store.lines import EpisodesError
from core.episode_store.loading import load_run
from project_types import Episode


def command(arguments: argparse.Namespace) -> int:
    """Print the episodes of a scenario, or one sample of it."""
    found = load_run(arguments.run, split=arguments.split, sampling=arguments.sampling)
    scenario_id, _, sample = arguments.episode.partition("#")
    episodes = [
        e for e in found.episodes if e.scenario_id.startswith(scenario_id) and sample in ("", str(e.sample))
    ]
    if not episodes:
        known = ", ".join(sorted({e.scenario_id for e in found.episodes})[:3])
        raise EpisodesError(
            f"{found.again}: no episode of {arguments.episode!r}; it has {known or 'none'}, ..."
        )
    for note in found.warnings():
        print(printable(f"note: {note}"), file=sys.stderr)
    print("\n\n".join("\n".join(transcript(episode)) for episode in episodes))
    return 0


def transcript(episode: Episode) -> Iterator[str]:
    """Give the lines of one episode."""
    outcome = episode.outcome
    verdict = "right" if outcome.correct else "not right"
    reward = "none" if episode.reward is None else f"{episode.reward:.3f}"
    name = printable(f"{episode.scenario_id}#{episode.sample}  {episode.policy}")
    yield f"== {name}  {outcome.ending.value}, {verdict}, reward {reward}"
    for number, message in enumerate(episode.messages):
        yield f"-- {number} {printable(str(message.get('role')))}"
        if content := message.get("content"):
            yield printable(str(content))
        for call in message.get("tool_calls") or ():
            function = call.get("function", {})
            yield printable(f"> {function.get('name')} {function.get('arguments')}")
    if episode.verdict:
        yield f"-- verdict of {episode.verdict.judge}: {printable(episode.verdict.reason)}"
    components = {name: value for name, value in episode.reward_components.items() if value}
    yield f"-- reward components {json.dumps(components)}"
    yield f"-- cited logs {json.dumps(episode.cited_log_ids)} traces {json.dumps(episode.cited_trace_ids)}"
