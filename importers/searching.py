"""The command behind `log-investigator search`: what agents search with, at a person's hands.

Anything that can be imported can be searched, and a built database too. The tools are those of an
episode, with room for more text.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from typing import Any

from core.command_line import printable
from core.tools.read_log import ReadLog
from core.tools.read_trace import ReadTrace
from core.tools.search_logs import SearchLogs
from core.tools.store_tool import StoreTool
from importers.opening import Opened, opened
from importers.options import Options
from project_types import ToolResult

BUDGET_TOKENS = 4000


def command(arguments: argparse.Namespace) -> int:
    """Search once and print. Returns 1 when nothing was found."""
    options = Options(utc_offset=arguments.utc_offset)
    with opened(arguments.source, arguments.format, options, arguments.id, progress=True) as found:
        for line in found.told:
            print(printable(line), file=sys.stderr)
        result = asyncio.run(_answer(found, arguments))
    for line in result.text.split("\n"):
        print(printable(line))
    return 0 if result.log_ids or result.trace_ids else 1


async def _answer(found: Opened, arguments: argparse.Namespace) -> ToolResult:
    """Call the tool that the flags mean."""
    tool: StoreTool
    given: dict[str, Any]
    if arguments.trace:
        tool = ReadTrace(found.store, arguments.tokens)
        given = {"trace_id": arguments.trace}
    elif arguments.log:
        tool = ReadLog(found.store, arguments.tokens)
        given = {"id": arguments.log, "before": arguments.context, "after": arguments.context}
    else:
        tool = SearchLogs(found.store, arguments.tokens)
        given = {
            "keywords": " ".join(arguments.words) or None,
            "service": arguments.service,
            "min_level": arguments.min_level,
            "start_time": arguments.start_time,
            "end_time": arguments.end_time,
            "limit": arguments.limit,
            "cursor": arguments.cursor,
        }
    return await tool.run(tool.arguments(**given))
