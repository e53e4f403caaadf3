"""`python -m alignment COMMAND`: cases, pairs, training, adapters, gates and triage.

Only arguments are parsed here; torch is imported by the commands that train or answer.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from core.command_line import Command, Room, json_flag, positive

CASES = Path("runs/alignment/cases")
PAIRS = Path("runs/alignment/pairs.jsonl")
ADAPTERS = Path("runs/alignment/adapters")


def _cases(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, default=CASES, metavar="DIR", help="default %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default %(default)s")


def _cases_flag(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--cases", type=Path, default=CASES, metavar="DIR", help="folder of cases (default %(default)s)"
    )


def _pairs(parser: argparse.ArgumentParser) -> None:
    _cases_flag(parser)
    parser.add_argument("--out", type=Path, default=PAIRS, metavar="FILE", help="default %(default)s")
    parser.add_argument("--each", type=positive, default=2, help="pairs per case (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="default %(default)s")
    parser.add_argument(
        "--episodes", type=Path, metavar="FILE", help="pairs from stored rollouts instead: an episodes*.jsonl"
    )
    parser.add_argument(
        "--length-matched", action="store_true", help="of rollouts: only reports of about the same length"
    )


def _check(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, help="preferences, one JSON object a line")


def _exchange(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, help="what is read")
    parser.add_argument("--form", choices=("label-studio", "argilla"), required=True, help="whose form")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="what is written")


def _nothing(_: argparse.ArgumentParser) -> None:
    """Add no flags."""


def _adapters_flag(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--adapters", type=Path, default=ADAPTERS, metavar="DIR", help="registry (default %(default)s)"
    )


def _learning(parser: argparse.ArgumentParser, rate: float, epochs: float, items: int) -> None:
    parser.add_argument("--base-model", default="smollm2", metavar="NAME", help="default %(default)s")
    parser.add_argument("--name", required=True, help="name of the adapter that is made")
    _adapters_flag(parser)
    parser.add_argument("--work", type=Path, metavar="DIR", help="default: runs/alignment/work/NAME")
    parser.add_argument("--learning-rate", type=float, default=rate, help="default %(default)s")
    parser.add_argument("--epochs", type=float, default=epochs, help="default %(default)s")
    parser.add_argument("--items-per-step", type=positive, default=items, help="default %(default)s")
    parser.add_argument("--save-every", type=positive, default=5, metavar="STEPS", help="default %(default)s")
    parser.add_argument("--limit", type=positive, metavar="N", help="use the first N rows only")
    parser.add_argument("--seed", type=int, default=0, help="default %(default)s")
    parser.add_argument("--rank", type=positive, default=16, help="rank of the adapter (default %(default)s)")
    parser.add_argument(
        "--precision", choices=("auto", "float32", "bfloat16"), default="auto", help="default %(default)s"
    )
    parser.add_argument("--dry-run", action="store_true", help="say how long it will take, and stop")


def _sft(parser: argparse.ArgumentParser) -> None:
    _learning(parser, rate=3e-4, epochs=1.0, items=8)
    _cases_flag(parser)
    parser.add_argument(
        "--episodes",
        type=Path,
        metavar="FILE",
        help="demonstrate with stored episodes instead of the cases' right answers",
    )
    parser.add_argument("--least-reward", type=float, default=0.5, help="of episodes (default %(default)s)")


def _from_start(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--start", metavar="NAME[@vN]", help="adapter to start from (default: the bare base)")
    parser.add_argument("--pairs", type=Path, default=PAIRS, metavar="FILE", help="default %(default)s")


def _dpo(parser: argparse.ArgumentParser) -> None:
    _learning(parser, rate=5e-5, epochs=1.0, items=8)
    _from_start(parser)
    parser.add_argument("--beta", type=float, default=0.1, help="default %(default)s")
    parser.add_argument(
        "--ld-alpha",
        type=float,
        default=0.5,
        help="what tokens beyond the shorter answer count (default %(default)s)",
    )
    parser.add_argument("--per-token", action="store_true", help="means of log-probabilities instead of sums")
    parser.add_argument(
        "--imitation",
        type=float,
        default=0.0,
        help="weight of the chosen answer's likelihood (default %(default)s)",
    )


def _reward(parser: argparse.ArgumentParser) -> None:
    _learning(parser, rate=1e-4, epochs=1.0, items=8)
    _from_start(parser)
    parser.add_argument(
        "--held-out",
        type=positive,
        metavar="N",
        help="test on the first N pairs of seen and unseen types only",
    )


def _ppo(parser: argparse.ArgumentParser) -> None:
    _learning(parser, rate=1e-5, epochs=1.0, items=16)
    _cases_flag(parser)
    parser.add_argument(
        "--start", metavar="NAME[@vN]", help="adapter to start from; the distance is kept from it"
    )
    parser.add_argument(
        "--reward",
        default="truth",
        metavar="NAME@vN",
        help="reward model, or truth: the scorer (default %(default)s)",
    )
    parser.add_argument("--iterations", type=positive, default=30, help="default %(default)s")
    parser.add_argument(
        "--distance", type=float, default=6.0, help="nats an answer may move (default %(default)s)"
    )
    parser.add_argument("--words", type=positive, default=120, metavar="TOKENS", help="longest answer")


def _evaluate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--base-model", default="smollm2", metavar="NAME", help="default %(default)s")
    parser.add_argument(
        "--rows",
        nargs="+",
        default=["base"],
        metavar="ROW",
        help="base, extractive, or NAME@vN (default base)",
    )
    _cases_flag(parser)
    _adapters_flag(parser)
    parser.add_argument(
        "--limit", type=positive, default=40, metavar="N", help="cases per split (default %(default)s)"
    )
    parser.add_argument("--against", metavar="ROW", help="row that the others are compared with")
    parser.add_argument(
        "--real",
        type=Path,
        metavar="DIR",
        help="also real builds: labels.json, and a folder each with fail.log",
    )
    parser.add_argument(
        "--labelled",
        type=int,
        default=0,
        metavar="N",
        help="also the first N of 204 labelled failures (default 0)",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("runs/alignment/answers"), metavar="DIR", help="default %(default)s"
    )
    parser.add_argument(
        "--words", type=positive, default=160, metavar="TOKENS", help="longest answer (default %(default)s)"
    )


def _registry(parser: argparse.ArgumentParser) -> None:
    actions = ("list", "show", "promote", "rollback", "diff", "remove", "log", "push", "withdraw")
    parser.add_argument("action", choices=actions)
    parser.add_argument("names", nargs="*", metavar="NAME@vN", help="one adapter, or two for diff")
    _adapters_flag(parser)
    parser.add_argument("--by", default="", help="who promotes or rolls back (default: the user's name)")
    parser.add_argument(
        "--url",
        default="",
        help="of push and withdraw: a vLLM server, or serve's, e.g. http://127.0.0.1:8000",
    )
    parser.add_argument(
        "--token", default="local", help="of push and withdraw: its bearer token (default local)"
    )
    json_flag(parser)


def _gate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("adapter", metavar="NAME@vN")
    _adapters_flag(parser)
    parser.add_argument(
        "--answers",
        type=Path,
        default=Path("runs/alignment/answers"),
        metavar="DIR",
        help="default %(default)s",
    )
    _cases_flag(parser)
    parser.add_argument("--against", metavar="ROW", help="row whose right answers must not be lost")


def _triage(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", nargs="?", type=Path, help="a log (default: standard input)")
    parser.add_argument("--adapter", default="production", metavar="NAME", help="default %(default)s")
    parser.add_argument("--base-model", default="smollm2", metavar="NAME", help="default %(default)s")
    _adapters_flag(parser)
    json_flag(parser)


def _serve(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--base-model", default="smollm2", metavar="NAME", help="default %(default)s")
    _adapters_flag(parser)
    parser.add_argument("--host", default="127.0.0.1", help="default %(default)s")
    parser.add_argument("--port", type=int, default=0, help="0 for any free one (default)")
    parser.add_argument("--token", default="local", help="bearer token of clients (default local)")
    parser.add_argument(
        "--canary", default="", metavar="NAME@vN", help="gets a share of what production is asked"
    )
    parser.add_argument("--canary-share", type=float, default=0.1, help="of 1 (default %(default)s)")
    parser.add_argument("--reward", default="", metavar="NAME@vN", help="reward model for POST /v1/score")


EXAMPLES = """\
examples:
  python -m alignment cases
  python -m alignment pairs
  python -m alignment check runs/alignment/pairs.jsonl
  python -m alignment schema
  python -m alignment export --form argilla --out tasks.json runs/alignment/pairs.jsonl
  python -m alignment import --form argilla --out pairs.jsonl tasks.json
  python -m alignment sft --name warm --limit 200
  python -m alignment reward --name judge --start warm@v1 --limit 800
  python -m alignment dpo --name judged --start warm@v1
  python -m alignment ppo --name rewarded --start warm@v1 --reward judge@v1
  python -m alignment evaluate --rows base warm@v1 judged@v1 --against warm@v1
  python -m alignment gate judged@v1 --against warm@v1
  python -m alignment adapters promote judged@v1
  python -m alignment serve --port 8770 --canary judged@v2
  python -m alignment triage --adapter production app.log

