"""How fast logs of a test run are taken in, in how much memory, and whether tools answer in time meanwhile.

(a) Lines stored a second over 50,000, from an archive into the embedded store. (b) 300 MB over the peak
memory of the process and of the one that reads for it. (c) The deadline of a tool call over the 99th
percentile of calls, made while a second archive is taken in and after it. The first archive has one log of a
database node, 1 GB unpacked, the second a sixteenth of that; `--quick` takes 8 MB. On a machine that does
other work the times say little, so CPU time a line and the load average are told beside. Everything lies in a
temporary folder, removed at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import sys
import tarfile
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))  # `python benchmarks/testrun.py` works too

import zstandard

from project_types import InvestigatorError
from testrun_investigator.settings import read_settings
from testrun_investigator.toolbox import Toolbox

LINES_BAR, MEMORY_BAR, DEADLINE_BAR = 1.0, 1.0, 1.0
LINES_PER_S, MEMORY_MB = 50_000, 300
SHOW_S = 10.0
RUN_ID = "3c1a8a2e-5d1f-4c0e-9d47-6a1f0b2c3d4e"
SECOND_RUN = "7b2e9c10-8a4d-4f3b-b1c6-0d5e4f3a2b1c"


def write_archive(path: Path, size: int) -> int:
    """Write a tar.zst with one node's log of about `size` bytes, and return how many lines it has."""
    block = b"".join(_line(number) for number in range(40_000))
    times = max(1, round(size / len(block)))
    info = tarfile.TarInfo("n1/system.log")
    info.size = len(block) * times
    with path.open("wb") as raw, zstandard.ZstdCompressor().stream_writer(raw) as packed:
        packed.write(info.tobuf())
        for _ in range(times):
            packed.write(block)
        packed.write(
            bytes(-info.size % 512) + bytes(1024)
        )  # a member is padded, and two empty blocks end a tar
    return block.count(b"\n") * times


