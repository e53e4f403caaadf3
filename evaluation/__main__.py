"""`python -m evaluation COMMAND`: play policies, count, compare, report.

Only arguments are parsed here; each command's module is imported once they are known to be good.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from core.command_line import RUN, Command, Room, database_flag, hints_flag, json_flag, limit_flag, positive
from core.policies.registry import add_flags as reach_flags
from core.policies.registry import policy_flag

WHAT_IS_READ = """

RUN is the folder of an evaluation, its name below runs/, or a file of episodes. Of a training run one
checkpoint is read: the one named with @STEP, or the best. --split and --sampling choose its episodes."""


def _run(parser: argparse.ArgumentParser) -> None:
    policy_flag(parser)
    parser.add_argument(
        "--split", default="test", metavar="SPLIT|DIR", help="train, val, test or a folder (default test)"
    )
    parser.add_argument(
        "--out", required=True, type=Path, metavar="DIR", help="folder that gets the episodes"
    )
    parser.add_argument("--k", type=positive, default=1, help="samples per scenario (default 1)")
    _judge(parser, default="offline")
    limit_flag(parser, "only the first scenarios")
    parser.add_argument(
        "--seed", type=int, default=0, help="dice of scripts, sampling of embedded models (default 0)"
    )
    _concurrency(parser, "episodes under way at once, for models", 16)
    parser.add_argument(
        "--workers",
        type=positive,
        default=1,
        help="processes, for scripts and with --executor ray (default 1)",
    )
    parser.add_argument(
        "--executor",
        choices=["process", "ray"],
        default="process",
        help="where episodes are played: here, or by --workers on a Ray cluster (default process)",
    )
    parser.add_argument(
        "--address",
        metavar="HOST:PORT",
        help="the Ray cluster, as `ray start --head` printed it (default: one that is started here)",
    )
    database_flag(parser, "one that is there already (default: built in --out)")
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would be played; play and write nothing"
    )
    parser.add_argument(
        "--no-explain",
        action="store_true",
        help="leave failed episodes to: python -m failure_analysis capture",
    )
    parser.add_argument(
        "--no-wandb", dest="wandb", action="store_false", help="log nothing to W&B, even with WANDB_API_KEY"
    )
    _rules(parser)
    reach_flags(parser)


def _rules(parser: argparse.ArgumentParser) -> None:
    rules = parser.add_argument_group("rules of an episode")
    rules.add_argument(
        "--rules",
        choices=["embedded", "general"],
        help="embedded: short results, brief prompt; general: long results, full prompt "
        "(default: embedded for scripts and trained models, general for others)",
    )
    rules.add_argument("--temperature", type=float, metavar="T", help="sampling temperature (default 1.0)")
    rules.add_argument("--top-p", type=float, metavar="P", help="nucleus sampling (default 1.0)")
    rules.add_argument("--max-turns", type=positive, metavar="N", help="replies per episode")
    rules.add_argument("--tool-budget-tokens", type=positive, metavar="N", help="tokens per tool result")
    rules.add_argument("--max-completion-tokens", type=positive, metavar="N", help="tokens per reply")
    rules.add_argument("--call-format", choices=["native", "text"], help="how calls are written")
    rules.add_argument("--prompt", choices=["full", "brief"], help="system prompt")
    hints_flag(rules)
    rules.add_argument(
        "--tools",
        choices=["two", "full"],
        help="two: search_logs and read_trace; full: all there is data for",
    )
    rules.add_argument(
        "--ranker",
        action="store_true",
        default=None,
        help="full tools also hold rank_services and explain_service (needs the extra graph)",
    )


def _judge(parser: argparse.ArgumentParser, default: str | None = None) -> None:
    about = "offline, or a registered judge" + (f" (default {default})" if default else "")
    parser.add_argument("--judge", default=default, required=default is None, metavar="NAME", help=about)


def _concurrency(parser: argparse.ArgumentParser, what: str, default: int) -> None:
    parser.add_argument("--concurrency", type=positive, default=default, help=f"{what} (default {default})")


def _choice(
    parser: argparse.ArgumentParser, split: str = "which split of a training run (default test)"
) -> None:
    """Add what says which episodes of a training run are read."""
    parser.add_argument("--split", default="", metavar="SPLIT", help=split)
    parser.add_argument(
        "--sampling",
        default="",
        choices=["t0", "t1", "rollouts"],
        help="how a training run sampled them: temperature 0, temperature 1, or to learn from (default t0)",
    )


def _one_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar=RUN, help="an evaluation, a training run, or a file of episodes")


def _compare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("before", metavar="A", help="an evaluation, a training run, or a file of episodes")
    parser.add_argument("after", metavar="B", help="what it is compared with")
    _choice(parser)
    parser.add_argument(
        "--all",
        action="store_true",
        help="list every scenario that flipped, not only the largest 20 each way",
    )
    json_flag(parser)


def _report(parser: argparse.ArgumentParser) -> None:
    _one_run(parser)
    _choice(parser)
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="page to write (default: in the folder of an evaluation, else beside the file of episodes)",
    )


def _show(parser: argparse.ArgumentParser) -> None:
    _one_run(parser)
    parser.add_argument(
        "episode", metavar="ID[#SAMPLE]", help="the beginning of a scenario's id, and one of its samples"
    )
    _choice(parser)


def _rescore(parser: argparse.ArgumentParser) -> None:
    _one_run(parser)
    _judge(parser)
    _choice(parser, "where the scenarios are, a split or a folder (default: where they were when played)")
    _concurrency(parser, "reports judged at once", 8)
    json_flag(parser)


def _export(parser: argparse.ArgumentParser) -> None:
    _one_run(parser)
    _choice(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="parquet file to write")


def _audit(parser: argparse.ArgumentParser) -> None:
    _one_run(parser)
    _choice(parser)
    json_flag(parser)


def _replay(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="a training run of the embedded service")
    parser.add_argument("--step", type=positive, required=True, metavar="N", help="the training step")
    json_flag(parser)


def _profile(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="an evaluation with several samples of each scenario")
    parser.add_argument("--n", type=positive, default=8, help="rollouts of a group to come (default 8)")
    _choice(parser)
    json_flag(parser)


def _adversaries(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--split", default="val", metavar="SPLIT|DIR", help="scenarios to cheat on (default val)"
    )
    limit_flag(parser, "only the first scenarios")
    _judge(parser, default="offline")
    parser.add_argument(
        "--rules",
        choices=["embedded", "general"],
        default="embedded",
        help="rules of the episodes (default embedded)",
    )
    parser.add_argument(
        "--write-docs",
        nargs="?",
        type=Path,
        const=Path("docs/reward.md"),
        metavar="FILE",
        help="also put the table between the markers of FILE (default docs/reward.md)",
    )


RUN_EXAMPLES = """\
policies:
  script:NAME             code: first-error, loudest-error, deepest-span, random-service, demonstrator, ...
  embedded:NAME[@stepN]   a model of the training service; without @stepN its latest checkpoint
  litellm:MODEL           any model litellm reaches, e.g. litellm:openai/gpt-4.1 with OPENAI_API_KEY set
  openai:MODEL            a server that speaks the OpenAI protocol, reached with --base-url

