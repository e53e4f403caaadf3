"""One update of GRPO on 64 stored trajectories: ours against TRL's loss and optimiser.

    python -m benchmarks.grpo_step

Both start from the same weights, in the same precision, and take one step of AdamW on the same tokens with
CISPO: eight groups of eight, stored in `trajectories.jsonl`. TRL computes its loss, its gradient, its
clipping and its optimiser step (`GRPOTrainer`, micro-batches of eight, padded); generating, rewarding and
logging are left out on both sides. Each side runs in a process of its own, so that its peak memory is its
own. Not here: forward and backward against plain transformers (`gradient_step`).
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))  # `python benchmarks/grpo_step.py` works too
import training_service  # isort: skip  # noqa: F401 - sets what torch reads when it is imported

import torch
from torch.nn.utils.rnn import pad_sequence

from benchmarks.gradient_step import MODEL, ROWS, ours, stored_groups, timed
from training_service.base_models import Base
from training_service.sequences import TokenSequence, batch_of

BAR = 1.5
"""Lowest ratio of TRL's time to ours."""
Columns = dict[str, torch.Tensor]


def sequences_of(groups: int | None) -> list[TokenSequence]:
    """Return what the first groups become for training."""
    return batch_of(stored_groups(groups)).sequences


def our_side(sequences: Sequence[TokenSequence]) -> Any:
    """Return what takes one step as the service does."""
    base = Base("tiny", MODEL, torch.device("cpu"))
    return lambda: ours(base, sequences, "float32")


def trl_side(sequences: Sequence[TokenSequence]) -> Any:
    """Return what takes one step with TRL's loss and optimiser."""
    import tempfile

    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import GRPOConfig, GRPOTrainer

    batches = [columns(sequences[start : start + ROWS]) for start in range(0, len(sequences), ROWS)]
    arguments = GRPOConfig(
        output_dir=tempfile.mkdtemp(),
        per_device_train_batch_size=ROWS,
        gradient_accumulation_steps=len(batches),
        num_generations=ROWS,
        loss_type="cispo",
        epsilon_high=5.0,
        beta=0.0,
        learning_rate=1e-9,
        adam_beta2=0.99,
        max_grad_norm=1.0,
        gradient_checkpointing=False,
        bf16=False,
        use_cpu=True,
        report_to="none",
    )
    trainer = GRPOTrainer(
        AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32),
        reward_funcs=lambda completions, **_: [0.0] * len(completions),
        train_dataset=Dataset.from_list([{"prompt": "unused"}]),
        processing_class=AutoTokenizer.from_pretrained(MODEL),
        args=arguments,
    )
    trainer.create_optimizer()
    trainer.current_gradient_accumulation_steps = len(batches)
    sampled = torch.tensor(float(sum(sequence.sampled_count for sequence in sequences)))

    def step() -> None:
        trainer.model.train()
        trainer.optimizer.zero_grad()
        for batch in batches:
            loss = trainer._compute_loss(trainer.model, {**batch, "num_items_in_batch": sampled})
            loss.backward()
        torch.nn.utils.clip_grad_norm_(trainer.model.parameters(), arguments.max_grad_norm)
        trainer.optimizer.step()

    return step


def columns(batch: Sequence[TokenSequence]) -> Columns:
    """Return a padded micro-batch as TRL takes it: the prompt ends where the first reply begins."""
    starts = [sequence.scored_places()[0] for sequence in batch]
    prompts = [torch.tensor(sequence.tokens[:start]) for sequence, start in zip(batch, starts, strict=True)]
    rest = [torch.tensor(sequence.tokens[start:]) for sequence, start in zip(batch, starts, strict=True)]
    written = [torch.tensor(sequence.sampled[start:]) for sequence, start in zip(batch, starts, strict=True)]
    return {
        "prompt_ids": pad_sequence(prompts, batch_first=True, padding_side="left"),
        "prompt_mask": pad_sequence([torch.ones_like(one) for one in prompts], True, padding_side="left"),
        "completion_ids": pad_sequence(rest, batch_first=True),
        "completion_mask": pad_sequence([torch.ones_like(one) for one in rest], batch_first=True),
        "tool_mask": pad_sequence([one.long() for one in written], batch_first=True),
        "advantages": torch.tensor([sequence.advantage for sequence in batch]),
    }


def one_side(side: str, groups: int | None, rounds: int) -> dict[str, float]:
    """Measure one side in this process: its best round, and the peak of its memory."""
    sequences = sequences_of(groups)
    step = our_side(sequences) if side == "ours" else trl_side(sequences)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    best = min((timed(step)[1] for _ in range(rounds)), key=lambda took: took.cpu_s)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tokens = sum(len(sequence.tokens) for sequence in sequences)
    memory = {"peak_mib": peak / 1024, "step_mib": (peak - before) / 1024}
    return {
        "sequences": len(sequences),
        "tokens": tokens,
        "wall_s": best.wall_s,
        "cpu_s": best.cpu_s,
    } | memory


def in_own_process(side: str, groups: int | None, rounds: int) -> dict[str, float]:
    """Measure one side in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.grpo_step", "--side", side, "--rounds", str(rounds)]
    command += ["--groups", str(groups)] if groups else []
    done = subprocess.run(
        command, cwd=Path(__file__).parent.parent, stdout=subprocess.PIPE, text=True, check=True
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Run the measurement; 1 when the bar is missed."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.grpo_step",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--side", choices=["ours", "trl"], help="measure one side, in this process; prints JSON"
    )
    parser.add_argument("--groups", type=int, help="only the first groups of eight")
    parser.add_argument("--rounds", type=int, default=3, help="the best counts (default %(default)s)")
    parser.add_argument("--quick", action="store_true", help="one group, once")
    arguments = parser.parse_args(argv)
    groups, rounds = (1, 1) if arguments.quick else (arguments.groups, arguments.rounds)
    if arguments.side:
        print(json.dumps(one_side(arguments.side, groups, rounds)))
        return 0
    found = {side: in_own_process(side, groups, rounds) for side in ("ours", "trl")}
    for side, took in found.items():
        print(
            f"{side:<5} {took['sequences']} sequences, {took['tokens']} tokens  {took['wall_s']:7.2f} s  "
            f"{took['cpu_s']:7.2f} CPU s  peak {took['peak_mib']:6.0f} MiB, {took['step_mib']:6.0f} MiB of it for the step"
        )
    ratio = found["trl"]["cpu_s"] / found["ours"]["cpu_s"]
    print(f"ratio={ratio:.2f} bar={BAR}")
    return int(ratio < BAR)


if __name__ == "__main__":
    sys.exit(main())
