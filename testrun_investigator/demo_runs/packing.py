"""Write a played run as SCT and Argus would give it out: archives, the facts of Argus, a metrics snapshot.

A folder `RUN_ID/` gets `argus.json`, `truth.json` and the archives. A metrics snapshot needs
`promtool`, which comes with Prometheus; without it the metrics lie in `metrics.om` only. Serving
the folder is `stand_in`.
"""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import zstandard

from testrun_investigator.demo_runs.generator import (
    VERSION,
    Action,
    Entry,
    Played,
    SctEvent,
    address,
    play,
)
from testrun_investigator.demo_runs.plots import plots

FACTS, TRUTH, OPENMETRICS = "argus.json", "truth.json", "metrics.om"
TEST_ID = str(uuid5(NAMESPACE_URL, "longevity-demo"))
_LEVELS = {"DEBUG": "DEBUG", "INFO": "INFO", "WARN": "WARNING", "ERROR": "ERR", "FATAL": "CRIT"}


def write_runs(folder: Path, keys: Iterable[str] = (), seed: int = 1, noise: float = 1.0) -> list[Path]:
    """Write a run for each plot named (all of them when none is) and return their folders."""
    known = plots()
    return [write_run(play(known[key], seed, noise), folder) for key in keys or known]


def write_run(run: Played, folder: Path) -> Path:
    """Write one run below `folder` and return its own folder."""
    target, short = folder / run.run_id, run.run_id[:8]
    target.mkdir(parents=True, exist_ok=True)
    archives = {
        f"sct-runner-events-{short}.tar.zst": _runner_files(run, short),
        f"db-cluster-{short}.tar.zst": _node_files(run, run.nodes, "system.log", _syslog),
        f"loader-set-{short}.tar.zst": _node_files(run, run.loaders, "cassandra-stress-l0-c0.log", _stress),
    }
    (target / OPENMETRICS).write_text(openmetrics(run), encoding="utf-8")
    if snapshot := _snapshot(target / OPENMETRICS, f"{run.start:%Y%m%d%H%M%S}"):
        archives[f"monitor-set-{short}.tar.zst"] = snapshot
    for name, files in archives.items():
        (target / name).write_bytes(packed(files))
    _write_json(target / FACTS, facts(run, sorted(archives)))
    _write_json(target / TRUTH, truth(run))
    return target


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def packed(files: Mapping[str, bytes]) -> bytes:
    """Pack files into a tar.zst. The same files give the same bytes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return zstandard.ZstdCompressor(level=6, write_checksum=True).compress(buffer.getvalue())


# ---------------------------------------------------------------------------------------------------- logs


def _runner_files(run: Played, short: str) -> dict[str, bytes]:
    folder = f"sct-runner-events-{short}"
    events = "".join(json.dumps(raw_event(run, event)) + "\n" for event in run.events)
    return {
        f"{folder}/actions.log": "".join(_action(action) + "\n" for action in run.actions).encode(),
        f"{folder}/raw_events.log": events.encode(),
        f"{folder}/events.log": "".join(_event_text(event) for event in run.events).encode(),
        f"{folder}/argus.log": b"argus client: auth token in use\n",
    }


def _node_files(run: Played, nodes: Iterable[str], name: str, line: Any) -> dict[str, bytes]:
    written: dict[str, list[str]] = {node: [] for node in nodes}
    for entry in run.logs:
        if entry.node in written:
            written[entry.node].append(line(entry))
    return {f"{node}/{name}": ("\n".join(rows) + "\n").encode() for node, rows in written.items()}


def _syslog(entry: Entry) -> str:
    text = f"scylla[5012]:  {entry.text}" if entry.text.startswith("[shard") else entry.text
    clock = entry.at.isoformat(timespec="milliseconds")
    return f"{clock} {entry.node}     !{_LEVELS[entry.level]} | {text}"


def _stress(entry: Entry) -> str:
    return (
        f"{entry.at.isoformat(timespec='milliseconds')} {entry.node} !{_LEVELS[entry.level]} | {entry.text}"
    )


def _action(action: Action) -> str:
    fields: dict[str, Any] = {
        "datetime": action.at.isoformat() + "Z",  # SCT writes both the offset and the Z
        "status": action.status,
        "source": action.source,
        "action": action.text,
    }
    return json.dumps(fields | ({"target": action.target} if action.target else {}))


def raw_event(run: Played, event: SctEvent) -> dict[str, Any]:
    """Return the event as SCT writes it to raw_events.log."""
    base, _, kind = event.kind.partition(".")
    fields: dict[str, Any] = {
        "base": base,
        "type": kind or None,
        "subtype": None,
        "event_timestamp": event.at.timestamp(),
        "source_timestamp": None,
        "severity": event.severity,
        "period_type": event.period,
        "event_id": event_id(run, event),
        "log_level": 40 if event.severity in ("ERROR", "CRITICAL") else 20,
    }
    if event.node:
        fields["node"] = event.node
    if event.nemesis:
        fields |= {"nemesis_name": event.nemesis, "duration": event.duration or None}
    text = "line" if base.endswith("LogEvent") else "message"
    fields[text] = event.text
    fields["subcontext"] = [{"base": "DisruptionEvent", "nemesis_name": event.during}] if event.during else []
    return fields


def event_id(run: Played, event: SctEvent) -> str:
    """Return the id of an event."""
    return str(uuid5(NAMESPACE_URL, f"{run.run_id}:{event.at.isoformat()}:{event.kind}:{event.node}"))


def _event_text(event: SctEvent) -> str:
    return (
        f"{event.at:%Y-%m-%d %H:%M:%S.%f}"[:-3]
        + f": ({event.kind} {event.severity}) node={event.node}\n{event.text}\n"
    )


# ---------------------------------------------------------------------------------------------------- Argus


def iso(moment: datetime) -> str:
    """Return a time as Argus writes it."""
    return f"{moment:%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z"


def facts(run: Played, archives: Iterable[str]) -> dict[str, Any]:
    """Return what Argus knows: the run, its events, nemeses, results and comments."""
    return {
        "run": _run_facts(run, archives),
        "events": [_argus_event(run, event) for event in run.events],
        "nemeses": [_nemesis(run, number) for number in range(len(run.plot.disruptions))],
        "comments": [],
        "tables": [_latency_table(run)],
    }


def _run_facts(run: Played, archives: Iterable[str]) -> dict[str, Any]:
    return {
        "id": run.run_id,
        "test_id": TEST_ID,
        "build_id": "scylla-demo/longevity/longevity-demo-90m",
        "build_job_url": f"https://jenkins.example.com/job/longevity-demo-90m/{run.seed}/",
        "test_name": "longevity_test.LongevityTest.test_custom_time",
        "status": run.plot.status,
        "investigation_status": "not_investigated",
        "start_time": iso(run.start),
        "end_time": iso(run.end),
        "heartbeat": int(run.end.timestamp()),
        "scylla_version": VERSION,
        "branch_name": "master",
        "scm_revision_id": "5c1ce17a",
        "started_by": "jenkins",
        "packages": [
            {"name": "scylla-server", "version": VERSION, "date": "20260510", "revision_id": "5c1ce17a", "build_id": None}
        ],
        "region_name": ["eu-west-1"],
        "cloud_setup": {
            "backend": "aws",
            "db_node": {"image_id": "ami-0demo", "instance_type": "i4i.2xlarge", "node_amount": len(run.nodes)},
            "loader_node": {"image_id": "ami-1demo", "instance_type": "c6i.xlarge", "node_amount": len(run.loaders)},
        },
        "allocated_resources": [_resource(run, node) for node in (*run.nodes, *run.loaders)],
        "logs": [[name, name] for name in archives],
        "stress_cmd": "cassandra-stress write cl=QUORUM duration=85m -rate threads=550",
    }  # fmt: skip


def _resource(run: Played, node: str) -> dict[str, Any]:
    return {
        "name": node,
        "state": "terminated",
        "resource_type": "db-node" if node in run.nodes else "loader",
        "instance_info": {
            "provider": "aws",
            "instance_type": "i4i.2xlarge",
            "region": "eu-west-1",
            "private_ip": address(run.nodes, node),
            "public_ip": None,
            "shards_amount": 8,
            "termination_reason": "",
        },
    }


def _nemesis(run: Played, number: int) -> dict[str, Any]:
    one = run.plot.disruptions[number]
    begin = next(event for event in run.events if event.nemesis == one.name and event.period == "begin")
    start = int(begin.at.timestamp())
    return {
        "run_id": run.run_id,
        "start_time": start,
        "end_time": start + int((one.end - one.start) * 60),
        "duration": int((one.end - one.start) * 60),
        "class_name": one.name,
        "name": one.name,
        "target_node": {"name": begin.node, "ip": address(run.nodes, begin.node), "shards": 8},
        "status": one.status,
        "stack_trace": run.filled(one.error),
    }


def _argus_event(run: Played, event: SctEvent) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "severity": event.severity,
        "ts": iso(event.at),
        "event_id": event_id(run, event),
        "event_type": event.kind,
        "message": f"({event.kind} Severity.{event.severity}) period_type={event.period}: {event.text}",
        "duplicate_id": None,
        "node": event.node or None,
        "nemesis_name": event.nemesis or None,
        "duration": event.duration or None,
        "target_node": event.node if event.nemesis else None,
        "nemesis_status": None,
    }


def _latency_table(run: Played) -> dict[str, Any]:
    timeouts = run.metrics["scylla_storage_proxy_coordinator_write_timeouts", run.nodes[0]]
    value = round(max(value for _, value in timeouts), 1)
    return {
        "write latency": {
            "description": "write, QUORUM",
            "columns": [{"name": "timeouts per s", "unit": "1/s", "type": "FLOAT"}],
            "rows": ["worst minute"],
            "table_data": {"worst minute": {"timeouts per s": {"value": value, "status": "UNSET"}}},
            "table_status": "PASS",
        }
    }


def truth(run: Played) -> dict[str, Any]:
    """Return what really happened, for whoever marks the answers."""
    proofs: list[Entry | SctEvent | Action] = [*run.logs, *run.events, *run.actions]
    return {
        "plot": run.plot.key,
        "service": run.culprit,
        "fault_type": run.plot.fault_type,
        "cause": run.cause,
        "accepted_causes": list(run.plot.accepted),
        "evidence": [{"at": iso(one.at), "text": one.text} for one in proofs if one.proves],
    }


# ---------------------------------------------------------------------------------------------------- metrics


def openmetrics(run: Played) -> str:
    """Return the run's metrics in the text format that `promtool tsdb create-blocks-from` reads."""
    lines: list[str] = []
    for metric in dict.fromkeys(metric for metric, _ in run.metrics):
        lines.append(f"# TYPE {metric} gauge")
        for node in run.nodes:
            points = run.metrics[metric, node]
            lines += [f'{metric}{{instance="{node}"}} {value} {at.timestamp():.0f}' for at, value in points]
    return "\n".join([*lines, "# EOF", ""])


def _snapshot(source: Path, stamp: str) -> dict[str, bytes]:
    """Return the monitor's archive: a snapshot of Prometheus' blocks, packed
    inside. Empty without promtool.
    """
    promtool = shutil.which("promtool")
    if promtool is None:
        return {}
    with tempfile.TemporaryDirectory() as blocks:
        command = [promtool, "tsdb", "create-blocks-from", "openmetrics", str(source), blocks]
        subprocess.run(command, check=True, capture_output=True)
        files = {
            str(path.relative_to(blocks)): path.read_bytes()
            for path in sorted(Path(blocks).rglob("*"))
            if path.is_file()
        }
    return {f"prometheus_data_{stamp}.tar.zst": packed(files)}
