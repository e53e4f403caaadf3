"""Runs ART's own loss and packing on numbers from standard input. A process of its own: ART must not meet a
running transformers.

Input: a list of cases, each `{"kind": "loss" | "pack", ...}`; output: a list of results, in order. Knows
nothing of this project.
"""

from __future__ import annotations

import json
import sys
from typing import Any

Json = dict[str, Any]


def loss(case: Json) -> Json:
    """ART's loss of one packed row, and its gradient by the new log-probabilities of the sampled tokens."""
    import torch
    from art.loss import loss_fn

    mask = torch.tensor([case["sampled"]])
    new = torch.nn.functional.pad(torch.tensor([case["new"]])[:, 1:], (0, 1)).requires_grad_(True)
    base = case.get("base")
    shifted = None if base is None else torch.nn.functional.pad(torch.tensor([base])[:, 1:], (0, 1))
    inputs = {
        "logprobs": torch.tensor([[float("nan") if value is None else value for value in case["old"]]]),
        "advantages": torch.tensor([case["advantages"]]),
        "weights": torch.tensor([case["weights"]]),
        "assistant_mask": mask,
        "group_ids": torch.tensor([case["sequence"]]) + 1,
    }
    if case["config"].get("truncated_importance_sampling"):
        sampler = [float("nan") if value is None else value for value in case["sampler"]]
        inputs["original_logprobs"] = torch.tensor([sampler])
    result = loss_fn(inputs, new, shifted, None, case["config"])
    result.policy_loss.backward()
    assert new.grad is not None
    gradient = torch.nn.functional.pad(new.grad, (1, 0))[:, :-1][mask]
    to_base = None if result.kl_policy_ref is None else float(result.kl_policy_ref)
    return {
        "loss": float(result.policy_loss.detach()),
        "gradient": gradient.tolist(),
        "kl_policy_ref": to_base,
    }


def pack(case: Json) -> Json:
    """Advantages and weights of sampled tokens after ART's packing, sorted: it shuffles rows."""
    import math

    from art.preprocessing.pack import packed_tensors_from_tokenized_results
    from art.preprocessing.tokenize import TokenizedResult

    results = [
        TokenizedResult(
            advantage=row["advantage"],
            chat="",
            token_ids=row["tokens"],
            input_pos=list(range(len(row["tokens"]))),
            assistant_mask=[int(flag) for flag in row["sampled"]],
            logprobs=[-1.0 if flag else math.nan for flag in row["sampled"]],
            pixel_values=None,
            image_grid_thw=None,
            trajectory=None,
            choice_offsets=[],
            extra_logprobs={},
            _tokenizer=None,
            weight=row["weight"],
            prompt_id=number,
        )
        for number, row in enumerate(case["rows"])
    ]
    packed = packed_tensors_from_tokenized_results(
        results, 64, advantage_balance=case["balance"], verbosity=0
    )
    mask = packed["assistant_mask"]
    pairs = zip(packed["advantages"][mask].tolist(), packed["weights"][mask].tolist(), strict=True)
    return {"pairs": sorted(pairs)}


def main() -> None:
    """Read, compute, write."""
    cases = json.load(sys.stdin)
    results = [loss(case) if case["kind"] == "loss" else pack(case) for case in cases]
    sys.stdout.write("\n" + json.dumps(results))


if __name__ == "__main__":
    main()
