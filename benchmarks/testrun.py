"""How fast logs of a test run are taken in, in how much memory, and whether tools answer in time meanwhile.

(a) Lines stored a second over 50,000, from an archive into the embedded store. (b) 300 MB over the peak memory
of the process. (c) The deadline of a tool call over the 99th percentile of calls made while the ingestion runs.
The archive has one log of a database node, 1 GB unpacked; `--quick` takes 8 MB. Everything lies in a temporary
folder, removed at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import json
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
RUN_ID = "3c1a8a2e-5d1f-4c0e-9d47-6a1f0b2c3d4e"


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


async def measure(folder: Path, size: int) -> dict[str, float]:
    """Take an archive in and call tools meanwhile."""
    archive = folder / "db-cluster-1.tar.zst"
    lines = write_archive(archive, size)
    settings = read_settings(
        {"TESTRUN_CACHE_DIR": str(folder / "cache"), "TESTRUN_LOG_DIRS": str(folder)}, folder
    )
    toolbox = Toolbox(settings)
    began = time.monotonic()
    task_id = (await toolbox.ingest_logs(str(archive), RUN_ID)).task_id
    took: list[float] = []
    while (await toolbox.get_ingestion_status(task_id)).state == "running":
        for call in (toolbox.run_overview(RUN_ID), toolbox.query_logs_by_stream(RUN_ID, "node", 20)):
            start = time.monotonic()
            with suppress(InvestigatorError):  # at first there is nothing to ask
                await call
            took.append(time.monotonic() - start)
        await asyncio.sleep(0.5)
    seconds = time.monotonic() - began
    task = toolbox.logs.status(task_id)
    assert task is not None
    assert task.counts.get("stored") == lines, task
    took.sort()
    return {
        "lines": lines,
        "lines_per_s": lines / seconds,
        "peak_mb": _peak_mb(),
        "calls": len(took),
        "p99_s": took[min(len(took) - 1, int(len(took) * 0.99))],
        "deadline_s": toolbox.deadline_s,
    }


def _peak_mb() -> float:
    """Return the peak memory of this process. getrusage would count that of the process that started it, too."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and say by the exit code whether every bar holds."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="8 MB instead of 1 GB")
    parser.add_argument("--json", action="store_true", help="print the figures only")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(measure(Path(folder), 8 << 20 if arguments.quick else 1 << 30))
    if arguments.json:
        print(json.dumps(found))
        return 0
    print(
        f"{found['lines']:,.0f} lines at {found['lines_per_s']:,.0f} a second, peak {found['peak_mb']:.0f} MB; "
        f"{found['calls']:.0f} tool calls meanwhile, p99 {found['p99_s'] * 1000:.0f} ms"
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
