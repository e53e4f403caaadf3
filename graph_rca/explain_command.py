"""The command behind `python -m graph_rca explain`: everything that one service's rank rests on."""

from __future__ import annotations

import argparse
import json

from core.command_line import printable
from graph_rca.explain import reasons
from graph_rca.page import because
from graph_rca.rank import ranked
from graph_rca.rank_command import chosen_weights, incident_of, told
from project_types import ConfigurationError

MOST_REASONS = 12


def command(arguments: argparse.Namespace) -> int:
    """Explain and print. Returns 0."""
    found = ranked(incident_of(arguments), chosen_weights(arguments))
    names = found.graph.services
    name = arguments.service or found.services[0]
    if name not in names:
        raise ConfigurationError(f"--service {name}: no such service; there are: {', '.join(names[:30])}")
    place = names.index(name)
    why = reasons(found, place, MOST_REASONS)
    rank, share = found.order.index(place) + 1, float(found.probabilities[place])
    if arguments.json:
        told_json = [because(one).model_dump(mode="json") for one in why]
        print(
            json.dumps({"service": name, "rank": rank, "probability": share, "reasons": told_json}, indent=1)
        )
        return 0
    print(printable(f"{name}: rank {rank} of {len(names)}, {100 * share:.1f} %"))
    for reason in why:
        print(printable(f"  {told(reason)}"))
    if not why:
        print("  nothing that is taken away lowers its probability")
    return 0
