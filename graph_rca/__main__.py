"""`python -m graph_rca COMMAND`: topology, logs, metrics and traces of an incident as one
graph, and services ranked.

Only arguments are parsed here; each command's module is imported once they are known to be good.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from core.command_line import Command, Room, folder, json_flag, limit_flag, natural, positive


def _source(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="INCIDENT", help="incident file, or anything that importers read")
    parser.add_argument("--format", default="auto", metavar="NAME", help="how to read it (default auto)")
    parser.add_argument("--id", metavar="ID", help="which incident, where there are several")


def _weights(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--weights", type=Path, metavar="FILE", help="weights to rank with (default: the shipped ones)"
    )


def _encoder(parser: argparse.ArgumentParser, told: str) -> None:
    parser.add_argument("--encoder", default="none", metavar="NAME", help=f"{told} (default %(default)s)")


def _topology(parser: argparse.ArgumentParser) -> None:
    given = parser.add_mutually_exclusive_group(required=True)
    given.add_argument("--incident", metavar="FILE", help="spans and declared calls of an incident file")
    given.add_argument("--prometheus", metavar="URL", help="Istio's or OpenTelemetry's metrics of calls")
    given.add_argument(
        "--sockets", type=Path, metavar="FILE", help="socket records of an eBPF agent, JSON lines"
    )
    parser.add_argument(
        "--at", metavar="TIME", help="moment to ask Prometheus for, ISO 8601 UTC (default: now)"
    )
    json_flag(parser)


def _encode(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("scenarios", metavar="SPLIT|DIR", help="train, val, test or a folder of scenarios")
    parser.add_argument("--out", required=True, type=Path, metavar="FILE", help="the .npz file to write")
    _encoder(
        parser,
        "vectors to keep: none, minilm or templates of new lines, paths of requests, or several with commas",
    )
    parser.add_argument(
        "--rough",
        type=natural,
        metavar="SEED",
        help="make each incident as rough as real ones first; dice of it",
    )
    limit_flag(parser, "scenarios")


def _train_encoder(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "scenarios", metavar="SPLIT|DIR", help="train or a folder of scenarios to learn lines of"
    )
    parser.add_argument(
        "--text",
        nargs="*",
        type=Path,
        default=[],
        metavar="FILE",
        help="also plain text files of public logs",
    )
    parser.add_argument(
        "--out", type=folder, default=Path("graph_rca/shipped/templates"), metavar="DIR",
        help="where it goes; --encoder templates reads the default one (default %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--epochs",
        type=positive,
        default=12,
        metavar="N",
        help="rounds over all templates (default %(default)s)",
    )
    parser.add_argument("--seed", type=natural, default=0, help="dice of the training (default 0)")
    limit_flag(parser, "scenarios")


def _train(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "encoded", nargs="+", type=Path, metavar="FILE", help="encoded incidents to learn from"
    )
    parser.add_argument(
        "--val",
        required=True,
        nargs="+",
        type=Path,
        metavar="FILE",
        help="encoded incidents that say when to stop",
    )
    parser.add_argument(
        "--out", required=True, type=folder, metavar="DIR", help="folder of the run; a killed one goes on"
    )
    parser.add_argument(
        "--kinds",
        default="gat,neighbours,own",
        metavar="LIST",
        help="networks to train (default %(default)s)",
    )
    parser.add_argument(
        "--seeds", type=positive, default=1, metavar="N", help="networks of each kind (default 1)"
    )
    parser.add_argument(
        "--epochs", type=positive, default=40, metavar="N", help="at most (default %(default)s)"
    )
    parser.add_argument(
        "--patience", type=positive, default=8, metavar="N", help="epochs without progress (default 8)"
    )
    _encoder(
        parser, "vectors that the networks read: none, minilm or templates of new lines, or paths of requests"
    )
    parser.add_argument(
        "--no-attention", action="store_true", help="ablation: every neighbour counts the same"
    )
    parser.add_argument("--no-edges", action="store_true", help="ablation: no edge features")
    parser.add_argument(
        "--without", choices=["metrics", "logs", "traces"], help="ablation: the network never sees it"
    )
    parser.add_argument(
        "--ablations", action="store_true",
        help="all ablations in turn: each modality out, no graph, no attention, no edge features; see report --runs",
    )  # fmt: skip
    parser.add_argument(
        "--from", dest="findings", type=folder, metavar="DIR",
        help="also learn from confirmed findings (see confirm), one of three kept back; says if the result is better",
    )  # fmt: skip
    parser.add_argument(
        "--check",
        type=positive,
        default=60,
        metavar="N",
        help="fresh incidents to compare on with --from (default 60)",
    )
    _weights(parser)


def _rank(parser: argparse.ArgumentParser) -> None:
    _source(parser)
    _weights(parser)
    parser.add_argument(
        "--page", type=Path, metavar="FILE", help="also draw the graph: one self-contained HTML file"
    )
    parser.add_argument(
        "--findings",
        type=folder,
        metavar="DIR",
        help="also keep the finding there; the dashboard shows runs/graph_rca",
    )
    limit_flag(parser, "services", 10)
    json_flag(parser)


def _explain(parser: argparse.ArgumentParser) -> None:
    _source(parser)
    _weights(parser)
    parser.add_argument("--service", metavar="NAME", help="which service (default: the likeliest)")
    json_flag(parser)


def _confirm(parser: argparse.ArgumentParser) -> None:
    _source(parser)
    parser.add_argument("--service", required=True, metavar="NAME", help="the service that it really was")
    parser.add_argument(
        "--fault", default="unknown fault", metavar="TEXT", help="what broke, such as cpu_contention"
    )
    parser.add_argument(
        "--out", required=True, type=folder, metavar="DIR", help="folder of confirmed findings"
    )


def _watch(parser: argparse.ArgumentParser) -> None:
    given = parser.add_mutually_exclusive_group(required=True)
    given.add_argument(
        "--folder", type=Path, metavar="DIR", help="rank every incident file that appears here"
    )
    given.add_argument("--prometheus", metavar="URL", help="ask this server for a sliding window")
    lines = parser.add_mutually_exclusive_group()
    lines.add_argument("--loki", metavar="URL", help="also ask a Loki for log lines")
    lines.add_argument("--victorialogs", metavar="URL", help="also ask a VictoriaLogs for log lines")
    parser.add_argument(
        "--loki-query",
        default='{service_name=~".+"}',
        metavar="LOGQL",
        help="which lines (default %(default)s)",
    )
    parser.add_argument(
        "--victorialogs-query", default="*", metavar="LOGSQL",
        help="which lines: a filter without pipes (default %(default)s)",
    )  # fmt: skip
    parser.add_argument("--jaeger", metavar="URL", help="also ask a Jaeger for traces")
    parser.add_argument("--findings", type=folder, default=Path("runs/graph_rca"), metavar="DIR",
                        help="where findings go (default %(default)s)")  # fmt: skip
    parser.add_argument(
        "--window-min",
        type=positive,
        default=30,
        metavar="N",
        help="minutes; the first half is healthy (default 30)",
    )
    parser.add_argument(
        "--every-s", type=positive, default=30, metavar="N", help="seconds between two looks (default 30)"
    )
    parser.add_argument(
        "--public-url", metavar="URL",
        help="the dashboard that links in alerts open (default: the page on this machine)",
    )  # fmt: skip
    parser.add_argument("--once", action="store_true", help="look once and end: 1 when something is wrong")
    _weights(parser)


def _report(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--runs", nargs="*", type=Path, default=[], metavar="DIR", help="folders of `train` to compare"
    )
    parser.add_argument(
        "--count",
        type=positive,
        default=100,
        metavar="N",
        help="incidents of a generated slice (default 100)",
    )
    parser.add_argument(
        "--hard", type=positive, default=60, metavar="N", help="incidents of a changed slice (default 60)"
    )
    parser.add_argument("--seed", type=natural, default=0, help="other incidents (default 0)")
    parser.add_argument(
        "--explained",
        type=natural,
        default=12,
        metavar="N",
        help="incidents whose reasons are checked by removing the data itself; 0 for none (default 12)",
    )
    parser.add_argument(
        "--real", metavar="SOURCE", help="labelled real incidents: a folder of scenario files"
    )
    parser.add_argument("--out", type=folder, default=Path("runs/graph_rca/report"), metavar="DIR",
                        help="kept results and the table; a killed report goes on (default %(default)s)")  # fmt: skip
    parser.add_argument("--write-docs", nargs="?", type=Path, const=Path("docs/graph_rca.md"), metavar="FILE",
                        help="also put the tables between the markers of FILE")  # fmt: skip


ROOM = Room(
    "graph_rca",
    "ranks services by how likely each is the root cause: topology, logs, metrics and traces as one graph",
    (
        Command("topology", "show who calls whom: from spans, Prometheus or socket records",
                "graph_rca.topology_command", _topology,
                "example:\n  python -m graph_rca topology --prometheus http://127.0.0.1:9090 --at 2026-03-04T14:05:00Z"),
        Command("encode", "turn scenarios into graphs, one file", "graph_rca.encode_command", _encode,
                "example:\n  python -m graph_rca encode train --out runs/graph_rca/train.npz"),
        Command("encoder", "train the encoder of log lines on masked templates; a killed run goes on",
                "graph_rca.encoder_command", _train_encoder,
                "example:\n  python -m graph_rca encoder train --text public.log --out my_encoder"),
        Command("train", "train networks on encoded incidents; a killed run goes on", "graph_rca.train_command", _train,
                "example:\n  python -m graph_rca train train.npz --val val.npz --out runs/graph_rca/run1"),
        Command("rank", "rank the services of an incident, with reasons", "graph_rca.rank_command", _rank,
                "example:\n  python -m graph_rca rank log_scenarios/test/scenario-ID.json --page incident.html"),
        Command("watch", "look at a Prometheus or a folder, rank what goes wrong, and tell people",
                "graph_rca.watch_command", _watch,
                "Alerts go to FAILURE_ANALYSIS_WEBHOOK (Slack-compatible) and to OpsGenie with OPSGENIE_API_KEY.\n\n"
                "example:\n  python -m graph_rca watch --prometheus http://127.0.0.1:9090 --once"),
        Command("explain", "say why: what each modality and call contributes", "graph_rca.explain_command", _explain,
                "example:\n  python -m graph_rca explain incident.json --service cart"),
        Command("confirm", "label an incident, so that train --from learns from it", "graph_rca.confirm_command", _confirm,
                "example:\n  python -m graph_rca confirm runs/graph_rca/incident-ID.json --service cart --out confirmed"),
        Command("report", "measure rankers and baselines on all slices: one table", "graph_rca.report_command", _report,
                "example:\n  python -m graph_rca report --runs runs/graph_rca/run1 --write-docs"),
    ),
    "examples:\n  python -m graph_rca rank incident.json\n  python -m graph_rca watch --folder incidents/ --once",
    extra="graph",
)  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns 2 for bad use, 1 when something is wrong, else 0."""
    return ROOM.main(argv)


if __name__ == "__main__":
    sys.exit(main())
