"""What Argus said about a run, remembered on disk: its time, versions and log links.

The links are needed later and hold no secret that lasts: a log is fetched through Argus, which signs the
address anew. What tools show of a run never holds an address.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from contextlib import suppress
from datetime import datetime
from typing import Any
from urllib.parse import quote

from core.downloads import shown_url
from core.files import replace_file
from project_types import InvestigatorError
from testrun_investigator import answers
from testrun_investigator.argus import Argus, run_id_of
from testrun_investigator.argus_run import ArgusRun
from testrun_investigator.settings import Settings

_FILE = "argus.json"


class RunFacts:
    """Runs as Argus knows them, read once and remembered."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def read(self, run_id: str, events: int, deadline_s: float) -> ArgusRun:
        """Read a run from Argus and remember it. Where that fails, return it as it
        was read before, and say so.

        Raises:
            ArgusError, ConfigurationError: it cannot be read and never was.
        """
        try:
            async with Argus(self._settings.argus) as argus:
                run = await argus.run(run_id, events=events, deadline_s=deadline_s)
        except InvestigatorError as trouble:
            if (known := self.known(run_id_of(run_id))) is None:
                raise
            why = f"Argus: {str(trouble)[:300]}; this is what it said before"
            return known.model_copy(update={"missing": (*known.missing, why)})
        run = run.model_copy(update={"logs": run.redacted_links})
        self._settings.run_folder(run.id).mkdir(parents=True, exist_ok=True)
        replace_file(self._settings.run_folder(run.id) / _FILE, run.model_dump_json().encode())
        return run

    def known(self, run_id: str) -> ArgusRun | None:
        """Return the run as it was last read; None when it never was."""
        with suppress(OSError, ValueError):
            return ArgusRun.model_validate_json((self._settings.run_folder(run_id) / _FILE).read_bytes())
        return None

    def window_us(self, run_id: str) -> tuple[int, int] | None:
        """Return when the run was; a run that goes on lasts until it was last read."""
        run = self.known(run_id)
        if run is None or run.start_time is None:
            return None
        end = run.end_time or datetime.fromtimestamp(
            (self._settings.run_folder(run_id) / _FILE).stat().st_mtime, run.start_time.tzinfo
        )
        return round(run.start_time.timestamp() * 1e6), round(max(end, run.start_time).timestamp() * 1e6)

    def versions(self, run_id: str) -> dict[str, str]:
        """Return the versions of the run's packages."""
        run = self.known(run_id)
        if run is None:
            return {}
        return {"scylla": run.scylla_version} | {one.name: one.version for one in run.packages[:10]}

    def link(self, run_id: str, name: str) -> str | None:
        """Return where a log of the run can be fetched, by its name; None for what is no name of a log.

        Raises InvestigatorError when it is one and no Argus is set.
        """
        run = self.known(run_id)
        if run is None:
            return None
        for link in run.logs:
            if name == link.name or shown_url(name) == link.url:
                route = f"/api/v1/tests/{quote(run.run_type)}/{run.id}/log/{quote(link.name)}/download"
                if not self._settings.argus.url:
                    raise InvestigatorError(f"{name} is fetched through Argus; set ARGUS_URL, or give a file")
                return f"{self._settings.argus.base}{route}"
        return None


def described(run: ArgusRun, ingested: Set[str]) -> answers.RunInfo:
    """Return a run as the tool shows it, without any address. `ingested`: sources that were taken in."""
    links = [answers.LogInfo(name=link.name, ingested=_taken(link.name, ingested)) for link in run.logs]
    events = [
        answers.EventInfo(
            time=_iso(event.ts),
            severity=event.severity,
            type=event.event_type,
            node=event.node,
            message=event.message[:400],
        )
        for event in run.events
    ]
    return answers.RunInfo(
        run_id=run.id,
        test=run.test_name,
        job=run.build_id,
        status=run.status,
        start=_iso(run.start_time),
        end=_iso(run.end_time) or "still running",
        scylla_version=run.scylla_version,
        packages={one.name: one.version for one in run.packages[:20]},
        cluster=_cluster(run.cloud_setup or {}, run.region_name),
        nodes=tuple(_node(one) for one in run.allocated_resources[:60]),
        nemeses=tuple(_nemesis(one) for one in run.nemesis_data[-60:]),
        event_counts=run.event_counts,
        first_events=tuple(answers.that_fit(events, answers.USUAL_TOKENS)),
        failed_results=_failed_results(run),
        comments=tuple(one.message[:500] for one in run.comments[-5:]),
        logs=tuple(links),
        missing=run.missing,
        next=_next(run, links),
    )


def _taken(name: str, ingested: Set[str]) -> bool:
    return any(f"/{quote(name)}/" in source or source.endswith(name) for source in ingested)


def _iso(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}" if moment else ""


def _cluster(setup: Mapping[str, Any], regions: tuple[str, ...]) -> dict[str, Any]:
    """Return the size and shape of the cluster: the fields that are known to be harmless."""
    shown: dict[str, Any] = {"backend": setup.get("backend"), "regions": list(regions)}
    for role in ("db_node", "loader_node", "monitor_node"):
        part = setup.get(role)
        if isinstance(part, dict):
            shown[role] = {name: part.get(name) for name in ("instance_type", "node_amount", "image_id")}
    return {name: value for name, value in shown.items() if value}


def _node(resource: Any) -> str:
    about = resource.instance_info
    kind = f", {about.instance_type}" if about and about.instance_type else ""
    kind += f", {about.private_ip}" if about and about.private_ip else ""
    why = f", ended: {about.termination_reason[:100]}" if about and about.termination_reason else ""
    return f"{resource.name} ({resource.resource_type}{kind}, {resource.state}{why})"


def _nemesis(nemesis: Any) -> answers.NemesisInfo:
    return answers.NemesisInfo(
        name=nemesis.name,
        target=nemesis.target_node.name if nemesis.target_node else "",
        status=nemesis.status,
        start=_iso(nemesis.start_time),
        end=_iso(nemesis.end_time),
        error=nemesis.stack_trace[-400:],
    )


def _failed_results(run: ArgusRun) -> tuple[str, ...]:
    found = []
    for entry in run.results:
        for name, table in entry.items():
            if isinstance(table, dict) and table.get("table_status") not in (None, "PASS", "UNSET"):
                found.append(f"{name}: {table.get('table_status')}")
    return tuple(found[:20])


def _next(run: ArgusRun, links: list[answers.LogInfo]) -> tuple[str, ...]:
    steps = ["get_investigation_instructions(topic='how to investigate a failed run')"]
    wanted = [
        one for one in links if not one.ingested and one.name.startswith(("sct-runner-events", "db-cluster"))
    ]
    steps += [f"ingest_logs(url='{one.name}', run_id='{run.id}')" for one in wanted[:2]]
    return (*steps, f"run_overview(run_id='{run.id}')")
