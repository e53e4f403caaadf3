"""Publish a pretrained model: measure how well it copies, write its files, its card and their hashes.

Not here: training (`imitation`), the measurement (`copy_accuracy`), use (`base_models`).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from training_service.copy_accuracy import Copied, copy_accuracy
from training_service.imitation import LOG
from training_service.precision import Chosen

WEIGHTS = "model.safetensors"

CARD = """---
license: apache-2.0
library_name: transformers
---
# tiny-investigator

A decoder-only transformer of {parameters:,} parameters ({layers} layers of width {width}, vocabulary \
{vocabulary}) that knows
one thing: how to ask the tools of this project about an incident and answer through `return_final_answer`. \
It is the
starting policy of the embedded training service. It was trained from scratch, on generated text only, to \
imitate a
**deliberately mediocre** scripted investigator; what makes an investigation right is left for \
reinforcement learning to teach.

| | |
|---|---|
| training tokens | {tokens:,}: {scenarios:,} generated scenarios x {samples} demonstrations, and copy \
drills |
| shipped scenarios among them | none |
| imitation loss, last steps | {loss:.3f} nats per spoken token |
| cited ids that were on screen, at temperature 1 | {copied.valid} of {copied.cited} (drills with fresh ids) |
| reports that cite the line asked for | {copied.right} of {copied.reports} |
| logits multiplied by | {sharpen:.3g}, in the last norm: temperature 1 here is {temperature:.2g} of what \
was trained |
| arithmetic of training | {precision} ({chosen}) |
| weights | bfloat16, sha256 `{sha256}` |
| made | {date}, `python -m training_service pretrain {options}` |

Chat format: `<|role|>text<|end|>`, calls as `<|call|>name {{json}}`. Tool schemas are not rendered, so it \
can use no other tools.
It is of no use outside this project: it has never read ordinary language.
"""


def publish(
    args: argparse.Namespace,
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    results: Sequence[Sequence[str]],
    chosen: Chosen,
) -> None:
    """Write config, weights (bfloat16), tokenizer, chat template and card into `args.out`.

    `results` are what the tools printed in each demonstration. `chosen` is the arithmetic of training. The
    logits are sharpened first. A model this small is less sure of a copied word than it should be: of forty
    such words one goes wrong, and the report says nothing any more.
    """
    with torch.no_grad():
        model.model.norm.weight.mul_(args.sharpen)
    model.eval()
    torch.manual_seed(args.seed)
    copied = copy_accuracy(model, tokenizer, results, random.Random(args.seed + 1), args.questions)
    print(f"at temperature 1: {copied}", flush=True)
    args.out.mkdir(parents=True, exist_ok=True)
    _write_model(args.out, model, tokenizer)
    (args.out / "README.md").write_text(_card(args, model, copied, chosen), encoding="utf-8")
    print(f"wrote {args.out}", flush=True)


def _write_model(folder: Path, model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    """Write weights, config and tokenizer, the weights without what differs from machine to machine."""
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    weights = folder / WEIGHTS
    save_file(load_file(weights), weights, metadata={"format": "pt"})
    weights.chmod(0o644)


def _card(args: argparse.Namespace, model: LlamaForCausalLM, copied: Copied, chosen: Chosen) -> str:
    """Return the text of the model card."""
    log = [json.loads(line) for line in (args.work / LOG).read_bytes().splitlines()]
    used = dict.fromkeys(line.get("precision", "bfloat16") for line in log)  # each once, in order
    options = f"--count {args.count} --k {args.k} --tokens {args.tokens:g} --seed {args.seed}"
    if args.sharpen != 1 / 0.7:
        options += f" --sharpen {args.sharpen:.3g}"
    return CARD.format(
        parameters=sum(p.numel() for p in model.parameters()),
        layers=model.config.num_hidden_layers,
        width=model.config.hidden_size,
        vocabulary=model.config.vocab_size,
        tokens=log[-1]["tokens"],
        scenarios=args.count,
        samples=args.k,
        loss=log[-1]["loss"],
        precision=", then ".join(used),
        chosen=chosen.words(),
        copied=copied,
        sharpen=args.sharpen,
        temperature=1 / args.sharpen,
        sha256=hashlib.sha256((args.out / WEIGHTS).read_bytes()).hexdigest(),
        date=datetime.now(UTC).date(),
        options=options,
    )
