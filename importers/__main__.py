"""`python -m importers NAME SOURCE --out DIR`: bring real incidents and logs in; ask about them.

Only arguments are parsed here; each command's module is imported once they are known to be good.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from core.command_line import Command, Room, json_flag, limit_flag, positive
from core.policies.registry import add_flags as reach_flags
from core.policies.registry import policy_flag

Flags = Callable[[argparse.ArgumentParser], None]


class Format(NamedTuple):
    """What can be imported."""

    name: str
    about: str
    example: str
    """A source, and flags."""
    flags: Sequence[Flags] = ()
    more: str = ""


def source_flags(parser: argparse.ArgumentParser) -> None:
    """Add what every import takes."""
    parser.add_argument("source", metavar="SOURCE", help="file, folder, archive (gzip, zstd, xz, tar) or URL")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder that gets the files")
    parser.add_argument(
        "--description", metavar="TEXT", help="what is wrong, as users say it (without a label)"
    )
    parser.add_argument(
        "--time-hint", metavar="TEXT", help="about when, e.g. 14:05 (default: when the rows are)"
    )


def _service(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--service", metavar="NAME", help="who wrote the rows that name nobody")


def _offset(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--utc-offset", metavar="+HH:MM", help="zone of clocks without one (default +00:00)")


def _server(parser: argparse.ArgumentParser) -> None:
    server = parser.add_argument_group("asking a server")
    server.add_argument("--query", metavar="TEXT", help="what to ask: LogQL or PromQL")
    server.add_argument("--start", metavar="TIME", help="from when on, ISO 8601 UTC")
    server.add_argument("--end", metavar="TIME", help="until when")


FORMATS = (
    Format("auto", "whatever the files are seen to be: logs, traces, metrics and events together", "incident/",
           (_service, _offset)),
    Format(
        "text",
        "plain logs: clock, level, service and joined lines are found by looking at the files",
        "pod-logs/",
        (_service, _offset),
        "Reads JSON lines, logfmt, klog, glog, syslog, docker json-file, kubectl logs --timestamps, and most others.",
    ),
    Format("otlp", "OpenTelemetry logs, spans and metrics, as JSON or protobuf", "otel-export/", (_service,)),
    Format("jaeger", "traces that Jaeger exports as JSON", "traces.json"),
    Format(
        "loki",
        "logs of Loki, from a file or page by page from the server",
        "http://127.0.0.1:3100 --query '{{namespace=\"shop\"}}' --start 2026-03-04T14:00:00Z --end 2026-03-04T15:00:00Z",
        (_service, _server),
    ),
    Format("k8s", "events of a Kubernetes cluster (kubectl get events -A -o json), and pod logs", "cluster-dump/",
           (_service, _offset)),
    Format(
        "prometheus",
        "metrics: the answer to a range query, from a file or the server",
        "http://127.0.0.1:9090 --query 'rate(requests_total[1m])' --start 2026-03-04T14:00:00Z --end 2026-03-04T15:00:00Z",
        (_service, _server),
    ),
    Format("rcaeval", "RCAEval's labelled cases (RE1, RE2, RE3), CSV, JSON or parquet", "RE2-OB/"),
    Format("openrca", "OpenRCA's labelled telemetry (Bank, Telecom, Market)", "Bank/"),
    Format("rcabench", "rcabench datapacks (OpenRCA 2), parquet", "datapacks/"),
    Format("nezha", "the labelled faults of the Nezha data set", "rca_data/"),
    Format("sct", "logs of a Scylla Cluster Tests run", "sct-runner-events-ID.tar.zst"),
)  # fmt: skip


def _flags(format: Format) -> Flags:
    def add(parser: argparse.ArgumentParser) -> None:
        source_flags(parser)
        for flags in format.flags:
            flags(parser)

    return add


def _command(format: Format) -> Command:
    example = f"example:\n  python -m importers {format.name} {format.example} --out my_incidents"
    more = f"\n\n{format.more}" if format.more else ""
    return Command(format.name, f"import {format.about}", "importers.command", _flags(format),
                   example.replace("{{", "{").replace("}}", "}") + more)  # fmt: skip


def _source(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument("source", metavar="SOURCE", help=what)
    names = [one.name for one in FORMATS]
    parser.add_argument("--format", choices=names, default="auto", help="how to read it (default auto)")
    parser.add_argument(
        "--id", metavar="ID", help="which incident, where there are several; its beginning is enough"
    )
    _offset(parser)


def _investigate(parser: argparse.ArgumentParser) -> None:
    _source(parser, "logs of any kind, an archive, or incident files")
    policy_flag(parser)
    parser.add_argument("--question", metavar="TEXT", help="what is wrong, as users say it")
    parser.add_argument(
        "--time-hint", metavar="TEXT", help="about when, e.g. 14:05 (default: when the rows are)"
    )
    parser.add_argument(
        "--tools",
        choices=["two", "full"],
        help="two: search_logs and read_trace; full: all there is data for",
    )
    parser.add_argument("--max-turns", type=positive, metavar="N", help="calls at most, up to 50")
    parser.add_argument("--call-format", choices=["native", "text"], help="how calls are written")
    json_flag(parser)
    reach_flags(parser)


def _search(parser: argparse.ArgumentParser) -> None:
    _source(parser, "logs of any kind, an archive, incident files, or a logs.db")
    parser.add_argument(
        "words", nargs="*", default=[], metavar="WORD", help="words that must all occur in a row"
    )
    parser.add_argument("--service", metavar="NAME", help="only this service; a beginning is enough")
    parser.add_argument("--min-level", metavar="LEVEL", help="only this severity and worse")
    parser.add_argument("--start-time", metavar="TIME", help="HH:MM, HH:MM:SS or ISO 8601, UTC")
    parser.add_argument("--end-time", metavar="TIME", help="like --start-time; the minute named is included")
    limit_flag(parser, "kinds of rows")
    parser.add_argument("--cursor", type=int, metavar="N", help="go on where an earlier result stopped")
    parser.add_argument("--trace", metavar="ID", help="show this trace instead; worst: the worst one")
    parser.add_argument("--log", metavar="ID", help="show this row in full instead, with its neighbours")
    parser.add_argument(
        "--context", type=int, default=3, metavar="N", help="neighbours on each side (default 3)"
    )
    parser.add_argument(
        "--tokens", type=positive, default=4000, metavar="N", help="longest result (default 4000)"
    )


INVESTIGATE_EXAMPLES = """\
examples:
  python -m importers investigate pod-logs/ --policy script:sre
  python -m importers investigate pod-logs/ --policy litellm:openai/gpt-4.1 --question "checkout fails since 14:05"
  python -m importers investigate traces.json --policy openai:local --base-url http://127.0.0.1:8000/v1 --call-format text

