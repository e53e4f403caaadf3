"""The benchmarks run and end with their bars; whether the bars hold is measured at full size, not here."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(
    ("script", "bars"),
    [
        pytest.param("benchmarks/search.py", ["1.6", "200"], id="search", marks=pytest.mark.slow),
        pytest.param("benchmarks/build.py", ["2.0"], id="build"),
        pytest.param("benchmarks/importing.py", ["1.0"], id="importing", marks=pytest.mark.slow),
        pytest.param("benchmarks/store.py", ["1.0", "1.0"], id="store", marks=pytest.mark.slow),
        pytest.param("benchmarks/testrun.py", ["1.0", "1.0", "1.0"], id="testrun", marks=pytest.mark.slow),
        pytest.param(
            "benchmarks/dashboard.py", ["1.0", "1.0", "3.0"], id="dashboard", marks=pytest.mark.slow
        ),
        pytest.param(
            "benchmarks/graph_ranking.py", ["1.0", "1.0", "1.0"], id="graph ranking", marks=pytest.mark.slow
        ),
        pytest.param("benchmarks/rollout.py", ["1.25"], id="rollout", marks=pytest.mark.slow),
        pytest.param("benchmarks/scaling.py", ["7.0"], id="scaling", marks=pytest.mark.slow),
        pytest.param("benchmarks/overlap.py", ["1.5"], id="overlap", marks=pytest.mark.slow),
        pytest.param("benchmarks/engine.py", ["2.0", "2.0", "1.0"], id="engine", marks=pytest.mark.slow),
        pytest.param(
            "benchmarks/prompt_lookup.py", ["1.3", "1.1"], id="prompt lookup", marks=pytest.mark.slow
        ),
    ],
)
def test_a_benchmark_prints_a_ratio_per_bar_last_and_its_exit_code_says_whether_they_hold(
    script: str, bars: list[str], tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / script, "--quick"],
        cwd=tmp_path,
        env={"TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    last = done.stdout.splitlines()[-len(bars) :]
    assert [re.sub(r"ratio=\d+(\.\d+)? ", "", line) for line in last] == [f"bar={bar}" for bar in bars]
    assert done.returncode in (0, 1)
    assert done.stderr == ""
    by_torch = ("torchinductor_", "torch_geometric.", "__pycache__")  # made when they are imported
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(by_torch)] == []
