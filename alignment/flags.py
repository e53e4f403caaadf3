"""The flags of each command of the room, and where its files lie when no flag says otherwise."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import get_args

from alignment.answers import TAGS
from alignment.cases import Split
from core.command_line import json_flag, positive

CASES = Path("runs/alignment/cases")
PAIRS = Path("runs/alignment/pairs.jsonl")
ADAPTERS = Path("runs/alignment/adapters")
ANSWERS = Path("runs/alignment/answers")


def cases(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, default=CASES, metavar="DIR", help="default %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default %(default)s")


def _cases_flag(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--cases", type=Path, default=CASES, metavar="DIR", help="folder of cases (default %(default)s)"
    )


def pairs(parser: argparse.ArgumentParser) -> None:
    _cases_flag(parser)
    parser.add_argument("--out", type=Path, default=PAIRS, metavar="FILE", help="default %(default)s")
    parser.add_argument("--each", type=positive, default=2, help="pairs per case (default %(default)s)")
    parser.add_argument(
        "--tags",
        nargs="+",
        choices=TAGS,
        default=TAGS,
        metavar="TAG",
        help="only these failings: " + ", ".join(TAGS),
    )
    parser.add_argument("--seed", type=int, default=0, help="default %(default)s")
    parser.add_argument(
        "--row",
        metavar="NAME@vN",
        help="pairs with what this adapter (or base) answers wrongly instead",
    )
    parser.add_argument(
        "--splits",
        nargs="+",
        choices=get_args(Split),
        default=["train"],
        metavar="SPLIT",
        help="of --row: train (default), and val, seen and unseen to test a reward model on real mistakes",
    )
    parser.add_argument(
        "--limit",
        type=positive,
        metavar="N",
        default=200,
        help="of --row: cases of each split (default %(default)s)",
    )
    parser.add_argument(
        "--samples",
        type=positive,
        default=1,
        metavar="K",
        help="of --row: answers to each case. 1: the likeliest one (default). More: at temperature 1, and right "
        "answers of its own are what its wrong ones are paired with",
    )
    parser.add_argument(
        "--base-model", default="smollm2", metavar="NAME", help="of --row (default %(default)s)"
    )
    _adapters_flag(parser)
    parser.add_argument(
        "--answers", type=Path, default=ANSWERS, metavar="DIR", help="of --row (default %(default)s)"
    )
    parser.add_argument(
        "--words", type=positive, default=160, metavar="TOKENS", help="of --row: longest answer"
    )
    parser.add_argument(
        "--episodes", type=Path, metavar="FILE", help="pairs from stored rollouts instead: an episodes*.jsonl"
    )
    parser.add_argument(
        "--length-matched", action="store_true", help="of rollouts: only reports of about the same length"
    )


def check(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, help="preferences, one JSON object a line")


def exchange(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, help="what is read")
    parser.add_argument("--form", choices=("label-studio", "argilla"), required=True, help="whose form")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="what is written")


def nothing(_: argparse.ArgumentParser) -> None:
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


def sft(parser: argparse.ArgumentParser) -> None:
    _learning(parser, rate=7e-4, epochs=1.0, items=2)
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


def dpo(parser: argparse.ArgumentParser) -> None:
    _learning(parser, rate=1e-4, epochs=1.0, items=4)
    _from_start(parser)
    parser.add_argument("--beta", type=float, default=0.3, help="default %(default)s")
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
        default=1.0,
        help="weight of the chosen answer's likelihood (default %(default)s)",
    )


def sweep(parser: argparse.ArgumentParser) -> None:
    _learning(parser, rate=1e-4, epochs=1.0, items=4)
    _from_start(parser)
    _cases_flag(parser)
    parser.add_argument("--beta", type=float, default=0.3, help="default %(default)s")
    parser.add_argument(
        "--ld-alphas",
        type=float,
        nargs="+",
        default=[1.0, 0.5, 0.0],
        metavar="A",
        help="what tokens beyond the shorter answer count (default 1 0.5 0)",
    )
    parser.add_argument("--per-token", action="store_true", help="also means of log-probabilities")
    parser.add_argument("--imitation", type=float, default=1.0, help="default %(default)s")
    parser.add_argument(
        "--validate", type=positive, default=40, metavar="N", help="validation cases (default %(default)s)"
    )
    _answers_flags(parser)


def _answers_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out", type=Path, default=ANSWERS, metavar="DIR", help="answers (default %(default)s)"
    )
    parser.add_argument(
        "--words", type=positive, default=160, metavar="TOKENS", help="longest answer (default %(default)s)"
    )


def reward(parser: argparse.ArgumentParser) -> None:
    _learning(parser, rate=3e-4, epochs=1.0, items=4)
    _from_start(parser)
    parser.add_argument(
        "--held-out",
        type=positive,
        metavar="N",
        help="test on the first N pairs of seen and unseen types only",
    )


def ppo(parser: argparse.ArgumentParser) -> None:
    _rewarded(parser)
    parser.add_argument(
        "--distance", type=float, default=6.0, help="nats an answer may move (default %(default)s)"
    )


def grpo(parser: argparse.ArgumentParser) -> None:
    _rewarded(parser)
    parser.add_argument(
        "--group", type=positive, default=8, metavar="N", help="answers to each case (default %(default)s)"
    )
    parser.add_argument(
        "--penalty", type=float, default=0.02, help="of moving away from the start (default %(default)s)"
    )


def _rewarded(parser: argparse.ArgumentParser) -> None:
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
        "--words", type=positive, default=120, metavar="TOKENS", help="longest answer (default %(default)s)"
    )


def evaluate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--base-model", default="smollm2", metavar="NAME", help="default %(default)s")
    parser.add_argument(
        "--rows",
        nargs="+",
        default=["base"],
        metavar="ROW",
        help="base, extractive, or NAME@vN (default base)",
    )
    _adapters_flag(parser)
    _compared(parser)


def report(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", nargs="+", metavar="ROW", help="default: every row that has answered")
    _compared(parser)


def _compared(parser: argparse.ArgumentParser) -> None:
    _cases_flag(parser)
    parser.add_argument(
        "--limit", type=positive, default=40, metavar="N", help="cases per split (default %(default)s)"
    )
    parser.add_argument("--against", metavar="ROW", help="row that the others are compared with")
    parser.add_argument(
        "--judge",
        metavar="NAME",
        help="a language model also says who wins: a registered judge, or a litellm name "
        "(JUDGE_API_BASE and JUDGE_API_KEY say where it is)",
    )
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
    _answers_flags(parser)


def registry(parser: argparse.ArgumentParser) -> None:
    actions = ("list", "show", "promote", "rollback", "diff", "remove", "log", "push", "withdraw", "merge")
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
    parser.add_argument("--out", type=Path, metavar="DIR", help="of merge: folder of the new base model")
    parser.add_argument("--base-model", metavar="NAME", help="of merge (default: the name on the card)")
    json_flag(parser)


def gate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("adapter", metavar="NAME@vN")
    _adapters_flag(parser)
    parser.add_argument(
        "--answers",
        type=Path,
        default=ANSWERS,
        metavar="DIR",
        help="default %(default)s",
    )
    _cases_flag(parser)
    parser.add_argument("--against", metavar="ROW", help="row whose right answers must not be lost")


def triage(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", nargs="?", type=Path, help="a log (default: standard input)")
    parser.add_argument("--adapter", default="production", metavar="NAME", help="default %(default)s")
    parser.add_argument("--base-model", default="smollm2", metavar="NAME", help="default %(default)s")
    _adapters_flag(parser)
    json_flag(parser)


def serve(parser: argparse.ArgumentParser) -> None:
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