`log-investigator investigate` is the same."""
SEARCH_EXAMPLES = """\
examples:
  python -m importers search pod-logs/ timeout --min-level WARN
  python -m importers search logs.db --id inc-1f0c --service cart --start-time 14:05
  python -m importers search traces.json --trace worst

`log-investigator search` is the same."""
ROOM_EXAMPLES = """\
examples:
  python -m importers text pod-logs/ --out my_incidents
  python -m importers nezha rca_data/ --out nezha_scenarios
  python -m importers investigate my_incidents --policy script:sre

To keep what was imported searchable: python build_logs.py --scenarios my_incidents --database my.db"""

ROOM = Room(
    "importers",
    "brings real incidents and real logs in; investigates and searches them",
    (
        *map(_command, FORMATS),
        Command(
            "investigate",
            "investigate one incident and print the report with the rows it cites",
            "importers.investigating",
            _investigate,
            INVESTIGATE_EXAMPLES,
        ),
        Command(
            "search",
            "search the rows of one incident, as an agent does",
            "importers.searching",
            _search,
            SEARCH_EXAMPLES,
        ),
    ),
    ROOM_EXAMPLES,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns 2 for bad use, 1 when nothing was found, else 0."""
    return ROOM.main(argv)


if __name__ == "__main__":
    sys.exit(main())
