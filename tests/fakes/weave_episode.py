"""A program for tests: plays two episodes with Weave switched on against a trace server on loopback, then
logs them as an evaluation, and prints the calls the server got.

It is a process of its own because Weave's client is global. `python -m tests.fakes.weave_episode`
"""

from __future__ import annotations

import asyncio
import json

from evaluation.wandb_rollouts import weave_evaluation
from evaluation.wandb_session import begin
from tests.builders.scenarios import CAUSE, GOLD
from tests.fakes.openai_server import answer, call
from tests.fakes.played import play
from tests.fakes.stand_ins import Says
from tests.fakes.weave_server import Received, trace_server


async def play_and_log(judge: Says) -> str:
    """What the trainer does in one event loop; the trace the episode says it has."""
    episode, _ = await play(
        [call("grep", word="space"), answer("ledger", CAUSE, key_log_ids=[GOLD])], judge=judge
    )
    unanswered, _ = await play([call("grep", word="space")] * 4, judge=judge)
    weave_evaluation(
        "seed1 val step 5", [episode, unanswered.model_copy(update={"sample": 1})], {"training_run": "seed1"}
    )
    return str(episode.metadata["weave_trace"])


def main() -> None:
    """Print the calls, and how often the judge was asked."""
    received, judge = Received(), Says(True)
    with trace_server(received):
        assert begin("investigator")
        import weave

        weave.get_client().set_wandb_run_context(run_id="seed1")
        trace = asyncio.run(play_and_log(judge))
        weave.finish()
    print(json.dumps({"calls": received.calls(), "asked": judge.asked, "trace": trace}))


if __name__ == "__main__":
    main()
