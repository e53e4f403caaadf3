"""What a command line says beside the source; an importer reads what it has a use for."""

from __future__ import annotations

from typing import NamedTuple


class Options(NamedTuple):
    """Flags of an import."""

    service: str | None = None
    """Who wrote the rows that name nobody."""
    utc_offset: str | None = None
    """Zone of clocks without one, such as +08:00."""
    query: str | None = None
    """What to ask a server: LogQL or PromQL."""
    start: str | None = None
    end: str | None = None
    """The stretch of time to ask a server for, ISO 8601."""
