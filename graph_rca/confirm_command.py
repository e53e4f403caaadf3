"""The command behind `python -m graph_rca confirm`: a person says which service it was, and the
incident becomes a label.

`watch` keeps the incident beside its finding. What is written here is a scenario file that
`train --from` learns from.
"""

from __future__ import annotations

import argparse
from typing import Any

from core.files import replace_file
from graph_rca.findings import file_name
from graph_rca.rank_command import incident_of
from importers.labels import Label, truth_of
from project_types import ConfigurationError, Scenario

SOURCE = "confirmed finding"


def command(arguments: argparse.Namespace) -> int:
    """Write the labelled incident. Returns 0."""
    incident = incident_of(arguments)
    if arguments.service not in incident.services:
        known = ", ".join(incident.services[:30])
        raise ConfigurationError(f"--service {arguments.service}: no such service; there are: {known}")
    label = Label(arguments.service, arguments.fault, incident.description, incident.time_hint, SOURCE)
    parts: dict[str, Any] = incident.model_dump(mode="json", include=set(type(incident).model_fields))
    scenario = Scenario.model_validate(parts | truth_of(label))
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / f"scenario-{file_name(incident.id)}.json"
    replace_file(path, scenario.model_dump_json().encode())
    print(f"{path}; learn from it: python -m graph_rca train --help (--from {arguments.out})")
    return 0
