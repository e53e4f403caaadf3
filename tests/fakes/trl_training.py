"""A program for tests: TRL's GRPOTrainer takes two steps with tiny-investigator in our environment.

python -m tests.fakes.trl_training FOLDER DATABASE OUT
"""

from __future__ import annotations

import json
import sys

from log_investigator_env.investigations import Investigations
from log_investigator_env.trl_environment import TINY_RESPONSES, environment_class, investigation, prompts


def main(folder: str, database: str, out: str) -> None:
    """Train and print what TRL logged."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import GRPOConfig, GRPOTrainer

    base = "training_service/weights/tiny-investigator"
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.response_template = dict(TINY_RESPONSES)
    of = Investigations.open(folder, database, "embedded", max_turns=3)
    trainer = GRPOTrainer(
        AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32),
        reward_funcs=investigation,
        train_dataset=prompts(of),
        processing_class=tokenizer,
        environment_factory=environment_class(of),
        args=GRPOConfig(
            output_dir=out,
            max_steps=2,
            per_device_train_batch_size=2,
            num_generations=2,
            max_completion_length=160,
            max_tool_calling_iterations=3,
            logging_steps=1,
            report_to="none",
            use_cpu=True,
            save_strategy="no",
        ),
    )
    trainer.train()
    trainer.save_model(f"{out}/model")
    print(json.dumps(trainer.state.log_history))


if __name__ == "__main__":
    main(*sys.argv[1:])
