"""Our losses of DPO and of reward models are TRL's on the same batch, through TRL's own trainers."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer, LlamaForCausalLM, LlamaForSequenceClassification

from training_service.base_models import Base
from training_service.examples import pair
from training_service.heads import Rank, ScalarModel
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
    pairs = [pair(base.chat, row) for row in conversations()]
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


def test_the_loss_of_a_reward_model_is_that_of_trl(base: Base, tmp_path: Path) -> None:
    theirs = LlamaForSequenceClassification.from_pretrained(base.folder, num_labels=1)
    theirs.config.pad_token_id = AutoTokenizer.from_pretrained(base.folder).pad_token_id
    ours = ScalarModel(base.model, CPU)
    with torch.no_grad():
        ours.head.weight.copy_(theirs.score.weight.normal_(0, 1, generator=torch.Generator().manual_seed(0)))
        loss, seen = Rank().loss(ours, [pair(base.chat, row) for row in conversations()])
    assert float(loss) / len(ROWS) == pytest.approx(trl_reward_loss(base, theirs, tmp_path), rel=1e-3)
    assert abs(seen["margin"]) > 1e-3, "a margin of 0 would compare nothing"


def conversations() -> list[dict[str, Any]]:
    """The pairs as our jobs take them."""
    return [{"messages": [{"role": "user", "content": q}], "chosen": c, "rejected": r} for q, c, r in ROWS]


def trl_reward_loss(base: Base, model: Any, place: Path) -> float:
    """The loss that TRL's RewardTrainer computes on the same conversations."""
    from datasets import Dataset
    from trl import RewardConfig, RewardTrainer

    rows = []
    for row in conversations():
        said = {
            key: base.chat.render(
                [*row["messages"], {"role": "assistant", "content": row[key]}], [], reply=False
            )
            for key in ("chosen", "rejected")
        }
        rows.append({key: text.rstrip() for key, text in said.items()})
    config = RewardConfig(
        output_dir=str(place),
        per_device_train_batch_size=len(ROWS),
        use_cpu=True,
        bf16=False,
        report_to=[],
        disable_dropout=True,
        max_length=None,
    )
    trainer = RewardTrainer(
        model=model,
        args=config,
        train_dataset=Dataset.from_list(rows),
        processing_class=AutoTokenizer.from_pretrained(base.folder),
    )
    batch = next(iter(trainer.get_train_dataloader()))
    with torch.no_grad():
        return float(trainer.compute_loss(trainer.model, batch))
