"""Pretraining: the copy circuit, repeated strings, batches, and a whole small run
that is killed and goes on.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from training_service.copy_circuit import install
from training_service.imitation_data import batches, padded, repeats

ROOT = Path(__file__).parents[2]


def new_model(**changes: object) -> LlamaForCausalLM:
    torch.manual_seed(0)
    settings: dict[str, object] = {
        "vocab_size": 320, "hidden_size": 256, "intermediate_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "attention_bias": True, "tie_word_embeddings": True,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e5},
        "attn_implementation": "eager",
    }  # fmt: skip
    return LlamaForCausalLM(LlamaConfig(**(settings | changes)))


def looking(model: LlamaForCausalLM, period: int) -> tuple[float, float]:
    """Mean weight of the first head one position back, and of the second layer's first head where the string
    went on before.
    """
    once = torch.randperm(320)[:period][None]
    with torch.no_grad():
        layers = model(input_ids=once.repeat(1, 3), output_attentions=True).attentions
    return layers[0][0, 0].diagonal(-1).mean().item(), layers[1][0, 0].diagonal(-(period - 1))[
        period:
    ].mean().item()


@pytest.mark.slow
@pytest.mark.parametrize("period", [7, 20, 31])
def test_a_new_model_looks_back_at_how_a_string_went_on(period: int) -> None:
    model = new_model()
    before = looking(model, period)
    install(model)
    after = looking(model, period)
    assert after[0] > 0.9 > 0.3 > before[0]
    assert after[1] > 3 * before[1]


@pytest.mark.parametrize("changes", [{"num_hidden_layers": 1}, {"attention_bias": False}])
def test_a_model_without_room_for_the_circuit_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="needs two layers and attention_bias"):
        install(new_model(**changes))


def test_repeats_say_one_random_string_several_times_and_count_only_the_repetitions() -> None:
    pairs = torch.arange(256)
    periods = set()
    for seed in range(20):
        ids, weights = repeats(pairs, random.Random(seed))
        period = int((weights[0] < 1).sum())
        periods.add(period)
        assert torch.equal(ids[:, period:], ids[:, :-period])
        assert weights[:, period:].min() == 1
        assert all(len(set(row[:period].tolist())) == period for row in ids)
    assert len(periods) > 5


def test_batches_hold_every_document_once_before_any_comes_again() -> None:
    sizes = [random.Random(n).randrange(50, 900) for n in range(300)]
    stream = batches(sizes, 4096, random.Random(0))
    seen: list[int] = []
    while len(seen) < len(sizes):
        batch = next(stream)
        assert len(batch) * padded(max(sizes[n] for n in batch)) <= 4096
        seen += batch
    assert sorted(seen) == list(range(300))


@pytest.mark.slow
def test_pretraining_makes_a_loadable_model_and_goes_on_after_a_kill(tmp_path: Path) -> None:
    def command(tokens: float) -> list[str]:
        return [
            sys.executable, "-m", "training_service", "pretrain",
            "--work", str(tmp_path / "work"), "--out", str(tmp_path / "out"),
            "--count", "12", "--k", "2", "--tokens", str(tokens), "--repeats", "1e4", "--batch-tokens", "512",
            "--questions", "8", "--save-every", "10",
        ]  # fmt: skip

    log, deadline = tmp_path / "work/pretrain.jsonl", time.monotonic() + 900
    with subprocess.Popen(
        command(1e9), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as under_way:
        while not log.exists() or not log.read_text().endswith("\n"):
            if under_way.poll() is not None or time.monotonic() > deadline:
                break
            time.sleep(0.1)
        under_way.kill()
    assert log.exists(), "it ended, or was stuck, before its first checkpoint"
    first = [json.loads(line) for line in log.read_text().splitlines()]
    done = subprocess.run(
        command(first[-1]["tokens"] + 5e3), cwd=ROOT, check=True, capture_output=True, text=True
    )
    again = [json.loads(line) for line in log.read_text().splitlines()]
    assert again[: len(first)] == first
    assert first[-1]["tokens"] < again[-1]["tokens"] < 2 * first[-1]["tokens"]
    assert "chaos generate" not in done.stdout  # what was made is kept
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert sum(p.numel() for p in model.parameters()) < 8_000_000
    assert "sha256" in (tmp_path / "out/README.md").read_text()
