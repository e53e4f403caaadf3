"""The tools of the investigator, without a protocol: what each answers, within its deadline.

A `Toolbox` holds the parts: Argus, logs, metrics, knowledge base, findings. The MCP server, `ask`, `watch`
and the demonstration all call these. A tool raises InvestigatorError with what to do next; it never answers
with a stack trace. What the answers look like is `answers`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from core.log_stores.contract import LogStore
from core.log_stores.query import NoSuchService, SearchArguments
from core.redaction import redact
from core.sct_logs import STREAMS, Stream
from core.tools.compare import Compare, CompareArguments
from core.tools.read_trace import ReadTrace, TraceArguments
from core.tools.search_logs import SearchLogs
from project_types import Frozen, InvestigatorError, ToolInputError
from testrun_investigator import answers, history, ranking, run_facts, telling
from testrun_investigator.answers import that_fit
from testrun_investigator.argus import run_id_of
from testrun_investigator.history import FindingError, History
from testrun_investigator.knowledge.library import Library
from testrun_investigator.metrics import RunMetrics
from testrun_investigator.prometheus import NAMED, query_of
from testrun_investigator.run_facts import RunFacts
from testrun_investigator.settings import Settings
from testrun_investigator.victoria_logs import LogPage, LogsError, VictoriaLogsHandler, clock

DEADLINE_S = 25.0
"""No tool call takes longer."""
_LOOK_S = 0.1
_WEAK = 0.3
"""Below this a passage is hardly about the question."""
T = TypeVar("T")
Answer = TypeVar("Answer", bound=Frozen)


class Toolbox:
    """Everything the tools need. `close` ends what was started for them."""

    def __init__(self, settings: Settings, deadline_s: float = DEADLINE_S) -> None:
        self.settings, self.deadline_s = settings, deadline_s
        self.logs = VictoriaLogsHandler(settings)
        self.facts = RunFacts(settings)
        self.metrics = RunMetrics(settings)
        self.history = History(settings.findings)
        self.library = Library(settings.pages, settings.cache, wait_s=max(deadline_s - 5, 1))

    def close(self) -> None:
        """End the local Prometheus and give the knowledge base back."""
        self.metrics.close()
        self.library.close()

    async def answer(self, name: str, work: Callable[[], Awaitable[Answer]]) -> Answer:
        """Do the work of a tool in time, and take secrets out of what it answers.

        Raises:
            InvestigatorError: the tool failed or was late; the text holds no secret.
        """
        try:
            async with asyncio.timeout(self.deadline_s):
                found = await work()
                return await asyncio.to_thread(answers.cleaned, found, self._secrets)
        except TimeoutError:
            raise InvestigatorError(
                f"{name}: not answered within {self.deadline_s:.0f} s; narrow the question or try again"
            ) from None
        except NoSuchService as missing:
            raise InvestigatorError(
                f"service/node {str(missing)[:80]!r}: is unknown; run_overview lists them"
            ) from None
        except InvestigatorError as trouble:
            raise type(trouble)(redact(str(trouble), self._secrets)) from None

    @property
    def _secrets(self) -> Mapping[str, str]:
        argus = self.settings.argus
        return {
            "argus_token": argus.token,
            "cf_secret": argus.cf_access_client_secret,
            "server_token": self.settings.server_token,
        }

    # -------------------------------------------------------------------------------------------- the run

    async def get_test_run_info(self, test_id: str, events: int = 8) -> answers.RunInfo:
        """Read the run from Argus and remember its log links."""
        run = await self.facts.read(test_id, events, self.deadline_s * 0.8)
        ingested = {task.source for task in self.logs.tasks.of_run(run.id) if task.state == "done"}
        return run_facts.described(run, ingested)

    async def run_overview(self, run_id: str) -> answers.Overview:
        """Say what is at hand."""
        run_id = run_id_of(run_id)
        return await asyncio.to_thread(self._overview, run_id)

    def _overview(self, run_id: str) -> answers.Overview:
        facts = self.facts.known(run_id)
        tasks = self.logs.tasks.of_run(run_id)
        store = self._store_or_none(run_id)
        rows = telling.streams_of(tasks) if store else {}
        findings = self.history.of_run(run_id)
        prints = history.fingerprint(store) if store else ()
        similar = self.history.similar("", prints, run_id, 3) if prints else []
        stretch = store.stretch() if store else None
        missing, steps = telling.missing_and_next(
            run_id, facts is not None, tasks, rows, self.metrics.ready(run_id)
        )
        return answers.Overview(
            run_id=run_id,
            status=facts.status if facts else "unknown",
            time_range=f"{clock(stretch.first_us)} to {clock(stretch.last_us)}" if stretch else "",
            rows=rows,
            services=tuple(store.services()[:60]) if store else (),
            ingestions=tuple(f"{task.id}: {task.state}, {telling.log_name(task.source)}" for task in tasks),
            metrics=self.metrics.says(run_id),
            findings=tuple(f"{one.id}: {one.cause[:200]} ({one.service})" for one in findings[:5]),
            similar=tuple(f"{one.finding.id}: {one.finding.cause[:160]}; {one.why}" for one in similar),
            missing=tuple(missing),
            next=tuple(steps),
        )

    def _store_or_none(self, run_id: str) -> LogStore | None:
        try:
            return self.logs.store(run_id)
        except LogsError:
            return None

    # -------------------------------------------------------------------------------------------- ingesting

    async def ingest_logs(self, url: str, run_id: str) -> answers.TaskInfo:
        """Begin to take in an archive; its name as Argus lists it will do."""
        run_id = run_id_of(run_id)
        source = self.facts.link(run_id, url.strip()) or url.strip()
        if not source:
            raise ToolInputError("url: is empty; give a log's name from get_test_run_info, a URL or a path")
        return telling.task_info(await asyncio.to_thread(self.logs.tasks.start, source, run_id))

    async def get_ingestion_status(self, task_id: str, wait_s: float = 0.0) -> answers.TaskInfo:
        """Say how far a task is; with `wait_s` wait for its end at most so long."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + min(max(wait_s, 0.0), self.deadline_s * 0.8)
        task = await asyncio.to_thread(self.logs.tasks.task, task_id.strip())
        # no thread waits: some clients that do would keep all others from theirs
        while task is not None and task.state == "running" and loop.time() < ends:
            await asyncio.sleep(_LOOK_S)
            task = await asyncio.to_thread(self.logs.tasks.task, task_id.strip())
        if task is None:
            raise ToolInputError(
                f"task_id={task_id[:60]!r}: is unknown; run_overview lists the tasks of a run"
            )
        return telling.task_info(task)

    # -------------------------------------------------------------------------------------------- logs

    async def query_logs_by_stream(
        self,
        run_id: str,
        stream: str,
        limit: int = 50,
        offset: int = 0,
        start_time: str | None = None,
        end_time: str | None = None,
        keywords: str | None = None,
        severity: str | None = None,
        node: str | None = None,
    ) -> answers.LogRows:
        """Return rows of one stream, in time order."""
        if stream not in STREAMS:
            raise ToolInputError(f"stream={stream[:40]!r}: use one of {', '.join(STREAMS)}")
        run_id, level = run_id_of(run_id), telling.level_of(severity)
        chosen: Stream = stream  # type: ignore[assignment]
        page = await asyncio.to_thread(
            self.logs.page, run_id, chosen, start_time, end_time, keywords, level, node, limit, offset
        )
        told = telling.told(
            stream=stream,
            start_time=start_time,
            end_time=end_time,
            keywords=keywords,
            severity=severity,
            node=node,
        )
        return await asyncio.to_thread(self._log_rows, run_id, page, told, offset)

    def _log_rows(self, run_id: str, page: LogPage, told: str, offset: int) -> answers.LogRows:
        rows = that_fit(
            (answers.log_row(line, clock(line.at_us)) for line in page.rows), answers.USUAL_TOKENS
        )
        after = offset + len(rows)
        nothing = "nothing matches; take a filter away, or see run_overview for what was ingested"
        notes = [self._running(run_id), "" if page.matched else nothing]
        return answers.LogRows(
            run_id=run_id,
            searched=told,
            matched=page.matched,
            rows=tuple(rows),
            cut=max(page.matched - after, 0),
            next_offset=after if page.matched > after else None,
            logs_until=self._logs_until(run_id),
            note="; ".join(filter(None, notes)),
        )

    async def search_logs(self, run_id: str, **arguments: Any) -> answers.Text:
        """Search all logs of a run, one row for each kind of line."""
        store = await asyncio.to_thread(self.logs.store, run_id)
        found = await SearchLogs(store, answers.USUAL_TOKENS).run(SearchArguments(**arguments))
        return await asyncio.to_thread(self._text, run_id, found.text)

    async def read_trace(self, run_id: str, trace_id: str, cursor: int | None = None) -> answers.Text:
        """Show a trace."""
        store = await asyncio.to_thread(self.logs.store, run_id)
        found = await ReadTrace(store, answers.USUAL_TOKENS).run(
            TraceArguments(trace_id=trace_id, cursor=cursor)
        )
        return await asyncio.to_thread(self._text, run_id, found.text)

    async def compare(
        self, run_id: str, window: str | None = None, baseline: str | None = None, cursor: int | None = None
    ) -> answers.Text:
        """Compare the kinds of lines of two stretches of time."""
        store = await asyncio.to_thread(self.logs.store, run_id)
        given = CompareArguments(window=window, baseline=baseline, cursor=cursor)
        found = await Compare(store, answers.USUAL_TOKENS).run(given)
        return await asyncio.to_thread(self._text, run_id, found.text)

    async def rank_services(
        self, run_id: str, window: str | None = None, service: str | None = None
    ) -> answers.Text:
        """Rank the nodes, or say why one of them stands where it does."""
        store = await asyncio.to_thread(self.logs.store, run_id)
        looked = await asyncio.to_thread(ranking.look, store, window)
        text = await asyncio.to_thread(ranking.ranked, looked, service)
        return await asyncio.to_thread(self._text, run_id, text)

    def _text(self, run_id: str, text: str) -> answers.Text:
        run_id = run_id_of(run_id)
        return answers.Text(
            run_id=run_id, text=text, logs_until=self._logs_until(run_id), note=self._running(run_id)
        )

    def _logs_until(self, run_id: str) -> str:
        stretch = self.logs.store(run_id).stretch()
        return clock(stretch.last_us) if stretch else ""

    def _running(self, run_id: str) -> str:
        running = any(task.state == "running" for task in self.logs.tasks.of_run(run_id))
        return "an ingestion is still running; more rows may come" if running else ""

    # -------------------------------------------------------------------------------------------- metrics

    async def query_metrics(
        self,
        run_id: str,
        query: str | None = None,
        name: str | None = None,
        start_time: str | None = None,
        end_time: str | None = None,
        limit: int = 8,
        points: bool = False,
    ) -> answers.MetricsAnswer:
        """Ask for a metric over the time of the run."""
        run_id, promql = run_id_of(run_id), query_of(name, query)
        whole = await asyncio.to_thread(self.run_window, run_id)
        found = await self.metrics.query(run_id, promql, whole, start_time, end_time, self.deadline_s * 0.8)
        shown = [telling.series_info(one, points) for one in found.series[:limit]]
        kept = that_fit(shown, answers.USUAL_TOKENS)
        note = "" if found.series else "no series; the metric may be absent in this run: try another name"
        return answers.MetricsAnswer(
            run_id=run_id,
            query=promql,
            unit=NAMED[name].unit if name else "",
            range=f"{found.window.start:%Y-%m-%dT%H:%M:%SZ}/{found.window.end:%Y-%m-%dT%H:%M:%SZ}",
            step_s=found.step_s,
            series=tuple(kept),
            cut=len(found.series) - len(kept),
            note=note,
        )

    def run_window(self, run_id: str) -> tuple[int, int]:
        """Return when the run was, in microseconds: as Argus says, else as its logs say."""
        known = self.facts.window_us(run_id)
        if known is not None:
            return known
        store = self._store_or_none(run_id)
        stretch = store.stretch() if store else None
        if stretch is None:
            raise ToolInputError(f"run {run_id}: its time is unknown; call get_test_run_info(test_id) first")
        return stretch.first_us, stretch.last_us

    # -------------------------------------------------------------------------------------------- know-how

    async def get_investigation_instructions(self, topic: str, limit: int = 3) -> answers.Instructions:
        """Return the passages that answer a topic."""
        if not topic.strip():
            raise ToolInputError("topic: is empty; say what you want to know, such as 'reactor stalled'")
        found = await asyncio.to_thread(self.library.search, topic, limit)
        passages = [
            answers.PassageInfo(
                place=one.passage.place,
                title=one.passage.title,
                heading=one.passage.heading,
                text=one.passage.text,
                score=one.score,
            )
            for one in found
        ]
        weak = not found or found[0].score < _WEAK
        note = "no page fits well; start-here.md gives the general order" if weak else ""
        return answers.Instructions(
            topic=topic[:200], passages=tuple(that_fit(passages, answers.USUAL_TOKENS)), note=note
        )

    # -------------------------------------------------------------------------------------------- findings

    async def list_findings(
        self, run_id: str | None = None, query: str | None = None, limit: int = 5
    ) -> answers.Findings:
        """Return findings of a run, or those like a question or like a run."""
        return await asyncio.to_thread(self._list_findings, run_id, query, limit)

    def _list_findings(self, run_id: str | None, query: str | None, limit: int) -> answers.Findings:
        known = run_id_of(run_id) if run_id else ""
        found = [self._finding_info(one, "") for one in self.history.of_run(known)] if known else []
        if query or known:
            store = self._store_or_none(known) if known else None
            prints = history.fingerprint(store) if store else ()
            found += [
                self._finding_info(one.finding, one.why)
                for one in self.history.similar(query or "", prints, but=known, limit=limit)
            ]
        else:
            found = [self._finding_info(one, "") for one in self.history.all()[:limit]]
        kept = that_fit(found[:limit], answers.USUAL_TOKENS)
        note = "" if found else "no findings yet; save_finding keeps one"
        return answers.Findings(findings=tuple(kept), cut=len(found) - len(kept), note=note)

    async def save_finding(
        self, run_id: str, cause: str, service: str, log_ids: Sequence[str] = (), **more: Any
    ) -> answers.FindingInfo:
        """Keep an answer with the rows that prove it."""
        run_id = run_id_of(run_id)
        store = await asyncio.to_thread(self.logs.store, run_id)
        more["versions"] = self.facts.versions(run_id)
        more = {name: value for name, value in more.items() if value is not None}
        saved = await asyncio.to_thread(
            lambda: self.history.save(store, run_id, cause, service, log_ids, **more)
        )
        return self._finding_info(saved, "")

    async def finding(self, finding_id: str) -> answers.FindingInfo:
        """Return one finding."""
        found = self.history.get(finding_id.strip())
        if found is None:
            raise FindingError(f"finding {finding_id[:40]!r}: is unknown; list_findings shows what there is")
        return await asyncio.to_thread(self._finding_info, found, "")

    def _finding_info(self, found: history.Finding, why: str) -> answers.FindingInfo:
        rows = [
            answers.LogRow(
                id=one.log_id, time=one.time, level=one.level, service=one.service, message=one.text
            )
            for one in found.evidence
        ]
        return answers.FindingInfo(
            finding_id=found.id,
            run_id=found.run_id,
            at=found.at.isoformat(timespec="seconds"),
            cause=found.cause,
            service=found.service,
            fault_type=found.fault_type,
            confidence=found.confidence,
            versions=found.versions,
            evidence=tuple(rows),
            next_actions=found.next_actions,
            checked=history.check(found, self._store_or_none(found.run_id)),
            why_similar=why,
        )
