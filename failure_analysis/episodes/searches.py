"""What a stored search asked for: its arguments, put to the scenario's lines once more.

The lines stand in a log store in memory, and the arguments mean what they mean to the tool, so a claim such
as "the search of turn 1 matched a decisive line beyond what was shown" is about the very search that was
made. No tool runs and no database is needed. Arguments that the tool refuses match nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from pydantic import ValidationError

from core.log_stores.contract import LogQuery
from core.log_stores.memory import memory_store
from core.log_stores.query import Asked, NoSuchService, SearchArguments, asked
from core.log_stores.sqlite import SqliteStore
from project_types import Scenario, ToolInputError

_TIMES: Mapping[str, None] = {"start_us": None, "end_us": None}


class Searches:
    """Searches of one scenario."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario

    @cached_property
    def store(self) -> SqliteStore:
        """The scenario's lines; made when the first search is looked at."""
        return memory_store(self._scenario)

    def query(self, arguments: Mapping[str, Any]) -> LogQuery | None:
        """Return what the arguments of a call ask for; None when the tool refuses or cannot use them."""
        try:
            found: Asked = asked(SearchArguments.model_validate(dict(arguments)), self.store)
        except (ValidationError, ToolInputError, NoSuchService):
            return None
        return found.query

    def matches(self, query: LogQuery, log_id: str, *, whenever: bool = False) -> bool:
        """Return whether a query asks for this line; `whenever`: its times left aside."""
        at_any_time = query.model_copy(update=_TIMES) if whenever else query
        return log_id in self.store.matched(at_any_time)

    def shown_as(self, query: LogQuery, log_id: str) -> str | None:
        """Return the id of the line that stands for this one in the result of a query."""
        return self.store.stands_for(query, log_id)
