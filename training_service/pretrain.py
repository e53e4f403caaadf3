"""Make `tiny-investigator` from nothing: scenarios, demonstrations, vocabulary, imitation, measurement, card.

    python -m training_service pretrain

Each stage leaves a file in the work folder and is skipped when its file is there, and training continues from
its newest checkpoint, so the command can be killed and called again at any time. The warm start imitates a
deliberately mediocre scripted investigator; reinforcement learning teaches the rest.

Not here: GRPO (`training`). The stages are in `imitation_data`, `imitation` and `model_card`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from core.policies.registry import policy_flag

DEFAULT_OUT = Path(__file__).parent / "weights" / "tiny-investigator"


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add every flag of the command."""
    parser.add_argument(
        "--work",
        type=Path,
        default=Path("runs/pretrain"),
        help="work folder, reused when called again (default runs/pretrain)",
    )
    parser.add_argument(
        "--out", type=Path, default=DEFAULT_OUT, help="folder the finished model is written to"
    )
    parser.add_argument(
        "--count",
        type=int,
        default=4000,
        help="scenarios to generate, none of them shipped (default 4000)",
    )
    parser.add_argument("--k", type=int, default=4, help="demonstrations per scenario (default 4)")
    policy_flag(parser, "whom to imitate", default="script:demonstrator")
    parser.add_argument("--tokens", type=float, default=22e6, help="training tokens in all (default 22e6)")
    parser.add_argument(
        "--repeats", type=float, default=4e5, help="of these first, on repeating random strings (default 4e5)"
    )
    parser.add_argument(
        "--drills", type=float, default=0.5, help="share of documents that are copy drills (default 0.5)"
    )
    parser.add_argument(
        "--disguised",
        type=float,
        default=0.3,
        help="share of episodes whose blamed row gets strange words (default 0.3)",
    )
    parser.add_argument(
        "--batch-tokens", type=int, default=4096, help="tokens per optimiser step (default 4096)"
    )
    parser.add_argument(
        "--learning-rate",
        type=float,
        default=2e-3,
        help="peak learning rate of Muon; AdamW has half of it (default 2e-3)",
    )
    parser.add_argument(
        "--sharpen",
        type=float,
        default=1 / 0.7,
        help="factor on the published model's logits (default 1/0.7)",
    )
    parser.add_argument(
        "--questions", type=int, default=256, help="reports the card counts copied ids in (default 256)"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--threads", type=int, default=0, help="CPU threads at most (default: as many as torch chooses)"
    )
    parser.add_argument(
        "--precision",
        choices=("auto", "float32", "bfloat16"),
        default="auto",
        help="arithmetic; auto times both and takes the faster one (default auto)",
    )
    parser.add_argument(
        "--save-every", type=int, default=100, metavar="STEPS", help="steps between checkpoints (default 100)"
    )


def command(args: argparse.Namespace) -> int:
    """Run every stage that is not done yet."""
    import torch

    from training_service.imitation import Imitation
    from training_service.imitation_data import Packed, conversations, prepare, tool_results
    from training_service.model_card import publish
    from training_service.precision import choose, complaint
    from training_service.vocabulary import load_tokenizer

    args.work.mkdir(parents=True, exist_ok=True)
    packed = prepare(args)
    chosen = choose(args.precision, torch.device("cpu"))
    print(complaint(chosen) or chosen.words(), flush=True)
    tokenizer = load_tokenizer(args.work / "tokenizer")
    model = Imitation(args, tokenizer, chosen.precision).train(Packed(packed, int(tokenizer.pad_token_id)))
    publish(args, model, tokenizer, tool_results(conversations(args.work / "episodes")), chosen)
    return 0
