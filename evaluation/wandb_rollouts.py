"""A batch of episodes in W&B and Weave: a table with a row per episode, and a Weave evaluation.

Training runs and evaluations log their episodes through here, so that both look alike. docs/wandb.md lists
every column. Weave is written from the stored episodes: nothing is played or judged for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from evaluation.showing import transcript
from evaluation.summary import summarise
from evaluation.wandb_session import open_weave
from project_types import Ending, Episode, Outcome
from rollout import TRACE, reward

COMPONENTS = tuple(reward(Outcome(ending=Ending.UNKNOWN)).components)
SLICED = ("fault_type", "family", "unseen", "topology")
COLUMNS = (
    *("scenario", "sample", "policy", "ending", "right", "grounded", "service_right", "reward"),
    *(f"reward_{name}" for name in COMPONENTS),
    *("suspected_service", "root_cause", "judge", "verdict", "reason", "turns", "tool_calls", "seconds"),
    *(*SLICED, "trace", "transcript"),
)
"""Columns of the table `.../rollouts`."""
LONGEST_TRANSCRIPT = 40_000
"""Characters of a transcript in a table; a longer one loses its middle."""


def table(episodes: Iterable[Episode]) -> Any:
    """Return episodes as a wandb Table with `COLUMNS`."""
    import wandb

    return wandb.Table(columns=list(COLUMNS), data=[_cells(episode) for episode in episodes])


def _cells(e: Episode) -> list[Any]:
    report, outcome = e.report, e.outcome
    text = "\n".join(transcript(e))
    if len(text) > LONGEST_TRANSCRIPT:
        half = LONGEST_TRANSCRIPT // 2
        text = f"{text[:half]}\n[... {len(text) - 2 * half} characters left out ...]\n{text[-half:]}"
    return [
        *(e.scenario_id, e.sample, e.policy, outcome.ending.value),
        *(outcome.correct, outcome.grounded, outcome.service_correct, e.reward),
        *(e.reward_components.get(name) for name in COMPONENTS),
        *((report.suspected_service, report.root_cause) if report else (None, None)),
        *_judged(e),
        *(outcome.turns, outcome.tool_calls, outcome.seconds),
        *(_sliced(e, name) for name in SLICED),
        *(e.metadata.get(TRACE), text),
    ]


def _judged(e: Episode) -> tuple[str | None, str | None, str | None]:
    """Return who said what, and why; nothing when there was no answer to judge."""
    if e.verdict is None:
        return None, None, None
    return e.verdict.judge, "right" if e.verdict.correct else "wrong", e.verdict.reason


def _sliced(e: Episode, name: str) -> str | None:
    return None if name not in e.metadata else str(e.metadata[name])


def weave_evaluation(name: str, episodes: Sequence[Episode], attributes: Mapping[str, Any]) -> None:
    """Log an Evaluation in Weave with a prediction per episode, scored by its verdict and its reward.

    Does nothing where Weave is off.
    """
    weave = open_weave()
    if weave is None or not episodes:
        return
    first, judge = episodes[0], next((e.verdict.judge for e in episodes if e.verdict), "judge")
    questions = {e.scenario_id: _question(e) for e in episodes}
    log = weave.EvaluationLogger(
        name=name,
        model={"name": "Investigator", "policy": first.policy},
        dataset=weave.Dataset(
            name=f"scenarios-{first.split or 'unnamed'}", rows=[questions[key] for key in sorted(questions)]
        ),
        eval_attributes=dict(attributes),
    )
    for e in episodes:
        prediction = log.log_prediction(inputs=questions[e.scenario_id], output=_answer(e))
        prediction.log_score({"name": "Judge", "judge": judge}, _verdict(e))
        prediction.log_score(
            "Reward", {"total": e.reward, "grounded": e.outcome.grounded, **e.reward_components}
        )
        prediction.finish()
    log.log_summary({measure: of.value for measure, of in summarise(episodes).whole.measures.items() if of.n})


def _answer(e: Episode) -> dict[str, Any]:
    known: dict[str, Any] = {
        "ending": e.outcome.ending.value,
        "sample": e.sample,
        "trace": e.metadata.get(TRACE),
    }
    return known | ({"report": e.report.model_dump(mode="json")} if e.report else {})


def _question(e: Episode) -> dict[str, Any]:
    """What is the same for every policy, so that Weave can lay evaluations side by side."""
    asked = next((str(message.get("content")) for message in e.messages if message.get("role") == "user"), "")
    return {"scenario": e.scenario_id, "question": asked, **{name: e.metadata.get(name) for name in SLICED}}


def _verdict(e: Episode) -> dict[str, Any]:
    """The judge's score of an episode; without an answer there was nothing to judge, and it is not right."""
    if e.verdict is None:
        return {
            "correct": False,
            "service_correct": False,
            "cause_correct": False,
            "reason": f"not judged: {e.outcome.ending}",
        }
    return e.verdict.model_dump(mode="json", exclude={"judge", "cost_usd"})
