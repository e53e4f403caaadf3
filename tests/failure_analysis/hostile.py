"""Text that an enemy writes into logs, replies, ids and file names, and a run that holds it everywhere it can
be.
"""

from __future__ import annotations

import json
from pathlib import Path

from project_types import Ending, Episode
from tests.builders.episodes import call, episode, write_episodes
from tests.builders.runs import training_run

SCRIPT = "<script>window.pwned=1</script>"
IMAGE = "\"><img src=x onerror='window.pwned=2'>"
HTMX = "'><b hx-get=/static/x hx-trigger=load hx-on:load=window.pwned=3>"
TEMPLATE = "{{ 7*191 }}{% raw %}${window.pwned=4}"
LINK = "javascript:window.pwned=5"
UNSEEN = "\u202egnp.exe\u2066\x1b[31m\x07\u200b"
CLOSING = "</textarea></title></svg></style></pre><script>window.pwned=6</script>"
EVERYTHING = f"{SCRIPT}{IMAGE}{HTMX}{TEMPLATE}{LINK}{UNSEEN}{CLOSING}"
RUN_NAME = "<img src=x onerror=window.pwned=7>&\"'%2e"
ID = "x<svg onload=window.pwned=8>"


def hostile_episode(**fields: str) -> Episode:
    """Hostile in what was shown, said, called, answered and judged."""
    row = f"14:05:02 WARN ledger {EVERYTHING} trace 0011 log a1b2"
    made = episode(
        ID,
        result=f"1 line {SCRIPT}\n{row}",
        said=EVERYTHING,
        cause=EVERYTHING,
        service=f"orders{IMAGE}",
    )
    messages = (
        *made.messages[:4],
        call(3, f"tool{IMAGE}", **{f"name{SCRIPT}": EVERYTHING}),
        {"role": "tool", "tool_call_id": "c3", "content": f"error: {EVERYTHING}"},
        *made.messages[4:],
    )
    assert made.verdict is not None
    verdict = made.verdict.model_copy(update={"reason": EVERYTHING, "judge": f"judge{IMAGE}"})
    return made.model_copy(
        update={
            "messages": messages,
            "verdict": verdict,
            "cited_log_ids": (IMAGE, "a1b2c3d4e5f6"),
            "shown_log_ids": (*made.shown_log_ids, SCRIPT),
            "metadata": {**made.metadata, "fault_type": f"disk{IMAGE}", "topology": SCRIPT},
            "policy": f"policy{SCRIPT}",
            "reward_components": {f"band{IMAGE}": -0.9},
            **fields,
        }
    )


def hostile_run(root: Path) -> Path:
    """A training run whose name, settings, ids, episodes and failures are hostile."""
    run = training_run(root, RUN_NAME, finished=False)
    config = json.loads((run / "config.json").read_text())
    config["config"] |= {"base_model": EVERYTHING, "judge": IMAGE}
    (run / "config.json").write_text(json.dumps(config))
    for step in (0, 3):
        write_episodes(
            run / "episodes" / f"test-{step:04}-t0.jsonl",
            hostile_episode(),
            episode("1a2b", correct=True, ending=Ending.OUT_OF_TURNS),
        )
    row = {
        "scenario_id": ID,
        "sample": 0,
        "error": "ProviderError",
        "message": EVERYTHING,
        "at": "2026-03-01T14:00:00+00:00",
    }
    job = {"error": f"JobFailed{IMAGE}", "message": EVERYTHING, "at": "2026-03-01T14:00:01+00:00"}
    (run / "failures.jsonl").write_text("".join(json.dumps(one) + "\n" for one in (row, job)))
    (run / "service.log").write_text(f"Traceback (most recent call last):\n{EVERYTHING}\nMemoryError\n")
    return run