examples:
  python -m evaluation run --policy script:first-error --split test --k 1 --out runs/eval-first-error
  python -m evaluation run --policy embedded:tiny@step40 --split test --k 4 --out runs/eval-tiny
  python -m evaluation run --policy script:demonstrator --split my_scenarios --workers 2 --out runs/demos
  python -m evaluation run --policy openai:qwen3 --base-url http://gpu1:8000/v1 --executor ray \\
      --address 10.0.0.1:6379 --workers 8 --concurrency 64 --out runs/eval-qwen3        (docs/scaling.md)

The same command again plays only what is missing or failed. The folder then holds episodes.jsonl,
failures.jsonl, run.json and summary.json (docs/episodes.md)."""
COMPARE_EXAMPLES = """\
examples:
  python -m evaluation compare runs/eval-base runs/eval-tiny
  python -m evaluation compare runs/seed1@0 runs/seed1                  before and after training
  python -m evaluation compare seed1 seed2 --split val --sampling t1 --all"""
REPORT_EXAMPLES = """\
examples:
  python -m evaluation report runs/eval-tiny --out report.html
  python -m evaluation report runs/seed1@40"""
SHOW_EXAMPLES = """\
examples:
  python -m evaluation show runs/eval-tiny 5f0c11aa09be
  python -m evaluation show runs/seed1@0 '5f0c#2' --sampling t1"""
RESCORE_EXAMPLES = """\
examples:
  python -m evaluation rescore --judge offline runs/eval-tiny
  python -m evaluation rescore --judge openai/gpt-4.1 runs/eval-tiny --json

