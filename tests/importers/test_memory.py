"""Memory does not grow with a source."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MEASURE = (
    "import resource, sys; from importers.__main__ import main; main(sys.argv[1:]); "
    "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)"
)
LINE = "2026-03-04T14:{minute:02d}:{second:02d}.{number:06d}Z INFO request {number} for user 17 done in 20 ms, {padding}\n"


def peak_mb(folder: Path, lines: int) -> int:
    """Megabytes that an import of so many lines takes."""
    with (folder / "cart.log").open("w", encoding="utf-8") as file:
        for number in range(lines):
            minute, second = number // 60_000 % 60, number // 1000 % 60
            file.write(LINE.format(minute=minute, second=second, number=number % 10**6, padding="x" * 120))
    command = [sys.executable, "-c", MEASURE, "text", str(folder), "--out", str(folder / "out")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return int(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_an_import_of_forty_times_as_many_lines_takes_hardly_more_memory(tmp_path: Path) -> None:
    small, large = (tmp_path / name for name in ("small", "large"))
    for folder in (small, large):
        folder.mkdir()
    assert peak_mb(large, 400_000) < peak_mb(small, 10_000) + 40  # 80 MB of lines, 3 MB of digests
