"""The two tools of the graph ranker, loaded only for an episode that asks for them: they need torch.

They are in a room above this one, so they are named here and not imported. Nothing else is loaded this way.
"""

from __future__ import annotations

from importlib import import_module

from core.tools.store_tool import StoreTool
from project_types import ConfigurationError

ROOM = "graph_rca.agent_tools"


def ranker_tools() -> list[type[StoreTool]]:
    """Return `rank_services` and `explain_service`. Raises ConfigurationError where the extra is missing."""
    try:
        room = import_module(ROOM)
    except ModuleNotFoundError as missing:
        raise ConfigurationError(
            f"the tools rank_services and explain_service need {missing.name}; run: pip install -e '.[graph]'"
        ) from missing
    return [room.RankServices, room.ExplainService]
