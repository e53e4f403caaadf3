"""What the engine makes of a real model: episodes at once, against `generate` with static batches.

32 episodes of six turns on SmolLM2, eight of them about the same question. Both sides write the same turns on
the same cores: the prompts are those of the engine's episodes, and a static batch writes as many tokens as
its longest reply. The ratio is that of new tokens a second. HTTP is left out. Not here: a random model of the
shipped shape, gradient steps and memory (`engine`).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))  # `python benchmarks/generation.py` works too
import training_service  # isort: skip  # noqa: F401 - sets what torch reads when it is imported

from transformers.utils import logging

from benchmarks.engine import generation, write_model
from training_service.base_models import Base, locate, pick_device

BAR = 3.0
"""Lowest ratio of tokens a second."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the measurement; 1 when the bar is missed."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.generation",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--base-model", default="smollm2", metavar="NAME", help="default %(default)s")
    parser.add_argument("--episodes", type=int, default=32, help="at once (default %(default)s)")
    parser.add_argument("--turns", type=int, default=6, help="replies per episode (default %(default)s)")
    parser.add_argument("--quick", action="store_true", help="4 episodes of 2 turns on a tiny random model")
    arguments = parser.parse_args(argv)
    logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as place:
        checkpoint = Path(place) / "step-0"
        checkpoint.mkdir()
        if arguments.quick:
            ours, plain = generation(write_model(Path(place) / "model"), checkpoint, 4, 2)
        else:
            ((name, folder),) = locate([arguments.base_model]).items()
            base = Base(name, folder, pick_device("auto"))
            ours, plain = generation(base, checkpoint, arguments.episodes, arguments.turns)
    ratio = plain.wall_s / ours.wall_s
    print(f"ratio={ratio:.2f} bar={BAR}")
    return int(ratio < BAR)


if __name__ == "__main__":
    sys.exit(main())
