"""The fourteen tools as an MCP client sees them: their names, arguments, descriptions and hints.

A tool's docstring and its fields' descriptions are what a model reads. Every tool is annotated: only two of
them change anything, and only in the local cache. What they answer is `toolbox`, the server `mcp_server`.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations
from pydantic import Field, ValidationError

from project_types import InvestigatorError
from testrun_investigator import answers
from testrun_investigator.toolbox import Toolbox

RunId = Annotated[str, Field(description="The run's UUID, as in Argus.")]
StartTime = Annotated[str | None, Field(description="HH:MM, HH:MM:SS or ISO 8601, UTC.")]
EndTime = Annotated[str | None, Field(description="Like start_time; the minute or second named is included.")]
Keywords = Annotated[str | None, Field(description="Words that must all occur, also as parts of words.")]
Limit = Annotated[int, Field(description="Most rows to show, 1 to 200.", ge=1, le=200)]
Offset = Annotated[
    int,
    Field(
        description="next_offset of the last answer, for its next page. Further on, use times.",
        ge=0,
        le=1_000_000,
    ),
]
Severity = Annotated[
    str | None, Field(description="This severity and worse: DEBUG, NORMAL, WARNING, ERROR or CRITICAL.")
]
Cursor = Annotated[int | None, Field(description="Goes on where an earlier result of the same call stopped.")]

_READ = ToolAnnotations(
    read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False
)
_READ_OUTSIDE = ToolAnnotations(
    read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=True
)
_INGEST = ToolAnnotations(
    read_only_hint=False, destructive_hint=False, idempotent_hint=True, open_world_hint=True
)
_SAVE = ToolAnnotations(
    read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=False
)


def taught(mistake: ValidationError, known: dict[str, Any]) -> str:
    """Say which argument is wrong, what was given and what is allowed."""
    first = mistake.errors(include_url=False)[0]
    name = str(first["loc"][0]) if first["loc"] else "arguments"
    about = known.get(name, {}).get("description", "")
    given = "" if first["type"] == "missing" else f" (got {str(first.get('input'))[:60]!r})"
    return f"{name}: {first['msg'].lower()}{given}. {about}".strip()


async def answered(toolbox: Toolbox, name: str, work: Callable[[], Awaitable[Any]]) -> Any:
    try:
        return await toolbox.answer(name, work)
    except InvestigatorError as trouble:
        raise ToolError(str(trouble)) from None
    except ValidationError as mistake:
        raise ToolError(taught(mistake, {})) from None


Function = TypeVar("Function", bound=Callable[..., Any])


def _tool(server: MCPServer[Any], hints: ToolAnnotations) -> Callable[[Function], Function]:
    """Register a tool; its docstring, without the code's indentation, is what a model reads."""

    def register(function: Function) -> Function:
        described = inspect.cleandoc(function.__doc__ or "")
        return server.tool(annotations=hints, description=described)(function)

    return register


def _run_tools(server: MCPServer[Any], toolbox: Toolbox) -> None:
    @_tool(server, _READ_OUTSIDE)
    async def get_test_run_info(
        test_id: RunId,
        events: Annotated[
            int, Field(description="First events of each bad severity, 1 to 100.", ge=1, le=100)
        ] = 8,
    ) -> answers.RunInfo:
        """Read a test run from Argus: status, versions, cluster, nodes, nemeses, events by severity,
        and the names of its logs.

        Start here. Parts that Argus does not answer in time are named in `missing`.
        """
        done: answers.RunInfo = await answered(
            toolbox, "get_test_run_info", lambda: toolbox.get_test_run_info(test_id, events)
        )
        return done

    @_tool(server, _READ)
    async def run_overview(run_id: RunId) -> answers.Overview:
        """Say what is at hand for a run (logs, metrics, findings), what is missing, and
        which calls to make next.
        """
        done: answers.Overview = await answered(toolbox, "run_overview", lambda: toolbox.run_overview(run_id))
        return done


def _ingestion_tools(server: MCPServer[Any], toolbox: Toolbox) -> None:
    @_tool(server, _INGEST)
    async def ingest_logs(
        url: Annotated[str, Field(description="A log's name from get_test_run_info, a URL, or a path.")],
        run_id: RunId,
    ) -> answers.TaskInfo:
        """Begin to take in a log archive (tar.zst) or a bare log of a run. Returns a task id at once.

        sct-runner-events has actions and events, db-cluster the nodes' logs, loader-set the stress tools',
        monitor-set the metrics. Doing it again stores nothing twice.
        """
        done: answers.TaskInfo = await answered(
            toolbox, "ingest_logs", lambda: toolbox.ingest_logs(url, run_id)
        )
        return done

    @_tool(server, _READ)
    async def get_ingestion_status(
        task_id: Annotated[str, Field(description="task_id that ingest_logs returned.")],
        context: Context[Any, Any],
        wait_s: Annotated[
            float, Field(description="Wait for its end at most so many seconds, 0 to 20.", ge=0, le=20)
        ] = 0.0,
    ) -> answers.TaskInfo:
        """Say how far an ingestion is: percent, rows, what was repaired, which files
        were passed over and why.
        """

        async def work() -> answers.TaskInfo:
            ends = time.monotonic() + min(max(wait_s, 0.0), toolbox.deadline_s * 0.8)
            while True:
                found = await toolbox.get_ingestion_status(
                    task_id, min(0.5, max(ends - time.monotonic(), 0.0))
                )
                if found.percent is not None:
                    await context.report_progress(found.percent, 100, f"{found.rows} rows, {found.file}")
                if found.state != "running" or time.monotonic() >= ends:
                    return found

        done: answers.TaskInfo = await answered(toolbox, "get_ingestion_status", work)
        return done


