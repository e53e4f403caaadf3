"""How long a run of 10,000 episodes takes to open in the dashboard.

(a) The slowest page of the run, fresh from a server that has just started, over the 2 s that a page may take.
(b) The same while the server captures the run for the first time: what was captured so far is shown, page by
page. (c) The plain way, reading every stored episode to show a page of them, over the dashboard's list of
episodes. Pages are asked for over HTTP from a server process of its own. The run is made in a temporary
folder, removed at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

sys.path.insert(0, str(Path(__file__).parent.parent))  # `python benchmarks/dashboard.py` works too

from benchmarks.synthetic import scenario, write_scenarios
from project_types import Episode
from rollout import read_episodes

ROOT = Path(__file__).parent.parent
ALLOWED_S = 2.0
BAR = 1.0
PLAIN_BAR = 3.0
STEPS = 40
SCENARIOS = 64
TURNS = 6


def _messages(number: int, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Six searches that each show a dozen lines, and an answer."""
    said: list[dict[str, Any]] = [
        {"role": "system", "content": "Find the root cause."},
        {"role": "user", "content": "orders are slow"},
    ]
    for turn in range(TURNS):
        function = {
            "name": "search_logs",
            "arguments": json.dumps({"min_level": "WARN", "cursor": turn * 12 + number % 7}),
        }
        shown = "\n".join(
            f"{row['id'][:4]} {row['timestamp'][11:19]} {row['level']} {row['service']} {row['message']}"
            for row in rows[turn * 12 : turn * 12 + 12]
        )
        said.append(
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [{"id": f"c{turn}", "type": "function", "function": function}],
            }
        )
        said.append(
            {"role": "tool", "tool_call_id": f"c{turn}", "content": f"12 lines in 12 kinds match\n{shown}"}
        )
    report = {
        "root_cause": "ledger: deadline exceeded",
        "suspected_service": "ledger",
        "key_log_ids": [rows[0]["id"][:4]],
    }
    function = {"name": "return_final_answer", "arguments": json.dumps(report)}
    return [
        *said,
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"id": "end", "type": "function", "function": function}],
        },
    ]


def _episode(number: int, rows: list[dict[str, Any]], scenario_id: str) -> str:
    """One stored line; every third is right."""
    right, ids = number % 3 == 0, [row["id"] for row in rows[: TURNS * 12]]
    outcome = {
        "ending": "answered",
        "correct": right,
        "service_correct": right,
        "turns": TURNS + 1,
        "tool_calls": TURNS,
    }
    outcome |= {"gold_evidence": 1, "gold_evidence_opened": 1, "cited": 1, "cited_seen": 1, "cited_gold": 1}
    return json.dumps(
        {
            "scenario_id": scenario_id,
            "split": "train",
            "sample": number,
            "messages": _messages(number, rows),
            "report": {
                "root_cause": "ledger: deadline exceeded",
                "suspected_service": "ledger",
                "key_log_ids": [ids[0][:4]],
            },
            "verdict": {
                "correct": right,
                "service_correct": right,
                "cause_correct": right,
                "reason": "made",
                "judge": "made",
            },
            "outcome": outcome,
            "reward": 1.5 if right else -0.9,
            "reward_components": {"band": 1.5 if right else -0.9},
            "shown_log_ids": ids,
            "cited_log_ids": ids[:1],
            "metadata": {"fault_type": f"fault_{number % 21}", "topology": "shop"},
        }
    )


