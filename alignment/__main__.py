"""`python -m alignment COMMAND`: cases, pairs, training, adapters, gates and triage.

Only arguments are parsed here; torch is imported by the commands that train or answer.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from alignment import flags
from core.command_line import Command, Room

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
  python -m alignment sweep --name judged --start warm@v1 --limit 100 --ld-alphas 1 0.5 0 --per-token
  python -m alignment ppo --name rewarded --start warm@v1 --reward judge@v1
  python -m alignment grpo --name grouped --start warm@v1 --reward judge@v1
  python -m alignment evaluate --rows base warm@v1 judged@v1 --against warm@v1
  python -m alignment report --against warm@v1
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
            flags.cases,
            EXAMPLES,
        ),
        Command(
            "pairs",
            "make preference pairs from cases, or from stored rollouts",
            "alignment.data_commands",
            flags.pairs,
            EXAMPLES,
        ),
        Command(
            "check",
            "say what is wrong with a file of preferences, and who agrees with whom",
            "alignment.data_commands",
            flags.check,
            EXAMPLES,
        ),
        Command(
            "schema",
            "print the JSON schema of a preference",
            "alignment.data_commands",
            flags.nothing,
            EXAMPLES,
        ),
        Command(
            "export",
            "write pairs as tasks of Label Studio or Argilla",
            "alignment.data_commands",
            flags.exchange,
            EXAMPLES,
        ),
        Command(
            "import",
            "read judgements out of Label Studio's or Argilla's export",
            "alignment.data_commands",
            flags.exchange,
            EXAMPLES,
        ),
        Command(
            "sft",
            "warm start: imitate right answers, or the episodes with the best rewards",
            "alignment.train_commands",
            flags.sft,
            EXAMPLES,
        ),
        Command(
            "dpo",
            "align with preferences: direct preference optimisation",
            "alignment.train_commands",
            flags.dpo,
            EXAMPLES,
        ),
        Command(
            "sweep",
            "the same DPO with several ways of counting length; says which one to use",
            "alignment.sweep_command",
            flags.sweep,
            EXAMPLES,
        ),
        Command(
            "reward",
            "train a reward model and test it against null baselines",
            "alignment.train_commands",
            flags.reward,
            EXAMPLES,
        ),
        Command(
            "ppo",
            "align with a reward in the loop: proximal policy optimisation",
            "alignment.ppo_command",
            flags.ppo,
            EXAMPLES,
        ),
        Command(
            "grpo",
            "the same with groups of answers instead of a value head",
            "alignment.grpo_command",
            flags.grpo,
            EXAMPLES,
        ),
        Command(
            "evaluate",
            "answer cases with several adapters and compare them in one table",
            "alignment.evaluate_command",
            flags.evaluate,
            EXAMPLES,
        ),
        Command(
            "report",
            "print the tables of answers that are stored; no model is asked",
            "alignment.evaluate_command",
            flags.report,
            EXAMPLES,
        ),
        Command(
            "adapters",
            "list, show, promote, roll back, compare or remove adapters",
            "alignment.adapter_commands",
            flags.registry,
            EXAMPLES,
        ),
        Command(
            "gate",
            "check an adapter's answers; exit code 1 says why it may not be promoted",
            "alignment.adapter_commands",
            flags.gate,
            EXAMPLES,
        ),
        Command(
            "serve",
            "serve adapters and triage over HTTP, several from one base",
            "alignment.serve_command",
            flags.serve,
            EXAMPLES,
        ),
        Command(
            "triage",
            "read a log and say what failed, with lines that exist",
            "alignment.triage_command",
            flags.triage,
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