def _stream_tools(server: MCPServer[Any], toolbox: Toolbox) -> None:
    @_tool(server, _READ)
    async def query_logs_by_stream(
        run_id: RunId,
        stream: Annotated[str, Field(description="action, event, node, stress or sct.")],
        limit: Limit = 50,
        offset: Offset = 0,
        start_time: StartTime = None,
        end_time: EndTime = None,
        keywords: Keywords = None,
        severity: Severity = None,
        node: Annotated[
            str | None, Field(description="Only this node, for the streams node and stress.")
        ] = None,
    ) -> answers.LogRows:
        """Read rows of one stream of a run in time order: action, event, node, stress
        (loaders), sct (test framework).
        """
        done: answers.LogRows = await answered(
            toolbox,
            "query_logs_by_stream",
            lambda: toolbox.query_logs_by_stream(
                run_id, stream, limit, offset, start_time, end_time, keywords, severity, node
            ),
        )
        return done

    @_tool(server, _READ)
    async def query_actions_log(
        run_id: RunId,
        start_time: StartTime = None,
        end_time: EndTime = None,
        keywords: Keywords = None,
        limit: Limit = 50,
        offset: Offset = 0,
    ) -> answers.LogRows:
        """Read what the test did, step by step, in time order (actions.log): nemesis
        steps, their starts and ends.
        """
        done: answers.LogRows = await answered(
            toolbox,
            "query_actions_log",
            lambda: toolbox.query_logs_by_stream(
                run_id, "action", limit, offset, start_time, end_time, keywords
            ),
        )
        return done

    @_tool(server, _READ)
    async def query_raw_events_log(
        run_id: RunId,
        start_time: StartTime = None,
        end_time: EndTime = None,
        keywords: Annotated[
            str | None,
            Field(description="Words that must all occur: an event type, a node, a part of the text."),
        ] = None,
        severity: Severity = None,
        limit: Limit = 50,
        offset: Offset = 0,
    ) -> answers.LogRows:
        """Read SCT's own events in time order (raw_events.log), with severity, node and
        the nemesis they fell into.
        """
        done: answers.LogRows = await answered(
            toolbox,
            "query_raw_events_log",
            lambda: toolbox.query_logs_by_stream(
                run_id, "event", limit, offset, start_time, end_time, keywords, severity
            ),
        )
        return done


def _search_tools(server: MCPServer[Any], toolbox: Toolbox) -> None:
    @_tool(server, _READ)
    async def search_logs(
        run_id: RunId,
        keywords: Keywords = None,
        service: Annotated[
            str | None,
            Field(description="Only this node, or actions, events, sct; a unique beginning is enough."),
        ] = None,
        min_level: Annotated[
            str | None, Field(description="DEBUG, INFO, WARN, ERROR or FATAL, and worse.")
        ] = None,
        start_time: StartTime = None,
        end_time: EndTime = None,
        limit: Annotated[int | None, Field(description="Most kinds of lines to show.")] = None,
        cursor: Cursor = None,
    ) -> answers.Text:
        """Search all logs of a run. Lines that are alike are one row with their count; worst level
        first, then rarest kinds.
        """
        given = {
            "keywords": keywords, "service": service, "min_level": min_level, "start_time": start_time,
            "end_time": end_time, "limit": limit, "cursor": cursor,
        }  # fmt: skip
        done: answers.Text = await answered(
            toolbox, "search_logs", lambda: toolbox.search_logs(run_id, **given)
        )
        return done

    @_tool(server, _READ)
    async def compare(
        run_id: RunId,
        window: Annotated[str | None, Field(description="What to look at, like 05:30/05:45 (UTC).")] = None,
        baseline: Annotated[
            str | None, Field(description="What to compare it with; left out: all before.")
        ] = None,
        cursor: Cursor = None,
    ) -> answers.Text:
        """Compare two stretches of time: kinds of log lines that are new, rising,
        falling or gone, by node.
        """
        done: answers.Text = await answered(
            toolbox, "compare", lambda: toolbox.compare(run_id, window, baseline, cursor)
        )
        return done


def _trace_tool(server: MCPServer[Any], toolbox: Toolbox) -> None:
    @_tool(server, _READ)
    async def read_trace(
        run_id: RunId,
        trace_id: Annotated[str, Field(description="The id printed after 'trace', or 'worst'.")],
        cursor: Cursor = None,
    ) -> answers.Text:
        """Show everything that belongs to one trace id, in time order."""
        done: answers.Text = await answered(
            toolbox, "read_trace", lambda: toolbox.read_trace(run_id, trace_id, cursor)
        )
        return done


