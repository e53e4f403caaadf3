"""A random model small enough for tests: Hugging Face layout, the shipped chat format, made in a second, the
same each time.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from transformers import LlamaConfig, LlamaForCausalLM

from training_service.base_models import Base
from training_service.vocabulary import END, SPECIAL_TOKENS, build_tokenizer

TEXTS = (
    "31 lines in 7 kinds match (service=orders, level>=WARN), 3 shown, more: cursor=3",
    "14:05:33 ERROR orders x14 call to ledger failed: deadline 3000 ms exceeded trace 9bc1 log 3fa2",
    'search_logs {"keywords": "timeout", "service": "checkout"} read_trace {"trace_id": "9bc1"}',
    "checkout is failing since about 14:05. the quick brown fox jumps over the lazy dog",
)

TOOLS: list[dict[str, Any]] = [
    {
        "type": "function",
        "function": {
            "name": "search_logs",
            "description": "Search.",
            "parameters": {"type": "object", "properties": {"keywords": {"type": "string"}}},
        },
    }
]


def write_random_model(folder: Path, seed: int = 0, context: int = 512, layers: int = 2) -> Path:
    """Write a random Llama with a tokenizer of the shipped format; every token has about the same
    probability.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = build_tokenizer(TEXTS)
    tokenizer.save_pretrained(folder)
    settings = folder / "tokenizer_config.json"
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"call_format": "investigator"}))
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab_size(),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=context,
        tie_word_embeddings=True,
        eos_token_id=SPECIAL_TOKENS.index(END),
        bos_token_id=None,
        initializer_range=0.08,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def random_base(folder: Path, **options: Any) -> Base:
    """The model, loaded on the CPU."""
    return Base("random", write_random_model(folder), torch.device("cpu"), **options)
