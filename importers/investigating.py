"""The command behind `log-investigator investigate`: one incident, whoever can play,
the report in the terminal.

Anything that can be imported can be investigated. Each call is told on stderr while it runs. The report ends
with the rows that it cites, printed in full, so that a reader can check the cause. There is no judge: nobody
knows the answer to a real incident.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from core.command_line import printable
from core.log_stores.contract import Line, LogStore
from core.log_stores.printing import count, when
from core.policies.registry import PolicyName, access, parse, usual_rules
from core.policies.registry import opened as opened_policy
from importers.opening import Opened, opened
from importers.options import Options
from log_search_tools import store_tools
from project_types import (
    Chat,
    ChatReply,
    ConfigurationError,
    Ending,
    Episode,
    EpisodeConfig,
    Level,
    Message,
    Report,
)
from rollout import investigate

CAREFUL = EpisodeConfig(tools="full", max_turns=40)
"""The rules of script:sre."""
GENERAL = EpisodeConfig(tools="full", max_turns=20)
"""The rules of a general model."""
_WIDTH = 110
_MOST_SPANS = 12
_ENDED: Mapping[Ending, str] = {
    Ending.OUT_OF_TURNS: "allow more turns: --max-turns 40",
    Ending.OUT_OF_CONTEXT: "the conversation outgrew the model's context: --tools two, or a model with a longer one",
    Ending.REFUSED: "the model refused; try another --policy",
}
_NO_CALLS = "the policy does not call the tools as it should: try --call-format text, or another --policy"


def command(arguments: argparse.Namespace) -> int:
    """Investigate and print. Returns 1 when there is no report."""
    policy = parse(arguments.policy)
    config = rules(arguments, policy)
    options = Options(utc_offset=arguments.utc_offset)
    with opened(arguments.source, arguments.format, options, arguments.id, progress=True) as found:
        for line in found.told:
            print(printable(line), file=sys.stderr)
        episode = asyncio.run(_play(found, policy, config, arguments))
        print(as_json(episode, found.store) if arguments.json else "\n".join(told(episode, found.store)))
    return 0 if episode.report else 1


def rules(arguments: argparse.Namespace, policy: PolicyName) -> EpisodeConfig:
    """Return the rules: those usual for the policy, changed by the flags that were given."""
    base = GENERAL if policy.kind in ("litellm", "openai") else usual_rules(policy)
    base = CAREFUL if (policy.kind, policy.name) == ("script", "sre") else base
    flags = {name: getattr(arguments, name) for name in ("tools", "max_turns", "call_format")}
    changed = {name: value for name, value in flags.items() if value is not None}
    if changed.get("max_turns", 1) > 50:
        raise ConfigurationError(f"--max-turns {changed['max_turns']}: give 1 to 50")
    return base.model_copy(update=changed)


async def _play(
    found: Opened, policy: PolicyName, config: EpisodeConfig, arguments: argparse.Namespace
) -> Episode:
    incident = found.incident
    asked = {"description": arguments.question, "time_hint": arguments.time_hint}
    incident = incident.model_copy(update={name: text for name, text in asked.items() if text})
    tools = store_tools(found.store, config)
    lines, spans = count(len(incident.logs), "log line"), count(len(incident.spans), "span")
    sizes = f"{lines}, {spans}, {len(incident.metrics)} metric series"
    print(printable(f"{incident.description} (about {incident.time_hint})\n{sizes}"), file=sys.stderr)
    async with opened_policy(policy, config, 0, access(arguments, policy)) as player:
        chat = _telling(player.chat(incident.id, 0))
        return await investigate(chat, incident, tools, config=config, policy=player.name)


def _telling(chat: Chat) -> Chat:
    """Say on stderr what each reply calls, and how each result begins."""
    known = [2]

    async def watched(messages: Sequence[Message], tools: Sequence[Mapping[str, Any]]) -> ChatReply:
        for message in messages[known[0] :]:
            if message["role"] in ("tool", "user"):
                first = str(message.get("content") or "").partition("\n")[0]
                print(printable(f"    {first[:_WIDTH]}"), file=sys.stderr)
        known[0] = len(messages)
        reply = await chat(messages, tools)
        for call in reply.tool_calls:
            print(printable(f"  {call.name} {call.arguments[:_WIDTH]}"), file=sys.stderr, flush=True)
        if not reply.tool_calls and reply.content:
            print(printable(f"  {reply.content.strip()[:_WIDTH]}"), file=sys.stderr, flush=True)
        return reply

    return watched


# ---------------------------------------------------------------------------------------------- the report


def told(episode: Episode, store: LogStore) -> Iterator[str]:
    """Yield the report as a person reads it."""
    outcome = episode.outcome
    if episode.report is None:
        yield f"no report: {outcome.ending.value.replace('_', ' ')} after {outcome.turns} turns"
        yield _ENDED.get(outcome.ending, _NO_CALLS)
        return
    yield from _report(episode.report)
    lines = [one for log_id in episode.cited_log_ids for one in store.around(log_id, 0, 0)]
    yield from _section("Cited rows", [text for line in lines for text in _row(line)])
    yield from _section(
        "Cited traces", [text for one in episode.cited_trace_ids for text in _trace(store, one)]
    )
    if outcome.cited_fabricated:
        yield f"\nnote: {outcome.cited_fabricated} of the ids that the report cites do not exist"
    unseen = outcome.cited - outcome.cited_seen - outcome.cited_fabricated
    if unseen > 0:
        yield f"\nnote: {unseen} of the ids that the report cites were not shown by any tool"
    cost = f", {episode.cost_usd:.4f} USD" if episode.cost_usd else ""
    yield f"\n{count(outcome.tool_calls, 'call')}, {outcome.seconds:.1f} s{cost}"


def _report(report: Report) -> Iterator[str]:
    yield f"Cause    {_wrapped(report.root_cause)}"
    kind = f" ({report.fault_type})" if report.fault_type else ""
    yield printable(f"Service  {report.suspected_service}{kind}")
    if report.confidence is not None:
        yield f"Sure     {100 * report.confidence:.0f} %, it says"
    yield from _section("Timeline", [f"- {_wrapped(one)}" for one in report.timeline])
    yield from _section("Next actions", [f"- {_wrapped(one)}" for one in report.next_actions])


def _wrapped(text: str) -> str:
    return printable("\n         ".join(textwrap.wrap(text, _WIDTH - 9) or [""]))


def _section(title: str, lines: Sequence[str]) -> Iterator[str]:
    if lines:
        yield f"\n{title}"
        yield from (f"  {line}" for line in lines)


def _row(line: Line) -> Iterator[str]:
    """Print a row in full; a long one goes on below."""
    clock = f"{when(line.at_us):%Y-%m-%d %H:%M:%S.%f}"[:-3] if line.has_clock else "(no clock)"
    trace = f" trace {line.trace_id}" if line.trace_id else ""
    yield printable(f"{clock} {Level(line.level).name} {line.service} log {line.id}{trace}")
    for piece in textwrap.wrap(line.text, _WIDTH, replace_whitespace=False) or [""]:
        yield printable(f"    {piece}")


def _trace(store: LogStore, trace_id: str) -> Iterator[str]:
    spans = store.trace(trace_id).spans
    yield printable(f"trace {trace_id}: {len(spans)} spans")
    for span in spans[:_MOST_SPANS]:
        clock = f"{when(span.start_us):%H:%M:%S.%f}"[:-3]
        yield printable(
            f"    {clock} {span.service} {span.operation} {span.duration_ms:.1f} ms {span.status}"
        )
    if len(spans) > _MOST_SPANS:
        yield f"    and {len(spans) - _MOST_SPANS} more"


def as_json(episode: Episode, store: LogStore) -> str:
    """Return the report, what it cites in full, and how the investigation went."""
    rows = [line for log_id in episode.cited_log_ids for line in store.around(log_id, 0, 0)]
    outcome = episode.outcome
    return json.dumps(
        {
            "incident": episode.scenario_id,
            "policy": episode.policy,
            "ending": outcome.ending.value,
            "report": episode.report.model_dump() if episode.report else None,
            "cited_rows": [_row_json(line) for line in rows],
            "cited_traces": [_trace_json(store, trace_id) for trace_id in episode.cited_trace_ids],
            "fabricated_ids": outcome.cited_fabricated,
            "tool_calls": outcome.tool_calls,
            "seconds": outcome.seconds,
            "cost_usd": episode.cost_usd,
        },
        indent=2,
        ensure_ascii=False,
    )


def _row_json(line: Line) -> dict[str, Any]:
    return {
        "id": line.id,
        "time": when(line.at_us).isoformat() if line.has_clock else None,
        "level": Level(line.level).name,
        "service": line.service,
        "trace_id": line.trace_id,
        "message": line.text,
    }


def _trace_json(store: LogStore, trace_id: str) -> dict[str, Any]:
    return {"id": trace_id, "spans": [span._asdict() for span in store.trace(trace_id).spans]}
