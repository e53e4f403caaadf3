"""How far two judges agree on the same reports: share, Cohen's kappa, and where they differ."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from math import isnan
from typing import Any, NamedTuple

from core.command_line import printable
from core.intervals import Interval, as_json, bootstrap_mean, cohens_kappa, proportion
from core.tables import aligned
from project_types import Episode, Verdict

SHOWN = 10


class Agreement(NamedTuple):
    """Two judges on the same reports."""

    reports: int
    agreed: int
    kappa: float
    table: Mapping[tuple[bool, bool], int]
    """(the stored verdict says right, the new one says right) → reports."""
    stored: Interval
    """Share of reports that the stored verdicts call right, by scenario."""
    rescored: Interval
    cost_usd: float
    disagreements: tuple[tuple[Episode, Verdict], ...]


def agreement(pairs: Sequence[tuple[Episode, Verdict]]) -> Agreement:
    """Compare the verdict in each episode with a second one. There is at least one pair, and every episode
    has a verdict.
    """
    says = [
        (episode.verdict is not None and episode.verdict.correct, verdict.correct)
        for episode, verdict in pairs
    ]
    by_scenario: dict[str, list[tuple[bool, bool]]] = defaultdict(list)
    for (episode, _), both in zip(pairs, says, strict=True):
        by_scenario[episode.scenario_id].append(both)
    return Agreement(
        reports=len(pairs),
        agreed=sum(a == b for a, b in says),
        kappa=cohens_kappa([a for a, _ in says], [b for _, b in says]),
        table=Counter(says),
        stored=_share_right(by_scenario.values(), 0),
        rescored=_share_right(by_scenario.values(), 1),
        cost_usd=sum(verdict.cost_usd for _, verdict in pairs),
        disagreements=tuple(pair for pair, (a, b) in zip(pairs, says, strict=True) if a != b),
    )


def _share_right(scenarios: Iterable[Sequence[tuple[bool, bool]]], side: int) -> Interval:
    """Return how often one judge says right, averaged over the scenarios."""
    shares = list[float]()
    for group in scenarios:
        says_right = [both[side] for both in group]
        shares.append(sum(says_right) / len(says_right))
    return proportion(bootstrap_mean(shares))


def to_json(found: Agreement) -> dict[str, Any]:
    """Return the shape of `--json`."""
    return {
        "reports": found.reports,
        "agreement": found.agreed / found.reports,
        "kappa": None if isnan(found.kappa) else found.kappa,
        "both_right": found.table[True, True],
        "only_stored_right": found.table[True, False],
        "only_rescored_right": found.table[False, True],
        "both_wrong": found.table[False, False],
        "stored_accuracy": as_json(found.stored),
        "rescored_accuracy": as_json(found.rescored),
        "cost_usd": found.cost_usd,
        "disagreements": [
            {
                "scenario_id": e.scenario_id,
                "sample": e.sample,
                "stored": _reason(e.verdict),
                "rescored": _reason(verdict),
            }
            for e, verdict in found.disagreements
        ],
    }


def to_text(found: Agreement, judge: str) -> str:
    """Return what the terminal shows."""
    kappa = "undefined (both judges always say the same)" if isnan(found.kappa) else f"{found.kappa:.2f}"
    table = [
        ["", f"{judge}: right", f"{judge}: not right"],
        ["stored: right", str(found.table[True, True]), str(found.table[True, False])],
        ["stored: not right", str(found.table[False, True]), str(found.table[False, False])],
    ]
    agreed = f"agreement {found.agreed / found.reports:.1%}, Cohen's kappa {kappa}"
    parts = [
        f"{found.reports} reports, {agreed}, {found.cost_usd:.4f} USD",
        aligned(table),
        f"right among these reports: stored {found.stored.percent()}, {judge} {found.rescored.percent()}",
    ]
    for episode, verdict in found.disagreements[:SHOWN]:
        cause = printable(episode.report.root_cause if episode.report else "")[:200]
        reasons = f"  stored: {_reason(episode.verdict)}\n  {judge}: {_reason(verdict)}"
        parts.append(f"{episode.scenario_id}#{episode.sample}  {cause}\n{reasons}")
    if len(found.disagreements) > SHOWN:
        parts.append(f"... {len(found.disagreements) - SHOWN} more; --json lists them all")
    return "\n\n".join(parts)


def _reason(verdict: Verdict | None) -> str:
    if verdict is None:
        return "no verdict"
    return f"{'right' if verdict.correct else 'not right'}: {printable(verdict.reason)[:300]}"
