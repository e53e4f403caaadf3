"""Command line: `python -m chaos generate` writes a split, `check` proves folders sound, `ship` writes the
shipped splits.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from project_types import ConfigurationError, InvestigatorError

if TYPE_CHECKING:
    from chaos.plans import Mix

SHIPPED = {"train": 384, "val": 48, "test": 104}
SHIPPED_SEED = 2
SHOWN_PROBLEMS = 50


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 0 when it went well, 1 when a check failed, 2 for bad use."""
    args = _parser().parse_args(argv)
    try:
        return int(args.run(args))
    except InvestigatorError as trouble:
        print(f"chaos: {trouble}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    generate = commands.add_parser(
        "generate",
        help="write one split",
        description="Write one split; the same arguments give the same bytes.",
    )
    generate.add_argument(
        "--split",
        required=True,
        choices=("train", "val", "test", "pretrain"),
        help="pretrain: like train, from seeds that no shipped split uses",
    )
    generate.add_argument(
        "--count",
        required=True,
        type=_positive,
        help="scenarios; 3 of 13 of a test split are of the unseen kind",
    )
    generate.add_argument(
        "--seed",
        type=int,
        default=SHIPPED_SEED,
        help="another seed gives other scenarios (default: %(default)s)",
    )
    generate.add_argument(
        "--out",
        required=True,
        type=Path,
        help="folder of the split; a split that is there is replaced when all is written",
    )
    generate.add_argument(
        "--request",
        type=Path,
        help='JSON file with weights: {"faults": {"disk_full": 3}, "topologies": {"shop": 0}}',
    )
    generate.set_defaults(run=_generate)
    check = commands.add_parser(
        "check",
        help="prove folders sound",
        description="Check a split, or a folder of splits; exit 1 with a list of what fails.",
    )
    check.add_argument(
        "folder", type=Path, help="a split folder or a folder of split folders, such as log_scenarios"
    )
    check.add_argument(
        "--judge", default="offline", help="the judge that ranks the reports (default: %(default)s)"
    )
    check.set_defaults(run=_check)
    ship = commands.add_parser(
        "ship",
        help="write the shipped splits again",
        description="Write train, val and test as they are shipped.",
    )
    ship.add_argument(
        "--out", type=Path, default=Path("log_scenarios"), help="folder of the splits (default: %(default)s)"
    )
    ship.set_defaults(run=_ship)
    return parser


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def _generate(args: argparse.Namespace) -> int:
    from chaos.plans import EVEN, read_mix

    _write(args.split, args.count, args.seed, args.out, read_mix(args.request) if args.request else EVEN)
    return 0


def _check(args: argparse.Namespace) -> int:
    from chaos.check import check
    from make_judge_model import load_judge

    findings = check(args.folder, load_judge(args.judge))
    for fact in findings.facts:
        print(fact)
    for problem in findings.problems[:SHOWN_PROBLEMS]:
        print(f"FAILS {problem}")
    if len(findings.problems) > SHOWN_PROBLEMS:
        print(f"... and {len(findings.problems) - SHOWN_PROBLEMS} more")
    print(f"{len(findings.problems)} problems" if findings.problems else "all checks passed")
    return 1 if findings.problems else 0


def _ship(args: argparse.Namespace) -> int:
    from chaos.plans import EVEN

    for split, count in SHIPPED.items():
        _write(split, count, SHIPPED_SEED, args.out / split, EVEN)
    return 0


def _write(split: str, count: int, seed: int, out: Path, mix: Mix) -> None:
    from tqdm import tqdm

    from chaos.splits import scenarios, write_split

    started = time.monotonic()
    try:
        written = write_split(
            iter(tqdm(scenarios(split, count, seed, mix), total=count, desc=split, unit="scenario")), out
        )
    except OSError as trouble:
        raise ConfigurationError(
            f"{out}: cannot be written ({trouble.strerror}); give another folder with --out"
        ) from trouble
    size_kb = sum(path.stat().st_size for path in out.iterdir()) / 1000
    seconds = time.monotonic() - started
    print(f"{out}: {written} scenarios, {size_kb / written:.0f} KB each, {written / seconds:.0f} a second")


if __name__ == "__main__":
    sys.exit(main())
