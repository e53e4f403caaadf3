"""Batched generation writes what each sequence would have been on its own, reuses what it has computed, and
never hangs.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future, wait
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    PretrainedConfig,
    Qwen2Config,
    Qwen3Config,
)

from training_service import ragged_attention
from training_service.base_models import Base
from training_service.engine import RequestError
from training_service.generation import Generator, Job, Stop, Written
from training_service.kv_cache import Arena
from training_service.prefix_tree import Tokens, TokenTree, tree_logits
from training_service.sampling import Sampling, draw

PROMPTS = [[5, 9, 200, 31, 77], [5, 9, 200], [300] * 40, list(range(10, 150)), [8]]
NEVER = frozenset[int]()
Open = Callable[..., Generator]


@pytest.fixture
def open_generator(base: Base) -> Iterator[Open]:
    opened: list[Generator] = []

    def start(slots: int = 8, load: Callable[[str], nn.Module] | None = None) -> Generator:
        arena = Arena(base.model.config, slots, base.context, torch.float32, base.device)
        opened.append(Generator(arena, load or (lambda _: base.model), base.device))
        return opened[-1]

    yield start
    for generator in opened:
        generator.close()


def tokens(prompt: list[int]) -> Tokens:
    return np.array(prompt, dtype=np.int32)


def job(
    prompt: list[int],
    seed: int = 0,
    limit: int = 12,
    temperature: float = 1.0,
    checkpoint: str = "a",
    stop: Stop | None = None,
) -> Job:
    return Job(checkpoint, tokens(prompt), limit, Sampling.seeded(temperature, 1.0, seed, 0), NEVER, stop)


def results(futures: list[Future[Written]]) -> list[Written]:
    return [future.result(timeout=60) for future in futures]


def test_greedy_tokens_are_those_of_transformers_own_generate(base: Base, open_generator: Open) -> None:
    plain = LlamaForCausalLM.from_pretrained(base.folder)
    generator = open_generator()
    written = results([generator.submit(job(prompt, temperature=0)) for prompt in PROMPTS])
    for prompt, reply in zip(PROMPTS, written, strict=True):
        inputs = torch.tensor([prompt])
        expected = plain.generate(
            inputs,
            attention_mask=torch.ones_like(inputs),
            max_new_tokens=12,
            do_sample=False,
            eos_token_id=None,
            pad_token_id=0,
        )
        assert reply.tokens == expected[0, len(prompt) :].tolist()


def test_the_same_seed_gives_the_same_tokens_alone_and_in_a_batch(open_generator: Open) -> None:
    alone = [open_generator().submit(job(prompt, seed)).result(60) for seed, prompt in enumerate(PROMPTS)]
    generator = open_generator(16)
    together = results([generator.submit(job(prompt, seed)) for seed, prompt in enumerate(PROMPTS)])
    assert [reply.tokens for reply in together] == [reply.tokens for reply in alone]
    assert len({tuple(reply.tokens) for reply in together}) == len(PROMPTS)


def test_another_seed_gives_other_tokens(open_generator: Open) -> None:
    generator = open_generator()
    one, other = results([generator.submit(job(PROMPTS[0], seed)) for seed in (1, 2)])
    assert one.tokens != other.tokens


def test_logprobs_are_those_of_a_forward_over_the_whole_sequence(base: Base, open_generator: Open) -> None:
    generator = open_generator(3)  # fewer slots than sequences: some wait, some take over a used slot
    futures = [generator.submit(job(prompt, seed, limit=20)) for seed, prompt in enumerate(PROMPTS)]
    for prompt, reply in zip(PROMPTS, results(futures), strict=True):
        with torch.inference_mode():
            logits = tree_logits(base.model, TokenTree([tokens(prompt + reply.tokens)]), base.device)
        exact = logits.log_softmax(-1)[len(prompt) - 1 : -1].gather(-1, torch.tensor(reply.tokens)[:, None])[
            :, 0
        ]
        assert reply.logprobs == pytest.approx(exact.tolist(), abs=1e-4)


def test_the_next_turn_computes_only_what_is_new(open_generator: Open) -> None:
    generator = open_generator()
    first = generator.submit(job(PROMPTS[3], limit=10)).result(60)
    before = generator.tokens_computed
    longer = [*PROMPTS[3], *first.tokens, 7, 8, 9]
    second = generator.submit(job(longer, limit=1)).result(60)
    assert generator.tokens_computed - before == 4  # the last sampled token and the three new ones
    assert second.tokens == open_generator().submit(job(longer, limit=1)).result(60).tokens


def test_a_group_computes_its_common_prompt_once(open_generator: Open) -> None:
    generator = open_generator(8)
    results([generator.submit(job(PROMPTS[3], seed, limit=1)) for seed in range(8)])
    assert generator.tokens_computed <= len(PROMPTS[3]) + 7


def test_another_checkpoint_never_reuses_what_this_one_computed(base: Base, open_generator: Open) -> None:
    changed = LlamaForCausalLM(base.model.config).eval()
    models = {"a": base.model, "b": changed}
    generator = open_generator(8, lambda name: models[name])
    results([generator.submit(job(PROMPTS[3], checkpoint="a"))])
    mixed = results([generator.submit(job(PROMPTS[3], checkpoint=name, limit=5)) for name in ("b", "a")])
    alone = (
        open_generator(8, lambda name: models[name])
        .submit(job(PROMPTS[3], checkpoint="b", limit=5))
        .result(60)
    )
    assert mixed[0].tokens == alone.tokens
    assert mixed[0].tokens != mixed[1].tokens


def test_more_sequences_than_slots_all_end(open_generator: Open) -> None:
    generator = open_generator(2)
    written = results([generator.submit(job(PROMPTS[seed % 5], seed, limit=3)) for seed in range(20)])
    assert [len(reply.tokens) for reply in written] == [3] * 20


def test_no_more_sequences_run_at_once_than_allowed(base: Base) -> None:
    arena = Arena(base.model.config, 8, base.context, torch.float32, base.device)
    most = 0

    def load(_: str) -> nn.Module:
        nonlocal most
        most = max(most, sum(slot.busy for slot in arena.slots))
        return base.model  # type: ignore[no-any-return]

    generator = Generator(arena, load, base.device, together=3)
    written = results([generator.submit(job(PROMPTS[seed % 5], seed, limit=4)) for seed in range(12)])
    generator.close()
    assert [len(reply.tokens) for reply in written] == [4] * 12
    assert most == 3


def test_an_end_token_ends_the_sequence_and_is_kept(open_generator: Open) -> None:
    generator = open_generator()
    free = generator.submit(job(PROMPTS[0], limit=6)).result(60)
    stopped = job(PROMPTS[0], limit=6)
    stopped.end_tokens = frozenset({free.tokens[2]})
    reply = generator.submit(stopped).result(60)
    assert reply.tokens == free.tokens[: free.tokens.index(free.tokens[2]) + 1]
    assert reply.ended
    assert not free.ended


def test_a_stop_condition_sees_every_token(open_generator: Open) -> None:
    reply = (
        open_generator().submit(job(PROMPTS[0], limit=50, stop=lambda written: len(written) == 4)).result(60)
    )
    assert len(reply.tokens) == 4
    assert reply.ended


def test_a_cancelled_sequence_makes_room(open_generator: Open) -> None:
    generator = open_generator(1)
    started = threading.Event()

    def stop(_: object) -> bool:
        started.set()
        return False

    endless = generator.submit(job(PROMPTS[4], limit=500, stop=stop))
    assert started.wait(30)
    endless.cancel()
    assert len(generator.submit(job(PROMPTS[0], limit=2)).result(60).tokens) == 2
    with pytest.raises(CancelledError):
        endless.result(1)


def test_a_checkpoint_that_cannot_be_loaded_fails_its_own_requests_only(
    base: Base, open_generator: Open
) -> None:
    def load(name: str) -> nn.Module:
        if name == "broken":
            raise RequestError(500, "cannot be read")
        return base.model  # type: ignore[no-any-return]

    generator = open_generator(8, load)
    broken, fine = generator.submit(job(PROMPTS[0], checkpoint="broken")), generator.submit(job(PROMPTS[1]))
    with pytest.raises(RequestError, match="cannot be read"):
        broken.result(60)
    assert len(fine.result(60).tokens) == 12


def test_weights_that_have_diverged_fail_the_request_and_not_the_service(
    base: Base, open_generator: Open
) -> None:
    broken = LlamaForCausalLM(base.model.config).eval()
    torch.nn.init.constant_(broken.model.norm.weight, float("nan"))
    generator = open_generator(8, lambda name: broken if name == "broken" else base.model)
    with pytest.raises(FloatingPointError, match="has diverged"):
        generator.submit(job(PROMPTS[0], checkpoint="broken")).result(60)
    assert len(generator.submit(job(PROMPTS[0])).result(60).tokens) == 12


def test_closing_ends_every_future(open_generator: Open) -> None:
    generator = open_generator(1)
    futures = [generator.submit(job(PROMPTS[4], limit=400)) for _ in range(3)]
    generator.close()
    assert not wait(futures, timeout=30).not_done
    with pytest.raises(RuntimeError, match="closed"):
        generator.submit(job(PROMPTS[0]))


LOGITS = torch.tensor([[2.0, 1.0, 0.0, -1.0]])


def ways(count: int, temperature: float = 1.0, top_p: float = 1.0) -> list[Sampling]:
    return [Sampling.seeded(temperature, top_p, seed, 0) for seed in range(count)]


def test_tokens_are_drawn_with_the_probabilities_of_the_model() -> None:
    drawn, _ = draw(LOGITS.expand(4_000, -1), ways(4_000))
    shares = np.bincount(drawn, minlength=4) / 4_000
    assert shares == pytest.approx(LOGITS.softmax(-1)[0].tolist(), abs=0.03)


def test_temperature_sharpens_the_draw_but_not_the_logprob() -> None:
    drawn, logprobs = draw(LOGITS.expand(2_000, -1), ways(2_000, temperature=0.5))
    shares = np.bincount(drawn, minlength=4) / 2_000
    assert shares == pytest.approx((LOGITS / 0.5).softmax(-1)[0].tolist(), abs=0.03)
    assert logprobs[0] == pytest.approx(float(LOGITS.log_softmax(-1)[0, drawn[0]]))


@pytest.mark.parametrize(("top_p", "allowed"), [(0.5, {0}), (0.7, {0, 1}), (1e-9, {0}), (1.0, {0, 1, 2, 3})])
def test_a_nucleus_holds_the_likeliest_tokens_that_reach_it(top_p: float, allowed: set[int]) -> None:
    drawn, _ = draw(LOGITS.expand(800, -1), ways(800, top_p=top_p))
    assert set(drawn) == allowed


def test_greedy_and_sampled_rows_can_share_a_batch() -> None:
    mixed = [Sampling.seeded(0.0, 1.0, 1, 0), *ways(200)]
    drawn, _ = draw(LOGITS.expand(201, -1), mixed)
    assert drawn[0] == 0
    assert drawn[1:] == draw(LOGITS.expand(200, -1), ways(200))[0]


SMALL: dict[str, Any] = {
    "vocab_size": 400,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 256,
    "initializer_range": 0.2,
    "eos_token_id": None,
}
ARCHITECTURES: dict[str, PretrainedConfig] = {
    "llama with grouped heads": LlamaConfig(num_key_value_heads=2, **SMALL),
    "mistral with a window of 16": MistralConfig(num_key_value_heads=2, sliding_window=16, **SMALL),
    "qwen2": Qwen2Config(num_key_value_heads=1, **SMALL),
    "qwen3": Qwen3Config(num_key_value_heads=2, head_dim=8, **SMALL),
}


@pytest.mark.slow
@pytest.mark.parametrize("padded", [False, True], ids=["each on its own", "padded, as on a GPU"])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_other_architectures_write_what_transformers_writes(name: str, padded: bool) -> None:
    config = ARCHITECTURES[name]
    torch.manual_seed(0)
    plain = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    ragged = copy.deepcopy(plain)
    ragged.set_attn_implementation(ragged_attention.NAME)
    device = torch.device("cpu")
    arena = Arena(config, 8, 256, torch.float32, device, padded)
    for tensor in (*arena.keys, *arena.values):
        tensor.fill_(torch.nan)  # as memory may be before it is used
    generator = Generator(arena, lambda _: ragged, device)
    written = results([generator.submit(job(prompt, temperature=0, limit=24)) for prompt in PROMPTS])
    generator.close()
    for prompt, reply in zip(PROMPTS, written, strict=True):
        with torch.inference_mode():
            logits = plain(torch.tensor([prompt + reply.tokens])).logits[0, len(prompt) - 1 : -1]
        assert reply.tokens == logits.argmax(-1).tolist()
        assert reply.logprobs == pytest.approx(logits.log_softmax(-1).amax(-1).tolist(), abs=1e-4)
