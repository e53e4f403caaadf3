"""Our DPO loss is TRL's on the same batch, for each way of counting length that both have."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer, LlamaForCausalLM

from training_service.base_models import Base
from training_service.examples import pair
from training_service.objectives import Prefer, referred

pytestmark = pytest.mark.slow
CPU = torch.device("cpu")
ROWS = [
    ("checkout is failing", "orders failed: deadline 3000 ms exceeded", "the quick brown fox"),
    ("orders are slow", "call to ledger failed", "the lazy dog jumps over the quick brown fox"),
]


@pytest.mark.parametrize("ld_alpha", [None, 0.4], ids=["sum", "ld"])
def test_the_loss_is_that_of_trl(base: Base, tmp_path: Path, ld_alpha: float | None) -> None:
    plain = LlamaForCausalLM.from_pretrained(base.folder)
    reference = copy.deepcopy(plain)
    with torch.no_grad():
        for parameter in reference.parameters():
            parameter.mul_(0.95)
    theirs = trl_loss(base, plain, reference, tmp_path, ld_alpha)
    rows = [{"messages": [{"role": "user", "content": q}], "chosen": c, "rejected": r} for q, c, r in ROWS]
    pairs = [pair(base.chat, row) for row in rows]
    scaled = Base("random", base.folder, CPU)
    with torch.no_grad():
        for parameter in scaled.model.parameters():
            parameter.mul_(0.95)
        known = referred(scaled.model, pairs, CPU, "float32")
        loss, _ = Prefer(CPU, beta=0.3, ld_alpha=1.0 if ld_alpha is None else ld_alpha).loss(
            base.model, known
        )
    assert float(loss) / len(pairs) == pytest.approx(theirs, rel=1e-3)


def trl_loss(base: Base, model: Any, reference: Any, place: Path, ld_alpha: float | None) -> float:
    """The loss that TRL's own trainer computes, through its public interface."""
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    rows = []
    for question, chosen, rejected in ROWS:
        prompt = base.chat.render([{"role": "user", "content": question}], [], reply=True)
        rows.append({"prompt": prompt, "chosen": chosen, "rejected": rejected})
    config = DPOConfig(
        output_dir=str(place),
        beta=0.3,
        ld_alpha=ld_alpha,
        per_device_train_batch_size=len(ROWS),
        use_cpu=True,
        bf16=False,
        report_to=[],
        disable_dropout=True,
        max_length=None,
    )
    tokenizer = AutoTokenizer.from_pretrained(base.folder)
    trainer = DPOTrainer(
        model=model,
        ref_model=reference,
        args=config,
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
    )
    batch = next(iter(trainer.get_train_dataloader()))
    with torch.no_grad():
        return float(trainer.compute_loss(trainer.model, batch))
