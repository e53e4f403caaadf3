"""Which train scenarios teach: those that a policy solves now and then.

A group whose rollouts all end alike teaches nothing (`flat_groups`). `python -m evaluation
profile RUN --json` says beforehand which scenarios would give such groups; a run that is given
its output leaves them out.

Not here: how a profile is made (`evaluation.profiling`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from project_types import ConfigurationError, Scenario


class Solved(BaseModel):
    """What is read of a scenario's profile."""

    scenario_id: str
    solved: Annotated[float, Field(ge=0, le=1)]
    """Share of the samples that were right."""


_PROFILE = TypeAdapter(list[Solved])


def sometimes_solved(scenarios: Sequence[Scenario], profile: Path) -> list[Scenario]:
    """Return the scenarios that were solved, but not always, and those that the profile does not name.

    Raises:
        ConfigurationError: the profile cannot be read, or leaves no scenario.
    """
    how = "write one with: python -m evaluation profile RUN --json > profile.json"
    try:
        shares = {one.scenario_id: one.solved for one in _PROFILE.validate_json(profile.read_bytes())}
    except OSError as trouble:
        raise ConfigurationError(
            f"--profile {profile}: cannot be read ({trouble.strerror}); {how}"
        ) from trouble
    except ValidationError as trouble:
        raise ConfigurationError(f"--profile {profile}: is no profile; {how}") from trouble
    kept = [one for one in scenarios if 0 < shares.get(one.id, 0.5) < 1]
    if not kept:
        raise ConfigurationError(f"--profile {profile}: every train scenario is always or never solved in it")
    return kept