def _line(number: int) -> bytes:
    clock = b"04:%02d:%02d.%03d" % (number // 6000 % 60, number // 100 % 60, number % 1000)
    work = number * 2654435761 % (1 << 32), number % 33, number % 900, number * 7
    return (
        b"2026-05-17T%s+00:00 n1     !INFO | scylla[5012]:  [shard %d:comp] compaction - [Compact "
        b"keyspace1.standard1 %08x] Compacted %d sstables to 4096 MB in %d ms (%d partitions merged)\n"
    ) % (clock, number % 8, *work)


async def measure(folder: Path, size: int, calls: int) -> dict[str, float]:
    """Take an archive in, then a second one while tools are called."""
    settings = read_settings(
        {"TESTRUN_CACHE_DIR": str(folder / "cache"), "TESTRUN_LOG_DIRS": str(folder)}, folder
    )
    toolbox = Toolbox(settings)
    archive = folder / "db-cluster-1.tar.zst"
    lines = write_archive(archive, size)
    began, cpu, reader_cpu = time.monotonic(), time.process_time(), _children_cpu_s()
    task_id = (await toolbox.ingest_logs(str(archive), RUN_ID)).task_id
    peak_mb, loads, shown = _peak_mb(), [os.getloadavg()[0]], began
    while (await toolbox.get_ingestion_status(task_id, wait_s=1)).state == "running":
        peak_mb = max(peak_mb, _peak_mb())
        loads.append(os.getloadavg()[0])
        if time.monotonic() - shown > SHOW_S:
            shown = time.monotonic()
            _show(toolbox, task_id, peak_mb)
    seconds = time.monotonic() - began
    cpu, reader_cpu = time.process_time() - cpu, _children_cpu_s() - reader_cpu
    task = toolbox.logs.status(task_id)
    assert task is not None
    assert task.counts.get("stored") == lines, task
    took = await _calls(toolbox, folder, size // 16, calls)
    loads.append(os.getloadavg()[0])
    return {
        "lines": lines,
        "lines_per_s": lines / seconds,
        "store_us_per_line": cpu / lines * 1e6,
        "read_us_per_line": reader_cpu / lines * 1e6,
        "peak_mb": max(peak_mb, _peak_mb()),
        "calls": len(took),
        "p50_s": took[len(took) // 2],
        "p99_s": took[min(len(took) - 1, int(len(took) * 0.99))],
        "slowest_s": took[-1],
        "deadline_s": toolbox.deadline_s,
        "load": max(loads),
        "cores": os.cpu_count() or 1,
    }


async def _calls(toolbox: Toolbox, folder: Path, size: int, calls: int) -> list[float]:
    """Call the tools that read logs, over a run that grows meanwhile; return the
    seconds of each, in order.
    """
    archive = folder / "db-cluster-2.tar.zst"
    write_archive(archive, size)
    task_id = (await toolbox.ingest_logs(str(archive), SECOND_RUN)).task_id
    while not (task := await toolbox.get_ingestion_status(task_id, wait_s=0.1)).rows:
        assert task.state == "running", task  # without any row there is nothing to ask
    took: list[float] = []
    while len(took) < calls:
        word = str(4000 + len(took))  # another question each time, so that no answer is at hand already
        for call in (
            toolbox.run_overview(SECOND_RUN),
            toolbox.query_logs_by_stream(SECOND_RUN, "node", 20),
            toolbox.query_logs_by_stream(SECOND_RUN, "node", 20, keywords=word),
            toolbox.search_logs(SECOND_RUN, keywords=f"compacted {word}"),
            toolbox.compare(SECOND_RUN),
            toolbox.list_findings(SECOND_RUN),
        ):
            start = time.monotonic()
            with suppress(InvestigatorError):  # at first there is nothing to ask
                await call
            took.append(time.monotonic() - start)
    while (await toolbox.get_ingestion_status(task_id, wait_s=1)).state == "running":
        pass  # it still writes into the folder, which the caller may remove
    return sorted(took)


def _show(toolbox: Toolbox, task_id: str, peak_mb: float) -> None:
    task = toolbox.logs.status(task_id)
    if task is not None and task.share is not None:
        print(f"{task.share:4.0%} of the archive, peak {peak_mb:.0f} MB", file=sys.stderr, flush=True)


def _children_cpu_s() -> float:
    """Return the CPU time of processes that this one started and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _peak_mb() -> float:
    """Return the peak memory of this process and of those it started, all added up.

    getrusage would count that of the process that started it, too.
    """
    started = [
        Path(f"/proc/{pid}") for path in Path("/proc/self/task").glob("*/children") for pid in _pids(path)
    ]
    return sum(map(_peak_of, (Path("/proc/self"), *started)))


def _pids(children: Path) -> list[str]:
    with suppress(OSError):  # the thread has ended
        return children.read_text(encoding="ascii").split()
    return []


def _peak_of(process: Path) -> float:
    with suppress(OSError):  # it has ended
        _, found, rest = (process / "status").read_text(encoding="utf-8").partition("VmHWM:")
        return int(rest.split()[0]) / 1024 if found else 0.0
    return 0.0


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and say by the exit code whether every bar holds."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="8 MB instead of 1 GB, and fewer calls")
    parser.add_argument("--json", action="store_true", help="print the figures only")
    arguments = parser.parse_args(argv)
    size, calls = (8 << 20, 60) if arguments.quick else (1 << 30, 1200)
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(measure(Path(folder), size, calls))
    if arguments.json:
        print(json.dumps(found))
        return 0
    print(
        f"{found['lines']:,.0f} lines at {found['lines_per_s']:,.0f} a second (CPU: {found['store_us_per_line']:.1f} us "
        f"each to store, {found['read_us_per_line']:.1f} us to read beside), peak {found['peak_mb']:.0f} MB; "
        f"{found['calls']:.0f} tool calls, p50 {found['p50_s'] * 1000:.0f} ms, p99 {found['p99_s'] * 1000:.0f} ms, "
        f"slowest {found['slowest_s'] * 1000:.0f} ms; load average up to {found['load']:.1f} on {found['cores']} cores"
    )
    ratios = (
        (found["lines_per_s"] / LINES_PER_S, LINES_BAR),
        (MEMORY_MB / found["peak_mb"], MEMORY_BAR),
        (found["deadline_s"] / found["p99_s"], DEADLINE_BAR),
    )
    for ratio, bar in ratios:
        print(f"ratio={ratio:.2f} bar={bar}")
    return int(any(ratio < bar for ratio, bar in ratios))


if __name__ == "__main__":
    raise SystemExit(main())
