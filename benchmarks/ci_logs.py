"""How often the rules are right on real build logs and messages that their author did not write.

    python benchmarks/ci_logs.py ci-logs/

Reads `ci-logs.tar.xz` (or an unpacked folder): failing and passing builds with the lines that people marked
as the reason, and messages of public issue trackers with labels. Figures, with their bars: (a) the named
cause is one of the marked lines; (b) the category is a defensible one; (c) passing builds in which a failure
is found. `--half a` and `--half b` split the builds by a hash of their names, to see whether a rule that was
written for one half also holds for the other.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parent.parent))  # `python benchmarks/ci_logs.py` works too

from failure_analysis.logs.analyzer import NO_MODEL, LogAnalyzer
from failure_analysis.logs.rules import find_failure
from failure_analysis.logs.scoring import is_marked

MARKED_BAR, CATEGORY_BAR, GREEN_BAR = 0.75, 0.85, 1 / 18


class Answer(NamedTuple):
    """What was said of one failure, and whether it is right."""

    id: str
    said: str
    cause: str
    category_right: bool
    category_exact: bool
    severity_right: bool
    marked: bool | None
    """Whether the cause is a marked line; None where no line is marked."""
    want: str


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """The folder with the data, unpacked where it is an archive."""
    archive = path / "ci-logs.tar.xz" if path.is_dir() else path
    if not archive.is_file():
        yield path
        return
    with tempfile.TemporaryDirectory() as folder, tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
        yield Path(folder)


def builds(folder: Path, half: str) -> list[dict[str, Any]]:
    """The labelled builds of a half, or all."""
    every = json.loads((folder / "ci" / "labels.json").read_text(encoding="utf-8"))
    return [one for one in every if half in ("", half_of(one["id"]))]


def half_of(id: str) -> str:
    """a or b, by a hash of the name."""
    return "ab"[int(hashlib.sha256(id.encode()).hexdigest(), 16) % 2]


def read(path: Path) -> str:
    """A log as a person reads it."""
    return path.read_text(encoding="utf-8", errors="replace")  # lines are counted with \r as an end


def of_build(folder: Path, label: dict[str, Any]) -> Answer:
    """The rules on one failing build."""
    log = read(folder / "ci" / label["id"] / "fail.log")
    found = find_failure("ci_build", "", log)
    cause = found.root_cause if found else ""
    allowed = [label["category"], *label["also_acceptable"]]
    category = found.failure_category if found else "none"
    severity = found.severity if found else "none"
    return Answer(
        label["id"],
        f"{category} {severity}",
        cause,
        category in allowed,
        category == label["category"],
        severity in label["severity"],
        is_marked(cause, log.split("\n"), label["marked_lines"]),
        f"{'/'.join(allowed)} {'/'.join(label['severity'])}",
    )


def of_message(row: dict[str, Any]) -> Answer:
    """The rules on one message of an issue tracker."""
    said = LogAnalyzer(NO_MODEL).analyze_failure(
        row["id"], row["experiment_type"], row["error_message"], row["logs"]
    )
    return Answer(
        row["id"],
        f"{said.failure_category} {said.severity}",
        said.root_cause,
        said.failure_category in row["ok_cat"],
        said.failure_category == row["failure_category"],
        said.severity in row["ok_sev"],
        None,
        f"{'/'.join(row['ok_cat'])} {'/'.join(row['ok_sev'])}",
    )


def measure(folder: Path, half: str = "") -> tuple[list[Answer], dict[str, str]]:
    """Every answer, and the passing builds in which a failure was found, with its cause."""
    labels = builds(folder, half)
    rows = [json.loads(line) for line in (folder / "messages.jsonl").read_bytes().splitlines()]
    rows = [row for row in rows if half in ("", half_of(row["id"]))]
    green = {
        label["id"]: found.root_cause
        for label in labels
        if (found := find_failure("ci_build", "", read(folder / "ci" / label["id"] / "pass.log")))
    }
    return [*(of_build(folder, label) for label in labels), *map(of_message, rows)], green


def share(hits: Sequence[bool]) -> float:
    """Hits over all."""
    return sum(hits) / len(hits) if hits else 1.0


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print. Return 1 when a bar is missed."""
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument(
        "data", type=Path, help="the folder of ci-logs.tar.xz, or one that holds what is in it"
    )
    flags.add_argument("--half", choices=["a", "b"], default="", help="only this half")
    flags.add_argument("--wrong", action="store_true", help="list what was answered wrongly")
    asked = flags.parse_args(argv)
    with unpacked(asked.data) as folder:
        answers, green = measure(folder, asked.half)
    marked = [one.marked for one in answers if one.marked is not None]
    figures = {
        "builds": len(marked),
        "failures": len(answers),
        "a marked line named": share(marked),
        "category, defensible": share([one.category_right for one in answers]),
        "category, as labelled": share([one.category_exact for one in answers]),
        "severity, defensible": share([one.severity_right for one in answers]),
        "green builds called failures": len(green),
    }
    for name, value in figures.items():
        print(f"{name:30} {value if isinstance(value, int) else round(value, 3)}")
    for one in answers if asked.wrong else ():
        if not (one.category_right and one.severity_right and one.marked in (True, None)):
            print(f"{one.id}: said {one.said}, want {one.want}, marked {one.marked}\n    {one.cause[:150]}")
    for id, cause in green.items() if asked.wrong else ():
        print(f"{id} (green): {cause[:150]}")
    good = figures["a marked line named"] >= MARKED_BAR and figures["category, defensible"] >= CATEGORY_BAR
    return int(not (good and len(green) <= max(1, GREEN_BAR * len(marked))))


if __name__ == "__main__":
    sys.exit(main())