def make_run(folder: Path, episodes: int) -> Path:
    """A training run of STEPS steps that holds so many episodes."""
    run = folder / "runs" / "large"
    (run / "episodes").mkdir(parents=True)
    scenarios = min(SCENARIOS, episodes)
    write_scenarios(folder / "scenarios" / "train", scenarios, 200)
    made: list[Any] = [scenario(number, 200) for number in range(scenarios)]
    config = {
        "at": "2026-03-01T14:00:00+00:00",
        "config": {"scenarios": str(folder / "scenarios"), "steps": STEPS},
    }
    (run / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with (run / "metrics.jsonl").open("w", encoding="utf-8") as metrics:
        for step in range(1, STEPS + 1):
            row = {
                "split": "train",
                "step": step,
                "checkpoint": step,
                "accuracy": step / STEPS,
                "reward": step / STEPS - 0.5,
            }
            metrics.write(json.dumps(row | {"at": f"2026-03-01T15:{step:02}:00+00:00"}) + "\n")
            with (run / "episodes" / f"train-{step:04}-rollouts.jsonl").open("w", encoding="utf-8") as file:
                for number in range((step - 1) * episodes // STEPS, step * episodes // STEPS):
                    one = made[number % scenarios]
                    file.write(_episode(number, one["logs"], one["id"]) + "\n")
    return run


@contextmanager
def _served(runs: Path, *flags: str) -> Iterator[str]:
    """A fresh server process over a folder of runs."""
    command = [sys.executable, "-m", "dashboard", "serve", "--runs", str(runs), "--port", "0", *flags]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FAILURE_ANALYSIS")}
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=kept
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline().removeprefix("listening on ").strip()
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def _fetch_s(address: str) -> tuple[float, str]:
    began = time.perf_counter()
    with urlopen(address, timeout=60) as answer:
        text = answer.read().decode()
    return time.perf_counter() - began, text


PAGES = {
    "overview": "/",
    "the run": "/run?name=large",
    "its curves": "/api/run/curves?name=large",
    "its episodes": "/episodes?run=large",
    "the last page of them": "/episodes?run=large&offset=9950",
    "episodes, filtered and sorted": "/episodes?run=large&correct=false&q=s00001&order=reward",
    "failures": "/failures?run=large",
    "failures over steps": "/api/counts/chart?run=large&by=fault_type&bucket=step",
    "compare two checkpoints": "/compare?before=large&before_step=1&after_step=40",
}


def _pages(runs: Path, repeats: int) -> dict[str, list[float]]:
    """Seconds of each page, the first of them from a fresh server."""
    times: dict[str, list[float]] = {name: [] for name in [*PAGES, "one episode"]}
    for _ in range(repeats):
        with _served(runs, "--no-capture") as url:
            for name, path in PAGES.items():
                spent, text = _fetch_s(url + path)
                times[name].append(spent)
                if name == "its episodes" and (found := re.search(r"/episodes/[0-9a-f]{16}", text)):
                    times["one episode"].append(_fetch_s(url + found.group())[0])
    return times


def _plain_s(run: Path) -> float:
    """Read every episode and keep the newest fifty."""
    began = time.perf_counter()
    newest: list[Episode] = []
    for path in sorted(run.glob("episodes/*.jsonl")):
        newest = [*newest, *read_episodes(path)][-50:]
    return time.perf_counter() - began


def measure(folder: Path, episodes: int, repeats: int) -> tuple[float, float, float]:
    """Print the table; return the three ratios."""
    run = make_run(folder, episodes)
    size = sum(path.stat().st_size for path in run.glob("episodes/*.jsonl"))
    print(f"{episodes} episodes, {size / 1e6:.0f} MB", flush=True)
    began, meanwhile, stored = time.perf_counter(), list[float](), 0
    with _served(run.parent) as url:
        while stored < episodes:
            meanwhile += [_fetch_s(url + PAGES[name])[0] for name in ("overview", "the run")]
            if (run.parent / "failures.db").exists():
                meanwhile.append(_fetch_s(url + PAGES["its episodes"])[0])
                stored = json.loads(_fetch_s(url + "/api/episodes?limit=1")[1])["total"]
    print(
        f"captured once in {time.perf_counter() - began:.1f} s, while its pages were asked for all the time\n",
        flush=True,
    )
    times = _pages(run.parent, repeats)
    print(f"{'page':<32} {'p50 s':>8} {'worst s':>8}")
    for name, spent in [*times.items(), ("any, while it is captured", meanwhile)]:
        print(f"{name:<32} {statistics.median(spent):8.3f} {max(spent):8.3f}")
    plain = statistics.median(_plain_s(run) for _ in range(repeats))
    print(f"{'every episode read, the plain way':<32} {plain:7.3f}")
    slowest = max(statistics.median(spent) for spent in times.values())
    return slowest / ALLOWED_S, max(meanwhile) / ALLOWED_S, plain / statistics.median(times["its episodes"])


def main(argv: Sequence[str] | None = None) -> int:
    """Measure; 1 when a bar is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0], allow_abbrev=False)
    parser.add_argument("--episodes", type=int, default=10_000, help="episodes of the run")
    parser.add_argument("--repeats", type=int, default=5, help="fresh servers that are asked for every page")
    parser.add_argument(
        "--quick", action="store_true", help="small sizes: shows that it runs, not whether the bars hold"
    )
    arguments = parser.parse_args(argv)
    if arguments.quick:
        arguments.episodes, arguments.repeats = 80, 1
    with tempfile.TemporaryDirectory(prefix="bench-dashboard-") as folder:
        opened, meanwhile, plain = measure(Path(folder), arguments.episodes, arguments.repeats)
    print(f"ratio={opened:.2f} bar={BAR}")
    print(f"ratio={meanwhile:.2f} bar={BAR}")
    print(f"ratio={plain:.1f} bar={PLAIN_BAR}")
    return int(opened > BAR or meanwhile > BAR or plain < PLAIN_BAR)


if __name__ == "__main__":
    sys.exit(main())
