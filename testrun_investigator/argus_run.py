"""What Argus says about a run, as data: the parts that are used, in the shapes the server gives.

Unknown fields come and go with its releases and are ignored; nulls count as absent. Reading is `argus`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from core.downloads import shown_url

BAD_ENDINGS = frozenset({"failed", "test_error", "error", "aborted"})


class _Read(BaseModel):
    """What the server says, as far as it is used. Unknown fields come and go with its releases."""

    model_config = ConfigDict(frozen=True, extra="ignore", coerce_numbers_to_str=True)

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        return {name: value for name, value in given.items() if value is not None}


def _moment(value: Any) -> Any:
    """Read a time of Argus: ISO 8601, seconds since 1970, or nothing. Its zero means 'not yet'."""
    if value in (None, "", 0):
        return None
    if isinstance(value, str):
        moment = datetime.fromisoformat(value.replace("Z", "+00:00"))
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    else:
        moment = datetime.fromtimestamp(value, UTC)
    return moment if moment.year > 1970 else None


Moment = Annotated[datetime | None, BeforeValidator(_moment)]


class Package(_Read):
    """A version under test."""

    name: str = ""
    version: str = ""
    date: str = ""
    revision_id: str = ""


class Instance(_Read):
    """Where a node runs."""

    instance_type: str = ""
    private_ip: str = ""
    """What other nodes call it in their logs."""
    region: str = ""
    dc_name: str = ""
    rack_name: str = ""
    termination_reason: str = ""
    shards_amount: int | None = None


class Resource(_Read):
    """A node, a loader or a monitor."""

    name: str = ""
    state: str = ""
    resource_type: str = ""
    instance_info: Instance | None = None


class Target(_Read):
    """The node that a nemesis hit."""

    name: str = ""


class Nemesis(_Read):
    """A disruption that the test made on purpose."""

    name: str = ""
    class_name: str = ""
    status: str = ""
    target_node: Target | None = None
    start_time: Moment = None
    end_time: Moment = None
    stack_trace: str = ""


class Event(_Read):
    """An SCT event as Argus stores it."""

    ts: Moment = None
    severity: str = ""
    event_type: str = ""
    message: str = ""
    node: str = ""
    nemesis_name: str = ""
    nemesis_status: str = ""
    target_node: str = ""
    event_id: str = ""
    duplicate_id: str = ""


class Comment(_Read):
    """What a person wrote about the run."""

    posted_at: Moment = None
    message: str = ""


class LogLink(NamedTuple):
    """A log that was collected. `url` may be presigned: it is used, never shown."""

    name: str
    url: str


class ArgusRun(_Read):
    """A run and all that could be read of it in time."""

    id: str
    run_type: str = ""
    test_id: str = ""
    test_name: str = ""
    build_id: str = ""
    build_job_url: str = ""
    status: str = ""
    investigation_status: str = ""
    start_time: Moment = None
    end_time: Moment = None
    scylla_version: str = ""
    branch_name: str = ""
    scm_revision_id: str = ""
    started_by: str = ""
    packages: tuple[Package, ...] = ()
    region_name: tuple[str, ...] = ()
    cloud_setup: Mapping[str, Any] | None = None
    allocated_resources: tuple[Resource, ...] = ()
    nemesis_data: tuple[Nemesis, ...] = ()
    logs: tuple[LogLink, ...] = ()
    events: tuple[Event, ...] = ()
    """The first so many of each severity that was asked for, in time order."""
    event_counts: Mapping[str, int] = {}
    results: tuple[Mapping[str, Any], ...] = ()
    comments: tuple[Comment, ...] = ()
    missing: tuple[str, ...] = Field(default=(), description="What could not be read, and why.")

    @property
    def redacted_links(self) -> tuple[LogLink, ...]:
        """Return the links as they may be kept and shown: no query, no credentials."""
        return tuple(LogLink(link.name, shown_url(link.url)) for link in self.logs)


class RunSummary(_Read):
    """One row of a test's list of runs."""

    id: str
    test_id: str = ""
    build_id: str = ""
    status: str = ""
    investigation_status: str = ""
    start_time: Moment = None
    end_time: Moment = None