def _ranker_tool(server: MCPServer[Any], toolbox: Toolbox) -> None:
    @_tool(server, _READ)
    async def rank_services(
        run_id: RunId,
        window: Annotated[
            str | None,
            Field(description="What to look at, like 05:30/05:45 (UTC); left out: around the first error."),
        ] = None,
        service: Annotated[
            str | None, Field(description="Say why this node is ranked where it is, with the rows behind it.")
        ] = None,
    ) -> answers.Text:
        """Rank the nodes by how likely each is the root cause, from what their logs say
        that they did not say before.

        It can be wrong: with `service` it gives its reasons and the ids of rows to check.
        """
        done: answers.Text = await answered(
            toolbox, "rank_services", lambda: toolbox.rank_services(run_id, window, service)
        )
        return done


def _knowledge_tools(server: MCPServer[Any], toolbox: Toolbox) -> None:
    @_tool(server, _READ_OUTSIDE)
    async def query_metrics(
        run_id: RunId,
        query: Annotated[str | None, Field(description="PromQL.")] = None,
        name: Annotated[
            str | None,
            Field(
                description="Instead of query: load, requests, write_timeouts, read_errors, compactions, free_memory, "
                "io_delay, live_nodes, disk_free or network."
            ),
        ] = None,
        start_time: StartTime = None,
        end_time: EndTime = None,
        limit: Annotated[int, Field(description="Most series to show, 1 to 50.", ge=1, le=50)] = 8,
        points: Annotated[bool, Field(description="Also give the points of each series.")] = False,
    ) -> answers.MetricsAnswer:
        """Ask for a metric over the time of the run. Series that moved furthest come first, with
        usual level and extremes.
        """
        done: answers.MetricsAnswer = await answered(
            toolbox,
            "query_metrics",
            lambda: toolbox.query_metrics(run_id, query, name, start_time, end_time, limit, points),
        )
        return done

    @_tool(server, _READ)
    async def get_investigation_instructions(
        topic: Annotated[str, Field(description="A symptom, an error text or a question.")],
        limit: Annotated[int, Field(description="Most passages, 1 to 8.", ge=1, le=8)] = 3,
    ) -> answers.Instructions:
        """Ask the knowledge base how to investigate something: what it looks like, how to tell
        the cause, what to query.
        """
        done: answers.Instructions = await answered(
            toolbox,
            "get_investigation_instructions",
            lambda: toolbox.get_investigation_instructions(topic, limit),
        )
        return done


def _finding_tools(server: MCPServer[Any], toolbox: Toolbox) -> None:
    @_tool(server, _READ)
    async def list_findings(
        run_id: Annotated[str | None, Field(description="Findings of this run, and of runs like it.")] = None,
        query: Annotated[str | None, Field(description="Findings about this.")] = None,
        limit: Annotated[int, Field(description="Most findings, 1 to 20.", ge=1, le=20)] = 5,
    ) -> answers.Findings:
        """List earlier answers, each checked against its data now. Those of similar runs
        say why they are similar.
        """
        done: answers.Findings = await answered(
            toolbox, "list_findings", lambda: toolbox.list_findings(run_id, query, limit)
        )
        return done

    @_tool(server, _SAVE)
    async def save_finding(
        run_id: RunId,
        cause: Annotated[str, Field(description="One sentence: what broke, on which node, and why.")],
        service: Annotated[str, Field(description="The node or component to blame, or 'unknown'.")],
        log_ids: Annotated[list[str], Field(description="Ids of the rows that prove it, as printed.")],
        fault_type: Annotated[str | None, Field(description="Kind of fault, such as disk_full.")] = None,
        next_actions: Annotated[list[str] | None, Field(description="What to do now.")] = None,
        confidence: Annotated[float | None, Field(description="0 to 1.", ge=0, le=1)] = None,
    ) -> answers.FindingInfo:
        """Keep an answer with the rows that prove it. Ids that the run's logs do not hold are refused."""
        actions = None if next_actions is None else tuple(next_actions)
        done: answers.FindingInfo = await answered(
            toolbox,
            "save_finding",
            lambda: toolbox.save_finding(
                run_id, cause, service, log_ids, fault_type=fault_type, next_actions=actions,
                confidence=confidence,
                author="mcp client",
            ),
        )  # fmt: skip
        return done


def add_tools(server: MCPServer[Any], toolbox: Toolbox) -> None:
    """Register every tool: fourteen, whatever the settings (docs/adr/0171)."""
    _run_tools(server, toolbox)
    _ingestion_tools(server, toolbox)
    _stream_tools(server, toolbox)
    _search_tools(server, toolbox)
    (_ranker_tool if toolbox.settings.ranker else _trace_tool)(server, toolbox)
    _knowledge_tools(server, toolbox)
    _finding_tools(server, toolbox)
