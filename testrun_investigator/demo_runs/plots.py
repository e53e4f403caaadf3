"""What goes wrong in each generated test run, read from `plots.yaml` beside this file.

A plot is data: the fault, the nemesis that is often innocent, and what every log shows of both. Turning a
plot into files is `generator`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import yaml
from pydantic import TypeAdapter

from project_types import Frozen, LevelName

Place = Literal["culprit", "peer", "db", "loader", "runner"]
"""`db` is every database node but the culprit, `peer` one of them."""


class Beat(Frozen):
    """Something that is written at a minute of the run."""

    minute: float
    place: Place
    level: LevelName
    text: str
    event: str = ""
    """The SCT event that the line also causes, such as DatabaseLogEvent.NO_SPACE_ERROR."""
    times: int = 1
    every_s: float = 10.0
    proves: bool = False
    """It is among the evidence for the cause."""


class Trend(Frozen):
    """A metric that is multiplied by `factor` from one minute of the run to another."""

    metric: str
    place: Place
    minute: float
    factor: float
    until: float = 90.0


class Disruption(Frozen):
    """A nemesis: what the test broke on purpose."""

    name: str
    start: float
    end: float
    on: Place = "culprit"
    status: str = "succeeded"
    error: str = ""


class Plot(Frozen):
    """One way a run fails."""

    key: str
    culprit: Literal["db", "loader"]
    fault_type: str
    cause: str
    accepted: tuple[str, ...]
    disruptions: tuple[Disruption, ...]
    beats: tuple[Beat, ...]
    trends: tuple[Trend, ...] = ()
    status: str = "failed"
    """How Argus says that the run ended."""


def plots() -> dict[str, Plot]:
    """Return every plot by its key."""
    text = Path(__file__).with_name("plots.yaml").read_text(encoding="utf-8")
    return {plot.key: plot for plot in TypeAdapter(tuple[Plot, ...]).validate_python(yaml.safe_load(text))}
