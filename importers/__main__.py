"""`python -m importers NAME SOURCE --out DIR`: bring real incidents and logs in; ask about them.

Only arguments are parsed here; each command's module is imported once they are known to be good.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from core.command_line import Command, Room

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


ROOM_EXAMPLES = """\
examples:
  python -m importers text pod-logs/ --out my_incidents
  python -m importers nezha rca_data/ --out nezha_scenarios

Afterwards: python build_logs.py --scenarios my_incidents --database my.db"""

ROOM = Room(
    "importers",
    "brings real incidents and real logs in",
    tuple(map(_command, FORMATS)),
    ROOM_EXAMPLES,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns 2 for bad use, 1 when nothing was found, else 0."""
    return ROOM.main(argv)


if __name__ == "__main__":
    sys.exit(main())
