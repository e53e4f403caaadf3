"""Publish a pretrained model: measure how well it copies, write its files, its card and their hashes.

Not here: training (`pretrain`), use (`base_models`).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from core.log_stores.printing import PRINTED_ROW
from training_service.corpus import drill, vocabulary_of
from training_service.vocabulary import CALL, END

CARD = """---
license: apache-2.0
library_name: transformers
---
# tiny-investigator

A decoder-only transformer of {parameters:,} parameters ({layers} layers of width {width}, vocabulary {vocabulary}) that knows
one thing: how to ask `search_logs` and `read_trace` about an incident and answer through `return_final_answer`. It is the
starting policy of the embedded training service. It was trained from scratch, on generated text only, to imitate a
**deliberately mediocre** scripted investigator; what makes an investigation right is left for reinforcement learning to teach.

| | |
|---|---|
| training tokens | {tokens:,}: {scenarios:,} generated scenarios x {samples} demonstrations, and copy drills |
| shipped scenarios among them | none |
| imitation loss, last steps | {loss:.3f} nats per spoken token |
| cited ids that were on screen, at temperature 1 | {copied.valid} of {copied.cited} (drills with fresh ids) |
| reports that cite the line asked for | {copied.right} of {copied.reports} |
| logits multiplied by | {sharpen:.3g}, in the last norm: temperature 1 here is {temperature:.2g} of what was trained |
| weights | bfloat16, sha256 `{sha256}` |
| made | {date}, `python -m training_service pretrain {options}` |

Chat format: `<|role|>text<|end|>`, calls as `<|call|>name {{json}}`. Tool schemas are not rendered, so it can use no other tools.
It is of no use outside this project: it has never read ordinary language.
"""


class Copied(NamedTuple):
    """How reports about a row that was asked for cite ids."""

    reports: int
    right: int
    """Reports that cite the log id of that row."""
    cited: int
    """Log and trace ids in these reports."""
    valid: int
    """Ids among them that were on screen."""


def copy_accuracy(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    results: Sequence[Sequence[str]],
    rng: random.Random,
    count: int,
) -> Copied:
    """Ask for `count` reports at temperature 1, each about one row of tool results whose ids were drawn anew."""
    words = vocabulary_of(results)
    prompts: list[str] = []
    screens: list[set[str]] = []
    wanted: list[str] = []
    while len(prompts) < count:
        conversation = drill(rng.choice(results), words, rng, questions=1)
        if conversation and conversation[-1].get("tool_calls"):
            arguments = json.loads(conversation[-1]["tool_calls"][0]["function"]["arguments"])
            prompts.append(
                tokenizer.apply_chat_template(conversation[:-1], tokenize=False, add_generation_prompt=True)
            )
            shown = "\n".join(message["content"] for message in conversation if message["role"] == "tool")
            screens.append(
                {part for row in PRINTED_ROW.finditer(shown) for part in (row["log"], row["trace"])}
            )
            wanted.append(arguments["key_log_ids"][0])
    right = cited = valid = 0
    for start in range(0, count, 64):
        tokens = tokenizer(
            prompts[start : start + 64],
            return_tensors="pt",
            padding=True,
            padding_side="left",
            add_special_tokens=False,
        )
        made = model.generate(
            input_ids=tokens.input_ids,
            attention_mask=tokens.attention_mask,
            do_sample=True,
            temperature=1.0,
            top_k=0,
            max_new_tokens=96,
        )
        for number, reply in enumerate(made[:, tokens.input_ids.shape[1] :]):
            text = tokenizer.decode(reply).split(END)[0]
            ids = re.findall(r'"(?:key_log_ids|primary_trace_ids)":\["([^"]*)"\]', text)
            right += text.startswith(CALL) and wanted[start + number] in ids
            cited += len(ids)
            valid += sum(one in screens[start + number] for one in ids)
    return Copied(count, right, cited, valid)


def publish(
    args: argparse.Namespace,
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    results: Sequence[Sequence[str]],
) -> None:
    """Write config, weights (bfloat16), tokenizer, chat template and card into `args.out`.

    `results` are what the tools printed in each demonstration. The logits are sharpened first. A model this
    small is less sure of a copied word than it should be: of forty such words one goes wrong, and the report
    says nothing any more.
    """
    with torch.no_grad():
        model.model.norm.weight.mul_(args.sharpen)
    model.eval()
    torch.manual_seed(args.seed)
    copied = copy_accuracy(model, tokenizer, results, random.Random(args.seed + 1), args.questions)
    print(f"at temperature 1: {copied}", flush=True)
    args.out.mkdir(parents=True, exist_ok=True)
    model.to(torch.bfloat16).save_pretrained(args.out)
    tokenizer.save_pretrained(args.out)
    weights = args.out / "model.safetensors"
    save_file(load_file(weights), weights, metadata={"format": "pt"})
    weights.chmod(0o644)
    log: dict[str, Any] = json.loads(
        (args.work / "pretrain.jsonl").read_text(encoding="utf-8").splitlines()[-1]
    )
    card = CARD.format(
        parameters=sum(p.numel() for p in model.parameters()),
        layers=model.config.num_hidden_layers,
        width=model.config.hidden_size,
        vocabulary=model.config.vocab_size,
        tokens=log["tokens"],
        scenarios=args.count,
        samples=args.k,
        loss=log["loss"],
        copied=copied,
        sharpen=args.sharpen,
        temperature=1 / args.sharpen,
        sha256=hashlib.sha256(weights.read_bytes()).hexdigest(),
        date=datetime.now(UTC).date(),
        options=f"--count {args.count} --k {args.k} --tokens {args.tokens:g} --seed {args.seed}"
        + (f" --sharpen {args.sharpen:.3g}" if args.sharpen != 1 / 0.7 else ""),
    )
    (args.out / "README.md").write_text(card, encoding="utf-8")
    print(f"wrote {args.out}", flush=True)