Training can be killed at any time: the same command goes on from the last saved step."""

ROOM = Room(
    "alignment",
    "teach a model an engineer's judgement about logs: preferences, reward model, DPO, adapters, gates",
    (
        Command(
            "cases",
            "make the Explain cases: logs of eight families with their truth",
            "alignment.data_commands",
            _cases,
            EXAMPLES,
        ),
        Command(
            "pairs",
            "make preference pairs from cases, or from stored rollouts",
            "alignment.data_commands",
            _pairs,
            EXAMPLES,
        ),
        Command(
            "check",
            "say what is wrong with a file of preferences, and who agrees with whom",
            "alignment.data_commands",
            _check,
            EXAMPLES,
        ),
        Command(
            "schema", "print the JSON schema of a preference", "alignment.data_commands", _nothing, EXAMPLES
        ),
        Command(
            "export",
            "write pairs as tasks of Label Studio or Argilla",
            "alignment.data_commands",
            _exchange,
            EXAMPLES,
        ),
        Command(
            "import",
            "read judgements out of Label Studio's or Argilla's export",
            "alignment.data_commands",
            _exchange,
            EXAMPLES,
        ),
        Command(
            "sft",
            "warm start: imitate right answers, or the episodes with the best rewards",
            "alignment.train_commands",
            _sft,
            EXAMPLES,
        ),
        Command(
            "dpo",
            "align with preferences: direct preference optimisation",
            "alignment.train_commands",
            _dpo,
            EXAMPLES,
        ),
        Command(
            "reward",
            "train a reward model and test it against null baselines",
            "alignment.train_commands",
            _reward,
            EXAMPLES,
        ),
        Command(
            "ppo",
            "align with a reward in the loop: proximal policy optimisation",
            "alignment.ppo_command",
            _ppo,
            EXAMPLES,
        ),
        Command(
            "evaluate",
            "answer cases with several adapters and compare them in one table",
            "alignment.evaluate_command",
            _evaluate,
            EXAMPLES,
        ),
        Command(
            "adapters",
            "list, show, promote, roll back, compare or remove adapters",
            "alignment.adapter_commands",
            _registry,
            EXAMPLES,
        ),
        Command(
            "gate",
            "check an adapter's answers; exit code 1 says why it may not be promoted",
            "alignment.adapter_commands",
            _gate,
            EXAMPLES,
        ),
        Command(
            "serve",
            "serve adapters and triage over HTTP, several from one base",
            "alignment.serve_command",
            _serve,
            EXAMPLES,
        ),
        Command(
            "triage",
            "read a log and say what failed, with lines that exist",
            "alignment.triage_command",
            _triage,
            EXAMPLES,
        ),
    ),
    EXAMPLES,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command."""
    return ROOM.main(argv)


if __name__ == "__main__":
    sys.exit(main())
