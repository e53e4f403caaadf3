"""`python -m alignment COMMAND`: cases, pairs, training, adapters, gates and triage.

Only arguments are parsed here; torch is imported by the commands that train or answer.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from alignment import flags
from core.command_line import AddFlags, Command, Room

THE_WAY = """\
from nothing to an adapter in production (docs/alignment.md tells it with its outputs):
  python -m alignment cases && python -m alignment pairs
  python -m alignment sft --name warm --limit 400
  python -m alignment dpo --name judged --start warm@v1 --limit 600
  python -m alignment evaluate --rows base extractive warm@v1 judged@v1 --against warm@v1 --limit 24
  python -m alignment gate judged@v1 --against warm@v1 && python -m alignment adapters promote judged@v1
  python -m alignment triage --adapter production app.log"""
RESUMES = "Training can be killed at any time: the same command goes on from the last saved step."


def _command(
    name: str, about: str, module: str, add_flags: AddFlags, example: str, more: str = ""
) -> Command:
    """Make a command whose help ends with an example of its own."""
    epilog = f"example:\n  python -m alignment {name} {example}".rstrip()
    return Command(name, about, f"alignment.{module}", add_flags, "\n\n".join(filter(None, (epilog, more))))


COMMANDS = (
    _command(
        "cases",
        "make the Explain cases: logs of eight families with their truth",
        "data_commands",
        flags.cases,
        "",
    ),
    _command(
        "pairs", "make preference pairs from cases, or from stored rollouts", "data_commands", flags.pairs, ""
    ),
    _command(
        "check",
        "say what is wrong with a file of preferences, and who agrees with whom",
        "data_commands",
        flags.check,
        "runs/alignment/pairs.jsonl",
    ),
    _command("schema", "print the JSON schema of a preference", "data_commands", flags.nothing, ""),
    _command(
        "export",
        "write pairs as tasks of Label Studio or Argilla",
        "data_commands",
        flags.exchange,
        "--form argilla --out tasks.json runs/alignment/pairs.jsonl",
    ),
    _command(
        "import",
        "read judgements out of Label Studio's or Argilla's export",
        "data_commands",
        flags.exchange,
        "--form argilla --out pairs.jsonl tasks.json",
    ),
    _command(
        "sft",
        "warm start: imitate right answers, or the episodes with the best rewards",
        "train_commands",
        flags.sft,
        "--name warm --limit 200",
        RESUMES,
    ),
    _command(
        "dpo",
        "align with preferences: direct preference optimisation",
        "train_commands",
        flags.dpo,
        "--name judged --start warm@v1",
        RESUMES,
    ),
    _command(
        "sweep",
        "the same DPO with several ways of counting length; says which one to use",
        "sweep_command",
        flags.sweep,
        "--name judged --start warm@v1 --limit 100 --ld-alphas 1 0.5 0 --per-token",
        RESUMES,
    ),
    _command(
        "reward",
        "train a reward model and test it against null baselines",
        "train_commands",
        flags.reward,
        "--name judge --start warm@v1 --limit 800",
        RESUMES,
    ),
    _command(
        "ppo",
        "align with a reward in the loop: proximal policy optimisation",
        "ppo_command",
        flags.ppo,
        "--name rewarded --start warm@v1 --reward judge@v1",
        RESUMES,
    ),
    _command(
        "grpo",
        "the same with groups of answers instead of a value head",
        "grpo_command",
        flags.grpo,
        "--name grouped --start warm@v1 --reward judge@v1",
        RESUMES,
    ),
    _command(
        "evaluate",
        "answer cases with several adapters and compare them in one table",
        "evaluate_command",
        flags.evaluate,
        "--rows base warm@v1 judged@v1 --against warm@v1",
    ),
    _command(
        "report",
        "print the tables of answers that are stored; no row is asked again",
        "evaluate_command",
        flags.report,
        "--against warm@v1",
    ),
    _command(
        "adapters",
        "list, show, promote, roll back, compare or remove adapters; `serve` is a command of its own",
        "adapter_commands",
        flags.registry,
        "promote judged@v1",
    ),
    _command(
        "gate",
        "check an adapter's answers; exit code 1 says why it may not be promoted",
        "adapter_commands",
        flags.gate,
        "judged@v1 --against warm@v1",
    ),
    _command(
        "serve",
        "serve adapters and triage over HTTP, several from one base",
        "serve_command",
        flags.serve,
        "--port 8770 --canary judged@v2",
    ),
    _command(
        "triage",
        "read a log and say what failed, with lines that exist",
        "triage_command",
        flags.triage,
        "--adapter production app.log",
    ),
)

ROOM = Room(
    "alignment",
    "teach a model an engineer's judgement about logs: preferences, reward model, DPO, adapters, gates",
    COMMANDS,
    THE_WAY,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command."""
    return ROOM.main(argv)


if __name__ == "__main__":
    sys.exit(main())