Nothing is played. Verdicts are kept beside the episodes in verdicts-NAME.jsonl; the same command asks only
for what is missing."""
EXPORT_EXAMPLES = """\
example:
  python -m evaluation export runs/eval-tiny --out episodes.parquet"""
AUDIT_EXAMPLES = """\
examples:
  python -m evaluation audit runs/eval-tiny
  python -m evaluation audit runs/seed1@40 --split train --sampling rollouts --json

Exit 1 when a stored reward is not what its outcome is worth, or a prompt rewrites ids of earlier turns."""
REPLAY_EXAMPLES = """\
example:
  python -m evaluation replay runs/seed1 --step 1

The checkpoint before the step must still be there: that before step 1 is, and those after the best and the
latest one. Exit 1 when loss, gradient or tokens are not what the step logged."""
PROFILE_EXAMPLES = """\
examples:
  python -m evaluation run --policy embedded:tiny-investigator --split train --limit 40 --k 8 --out runs/profile
  python -m evaluation profile runs/profile --n 8

Scenarios that a policy always or never solves teach it nothing. Profile before money is spent on training."""
ADVERSARIES_EXAMPLES = """\
examples:
  python -m evaluation adversaries --write-docs
  python -m evaluation adversaries --split test --limit 20 --judge openai/gpt-4.1"""
ROOM_EXAMPLES = """\
examples:
  python -m evaluation run --policy script:loudest-error --split test --k 1 --out runs/eval-loudest
  python -m evaluation run --policy embedded:tiny --split test --k 4 --out runs/eval-tiny
  python -m evaluation compare runs/eval-loudest runs/eval-tiny
  python -m evaluation report runs/eval-tiny --out report.html"""

ROOM = Room(
    "evaluation",
    "plays policies on scenarios, stores the episodes, says with intervals whether it got better",
    (
        Command(
            "run",
            "play a policy on scenarios, store the episodes, print accuracy with 95 % intervals",
            "evaluation.running",
            _run,
            RUN_EXAMPLES,
        ),
        Command(
            "compare",
            "say what changed from run A to run B, paired by scenario, and which scenarios flipped",
            "evaluation.compare_command",
            _compare,
            COMPARE_EXAMPLES + WHAT_IS_READ,
        ),
        Command(
            "report",
            "write one self-contained HTML page about a run",
            "evaluation.reporting",
            _report,
            REPORT_EXAMPLES + WHAT_IS_READ,
        ),
        Command(
            "show",
            "print a stored episode, turn by turn",
            "evaluation.showing",
            _show,
            SHOW_EXAMPLES + WHAT_IS_READ,
        ),
        Command(
            "rescore",
            "let another judge read stored reports; print agreement and Cohen's kappa",
            "evaluation.rescoring",
            _rescore,
            RESCORE_EXAMPLES + WHAT_IS_READ,
        ),
        Command(
            "export",
            "write stored episodes as one parquet table",
            "evaluation.exporting",
            _export,
            EXPORT_EXAMPLES + WHAT_IS_READ,
        ),
        Command(
            "audit",
            "hold stored trajectories against themselves: rewards, token ids, what was cut short",
            "evaluation.auditing",
            _audit,
            AUDIT_EXAMPLES + WHAT_IS_READ,
        ),
        Command(
            "replay",
            "train a stored step again on a copy, and hold its loss against the logged one",
            "evaluation.replaying",
            _replay,
            REPLAY_EXAMPLES,
        ),
        Command(
            "profile",
            "say which scenarios would teach a policy: spread of rewards, useful groups, what to keep or drop",
            "evaluation.profiling",
            _profile,
            PROFILE_EXAMPLES + WHAT_IS_READ,
        ),
        Command(
            "adversaries",
            "play scripted cheats; exit 1 when one earns more than an honest investigator of the same accuracy",
            "evaluation.adversaries.command",
            _adversaries,
            ADVERSARIES_EXAMPLES,
        ),
    ),
    ROOM_EXAMPLES,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns 2 for bad use, 1 when something failed, else 0."""
    return ROOM.main(argv)


if __name__ == "__main__":
    sys.exit(main())
