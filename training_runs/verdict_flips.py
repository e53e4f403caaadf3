"""Does the judge of a run change its mind over nothing? A few answers of each step are judged a second time.

The second report says the same: another first word, the ids in another order, no time line. A judge whose
verdicts flip rewards noise. Whole ways of asking are `core.judges.flips`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from project_types import Episode, Judge, JudgeError, Report, Scenario

ASKED = 4
"""Answers of a step that are judged again; each may cost money."""


def said_otherwise(report: Report) -> Report:
    """Return a report that says the same."""
    return report.model_copy(
        update={
            "root_cause": f"Root cause: {report.root_cause}"[:2000],
            "key_log_ids": report.key_log_ids[::-1],
            "primary_trace_ids": report.primary_trace_ids[::-1],
            "timeline": (),
        }
    )


async def verdict_flips(
    judge: Judge, scenarios: Sequence[Scenario], episodes: Sequence[Episode]
) -> float | None:
    """Return the share of verdicts that change; None when no answer was judged twice."""
    known: Mapping[str, Scenario] = {scenario.id: scenario for scenario in scenarios}
    flipped = []
    for episode in _chosen(episodes):
        report, verdict = episode.report, episode.verdict
        if report is None or verdict is None or episode.scenario_id not in known:
            continue
        try:
            again = await judge.verdict(known[episode.scenario_id], said_otherwise(report))
        except JudgeError:
            continue
        flipped.append(again.correct != verdict.correct)
    return sum(flipped) / len(flipped) if flipped else None


def _chosen(episodes: Sequence[Episode]) -> list[Episode]:
    """One answer of each scenario, as many right ones as wrong ones where both are there."""
    judged = {episode.scenario_id: episode for episode in episodes if episode.verdict is not None}
    right = [episode for episode in judged.values() if episode.outcome.correct]
    wrong = [episode for episode in judged.values() if not episode.outcome.correct]
    return [*right[: ASKED // 2], *wrong[: ASKED - len(right[: ASKED // 2])]]
