"""What an agent can do with the logs of one incident, over the file `build_logs` wrote.

`search_logs` and `read_trace` are the two tools of the trained default; `EpisodeConfig.tools` may offer more.
A tool is bound to one scenario when it is made and reads only that scenario's rows, so no argument can reach
another one. A log line is somebody else's text: it is printed on one line, and a keyword is data, not a
query. The tools are in `core.tools`, one module each; the stores they ask are in `core.log_stores`.
"""

from __future__ import annotations

from pathlib import Path

from core.function_schemas import function_schema
from core.log_stores.contract import LogStore
from core.log_stores.printing import PrintedRow, printed_rows
from core.log_stores.query import SearchArguments
from core.log_stores.sqlite import open_store
from core.log_stores.token_budget import estimate_tokens
from core.tools.compare import Compare
from core.tools.find_traces import FindTraces
from core.tools.ranker import ranker_tools
from core.tools.read_log import ReadLog
from core.tools.read_metrics import ReadMetrics
from core.tools.read_trace import ReadTrace, TraceArguments
from core.tools.search_logs import SearchLogs
from core.tools.span_stats import SpanStats
from core.tools.store_tool import StoreTool
from project_types import EpisodeConfig, Tool

__all__ = [
    "PrintedRow",
    "ReadTrace",
    "SearchArguments",
    "SearchLogs",
    "TraceArguments",
    "estimate_tokens",
    "function_schema",
    "log_tools",
    "printed_rows",
    "store_tools",
    "tool_types",
]


def log_tools(database: Path, scenario_id: str, config: EpisodeConfig) -> tuple[Tool, ...]:
    """The tools of one episode. Cheap: tools on the same file share a connection and what is known of a
    scenario.

    Raises:
        DatabaseError: the database is missing, damaged, of another version, or lacks the scenario; says what
        to run.
    """
    return store_tools(open_store(database, scenario_id), config)


def store_tools(store: LogStore, config: EpisodeConfig) -> tuple[Tool, ...]:
    """The tools of one episode over any log store: the two, or all that there is data for.

    Raises:
        ConfigurationError: the ranker is asked for and its extra is not installed.
    """
    offered = tool_types(config, spans=bool(store.spans()), metrics=bool(store.metrics()))
    return tuple(tool(store, config.tool_budget_tokens) for tool in offered)


def tool_types(config: EpisodeConfig, *, spans: bool = True, metrics: bool = True) -> list[type[StoreTool]]:
    """What an episode with these rules is offered, over a store that has spans or metrics.

    Raises:
        ConfigurationError: the ranker is asked for and its extra is not installed.
    """
    offered: list[type[StoreTool]] = [SearchLogs, ReadTrace]
    if config.tools == "full":
        offered += [ReadLog, Compare]
        offered += [SpanStats, FindTraces] if spans else []
        offered += [ReadMetrics] if metrics else []
        offered += ranker_tools() if config.ranker else []
    return offered
