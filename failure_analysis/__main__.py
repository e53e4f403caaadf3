"""`python -m failure_analysis COMMAND`: take in what failed, explain it, add it up, and act on it.

Only arguments are parsed here; each command's module is imported once they are known to be good.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from core.command_line import Command, Room
from core.rooms import rooms
from failure_analysis import flags

AGGREGATES = "failure_analysis.aggregate_commands"
CAPTURE_EXAMPLES = """\
examples:
  python -m failure_analysis capture runs/seed1
  python -m failure_analysis capture runs                  every run in a folder
  python -m failure_analysis capture runs/eval/episodes.jsonl --failures /tmp/failures.db

Writes failures.db and failures/*.txt beside the run (runs/failures.db for runs/seed1), never into it."""
INGEST_EXAMPLES = """\
examples:
  python -m failure_analysis ingest build/junit.xml --failures build/failures.db
  python -m failure_analysis ingest service.log --type training_run
  make test 2>&1 | python -m failure_analysis ingest -

A JUnit file gives one failure per failed test case; a log is one failure, explained from its end."""
ANALYZE_EXAMPLES = """\
example:
  python -m failure_analysis analyze service.log --type training_job --error 'CUDA out of memory'"""
GROUPS_EXAMPLES = """\
examples:
  python -m failure_analysis groups
  python -m failure_analysis groups --run seed1@40 --split test --order trend"""
COUNTS_EXAMPLES = """\
example:
  python -m failure_analysis counts --by kind --bucket step --run seed1"""
SIMILAR_EXAMPLES = """\
example:
  python -m failure_analysis similar 'no space left on device'"""
COMPARE_EXAMPLES = """\
examples:
  python -m failure_analysis compare seed1@0 seed1@40
  python -m failure_analysis compare eval-base eval-tiny"""
HARDEST_EXAMPLES = """\
example:
  python -m failure_analysis hardest --out request.json

then: python -m chaos generate --split train --count 192 --seed 7 --out more/train --request request.json

Weights are failure rates, smoothed, relative to the mean. Episodes of the test split and of unseen faults are
left out, so that what measures a model never shapes what it learns from."""
INTERVENE_EXAMPLES = """\
examples:
  python -m failure_analysis intervene --episode runs/eval/episodes.jsonl:17 --turn 2 \\
      --replace-result better.txt --policy litellm:openai/gpt-4.1-mini --k 8
  python -m failure_analysis intervene --episode 0f3a... --turn 1 --policy embedded:seed1@step40 \\
      --replace-call '{"name": "search_logs", "arguments": {"min_level": "WARN"}}'

The unchanged episode is played on from the same turn as often, so that both sides differ in one thing."""
SCORE_EXAMPLES = """\
examples:
  python -m failure_analysis score
  python -m failure_analysis score --model openai/gpt-4.1-mini"""
REPAIR_EXAMPLES = """\
example:
  python -m failure_analysis repair --failures runs/failures.db"""
ROOM_EXAMPLES = """\
examples:
  python -m failure_analysis capture runs/seed1          every failed episode, rollout and training job
  python -m failure_analysis ingest build/junit.xml      a JUnit file or any log
  python -m failure_analysis groups --failures runs/failures.db
  python -m failure_analysis compare seed1@0 seed1@40    which failures training fixed and introduced
  python -m failure_analysis hardest --out request.json  what fails most, as a request to chaos generate"""

ROOM = Room(
    "failure_analysis",
    "captures, explains, groups and counts failures of episodes, training runs and CI",
    (
        Command(
            "capture",
            "take in every failed episode, rollout and training job of a run; again: only what is new",
            "failure_analysis.capture_command",
            flags.capture,
            CAPTURE_EXAMPLES,
        ),
        Command(
            "ingest",
            "take in log files and JUnit XML of any origin",
            "failure_analysis.logs.ingest_command",
            flags.ingest,
            INGEST_EXAMPLES,
        ),
        Command(
            "analyze",
            "explain one log and store nothing; print JSON",
            "failure_analysis.logs.analyze_command",
            flags.analyze,
            ANALYZE_EXAMPLES,
        ),
        Command(
            "groups",
            "list groups of alike failures with counts, first and last seen, and trend",
            AGGREGATES,
            flags.groups,
            GROUPS_EXAMPLES,
        ),
        Command(
            "counts",
            "count failures by category, severity or kind over time",
            AGGREGATES,
            flags.counts,
            COUNTS_EXAMPLES,
        ),
        Command(
            "watch",
            "warn while a run goes on: loss, reward, disk, memory, tests that failed before",
            "failure_analysis.prediction.watch_command",
            flags.watch,
            "examples:\n"
            "  python -m failure_analysis watch seed1\n"
            "  python -m failure_analysis watch seed1 --once               exit 1 when there is a warning\n"
            "  python -m failure_analysis watch seed1 --tests build/pytest.log --alerts\n\n"
            "It ends when the run does. It stops nothing.",
        ),
        Command(
            "review",
            "say what in this code, configuration or scenario set has failed before; exit 1 when something has",
            "failure_analysis.review_command",
            flags.review,
            "examples:\n"
            "  python -m failure_analysis review train.py config.yaml\n"
            "  python -m failure_analysis review log_scenarios/val\n\n"
            "Nothing is run. Groups that were marked as fixed are named and do not count.",
        ),
        Command(
            "suggest",
            "look for an edit with which a failing command passes, and give it as a diff or a branch",
            "failure_analysis.suggesting.suggest_command",
            flags.suggest,
            "examples:\n"
            "  python -m failure_analysis suggest --repo . --rerun 'pytest -q tests/test_cart.py'\n"
            "  python -m failure_analysis suggest --repo . --rerun make --branch mend-the-build\n"
            "  python -m failure_analysis suggest --repo . --rerun make --model openai/gpt-4.1-mini --out fix.diff\n\n"
            "The repository is only read; edits are tried in a copy. With --model, edits of a model are tried by\n"
            "running the command on them, so use it where you would run a stranger's patch.",
        ),
        Command(
            "feedback",
            "print what failed before as a text for a prompt",
            "failure_analysis.feedback",
            flags.feedback,
            "examples:\n"
            "  python -m failure_analysis feedback\n"
            "  python -m failure_analysis feedback --run seed1 --json\n\n"
            "Episodes of the test split are left out. The same is told to the model that explains failures.",
        ),
        Command(
            "similar",
            "find the stored failures most like a message or a stored failure",
            AGGREGATES,
            flags.similar,
            SIMILAR_EXAMPLES,
        ),
        Command(
            "compare",
            "say which failures were fixed and which introduced from one checkpoint or run to another",
            AGGREGATES,
            flags.compare,
            COMPARE_EXAMPLES,
        ),
        Command(
            "hardest",
            "turn what fails most into a request for more such scenarios",
            "failure_analysis.episodes.hardest",
            flags.hardest,
            HARDEST_EXAMPLES,
        ),
        Command(
            "intervene",
            "replace one tool result or one turn of a stored episode, play on k times, measure what changed",
            "failure_analysis.episodes.intervene_command",
            flags.intervene,
            INTERVENE_EXAMPLES,
        ),
        Command(
            "score",
            "measure the analyzer on labelled failures: category and severity; exit 1 below the bar",
            "failure_analysis.logs.scoring",
            flags.score,
            SCORE_EXAMPLES,
        ),
        Command(
            "repair",
            "put a damaged failures.db aside and capture the runs beside it again",
            "failure_analysis.repair",
            flags.repair,
            REPAIR_EXAMPLES,
        ),
    ),
    ROOM_EXAMPLES,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns 2 for bad use, 1 when a bar is missed, else 0."""
    given = list(sys.argv[1:] if argv is None else argv)
    if given[:1] == ["serve"]:
        print("note: this command has moved; type: python -m dashboard serve", file=sys.stderr)
        return rooms()["dashboard"].main(given)
    return ROOM.main(given)


if __name__ == "__main__":
    sys.exit(main())
