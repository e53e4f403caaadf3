"""Whether reasons hold for the data: take the data itself away, encode again, and compare with what was told.

A reason says "without its logs the probability falls by 0.4". Here the service's logs are really removed from
the incident, everything is encoded anew, and the real fall is compared. The error is the mean absolute
difference; the correlation says whether large reasons are large. Attention is held against the fall when a
call is removed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from graph_rca.explain import attention_of, calls_of, without_each
from graph_rca.graph import MODALITIES, InsufficientEvidence
from graph_rca.rank import Ranked, ranked
from graph_rca.weights import Ensemble
from project_types import Incident

_FIELDS = {"metrics": "metrics", "logs": "logs", "traces": "spans"}


class Faithfulness(NamedTuple):
    """How well told drops agree with real ones."""

    pairs: int
    error: float
    """Mean absolute difference, 0 to 1."""
    correlation: float
    strongest_agrees: float
    """Share of incidents in which the strongest told reason is also the strongest real one."""
    attention_correlation: float
    """Of attention on a call with the drop when the call is removed; NaN without a graph network."""


def removed(incident: Incident, service: str, modality: str) -> Incident:
    """Return the incident without one modality of one service."""
    field = _FIELDS[modality]
    kept = tuple(one for one in getattr(incident, field) if one.service != service)
    return incident.model_copy(update={field: kept})


def measure(incidents: Iterable[Incident], ensemble: Ensemble) -> Faithfulness:
    """Compare told and real drops of the first service of each incident. Incidents that
    cannot be ranked are left out.
    """
    told: list[float] = []
    real: list[float] = []
    agree: list[bool] = []
    weights: list[float] = []
    drops: list[float] = []
    for incident in incidents:
        try:
            found = ranked(incident, ensemble)
            place = found.order[0]
            mine = _told(found, place)
            theirs = [_real(found, incident, place, modality) for modality in MODALITIES]
        except InsufficientEvidence:
            continue
        told += mine
        real += theirs
        agree.append(int(np.argmax(mine)) == int(np.argmax(theirs)))
        _add_attention(found, place, weights, drops)
    return Faithfulness(
        len(told), float(np.mean(np.abs(np.subtract(told, real)))), _correlation(told, real), float(np.mean(agree)),
        _correlation(weights, drops),
    )  # fmt: skip


def _told(found: Ranked, place: int) -> list[float]:
    after = without_each(found.ensemble, found.graph, place, [])
    return [float(found.probabilities[place]) - one for one in after]


def _real(found: Ranked, incident: Incident, place: int, modality: str) -> float:
    service = found.graph.services[place]
    less = ranked(removed(incident, service, modality), found.ensemble, alert=found.graph.alert)
    return float(found.probabilities[place] - less.probabilities[place])


def _add_attention(found: Ranked, place: int, weights: list[float], drops: list[float]) -> None:
    attention, calls = attention_of(found.ensemble, found.graph), calls_of(found.graph, place)
    if attention and calls:
        after = without_each(found.ensemble, found.graph, place, calls)[len(MODALITIES) :]
        weights += [attention.get(call, 0.0) for call in calls]
        drops += [abs(float(found.probabilities[place]) - one) for one in after]


def _correlation(first: Sequence[float], second: Sequence[float]) -> float:
    if len(first) < 3 or np.std(first) == 0 or np.std(second) == 0:
        return float("nan")
    return float(np.corrcoef(first, second)[0, 1])
