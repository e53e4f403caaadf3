"""Replies: OpenAI's shape, exact tokens from turn to turn, and errors that say what to do."""

from __future__ import annotations

import asyncio
import json
import math
from pathlib import Path
from typing import Any

import pytest
from transformers import Gemma2Config, Gemma2ForCausalLM

from project_types import ConfigurationError
from tests.training_service.conversations import ASK, choices, request, sampled_group
from tests.training_service.random_model import TOOLS, write_random_model
from training_service.base_models import Base, locate, pick_device
from training_service.engine import RequestError
from training_service.local_engine import EngineOptions, LocalEngine, open_engine
from training_service.vocabulary import END, SPECIAL_TOKENS

Json = dict[str, Any]
END_ID = SPECIAL_TOKENS.index(END)


async def test_a_choice_has_what_openai_clients_and_art_read(engine: LocalEngine, step0: Path) -> None:
    reply = await engine.complete(step0, request(ASK, tools=TOOLS, seed=1))
    (choice,) = reply["choices"]
    assert choice["index"] == 0
    assert choice["finish_reason"] in {"stop", "length", "tool_calls"}
    assert choice["message"]["role"] == "assistant"
    items = choice["logprobs"]["content"]
    assert len(items) == len(choice["token_ids"]) == reply["usage"]["completion_tokens"]
    assert all(
        math.isfinite(item["logprob"]) and item["logprob"] <= 0 and item["top_logprobs"] == []
        for item in items
    )
    assert "".join(item["token"] for item in items if item["bytes"]).encode() == bytes(
        byte for item in items for byte in item["bytes"] or []
    )
    assert len(choice["prompt_token_ids"]) == reply["usage"]["prompt_tokens"]
    assert (
        reply["usage"]["total_tokens"]
        == reply["usage"]["prompt_tokens"] + reply["usage"]["completion_tokens"]
    )


async def test_each_prompt_begins_with_all_tokens_before_it(engine: LocalEngine, step0: Path) -> None:
    group = await sampled_group(engine, step0, size=12)
    for trajectory in group["trajectories"]:
        before: list[int] = []
        for choice in choices({"trajectories": [trajectory]}):
            assert choice["prompt_token_ids"][: len(before)] == before
            before = choice["prompt_token_ids"] + choice["token_ids"]


async def test_a_seed_repeats_a_reply_whatever_else_is_asked_at_the_same_time(
    engine: LocalEngine, step0: Path
) -> None:
    alone = await engine.complete(step0, request(ASK, seed=5))
    others = [
        engine.complete(step0, request({"role": "user", "content": "disk " * size}, seed=size))
        for size in range(1, 9)
    ]
    again, *_ = await asyncio.gather(engine.complete(step0, request(ASK, seed=5)), *others)
    assert again["choices"][0]["token_ids"] == alone["choices"][0]["token_ids"]


async def test_temperature_zero_repeats_without_a_seed(engine: LocalEngine, step0: Path) -> None:
    one, two = [await engine.complete(step0, request(ASK, temperature=0)) for _ in range(2)]
    assert one["choices"][0]["token_ids"] == two["choices"][0]["token_ids"]


async def test_several_choices_differ_and_are_counted(engine: LocalEngine, step0: Path) -> None:
    reply = await engine.complete(step0, request(ASK, n=4, seed=3))
    assert [choice["index"] for choice in reply["choices"]] == [0, 1, 2, 3]
    assert len({tuple(choice["token_ids"]) for choice in reply["choices"]}) == 4
    assert reply["usage"]["completion_tokens"] == sum(len(choice["token_ids"]) for choice in reply["choices"])


async def test_a_prompt_beyond_the_context_is_refused_with_openais_code(
    engine: LocalEngine, step0: Path
) -> None:
    with pytest.raises(
        RequestError, match=r"the context of random is 512 .*; shorten the conversation"
    ) as refused:
        await engine.complete(step0, request({"role": "user", "content": "disk " * 600}))
    assert (refused.value.status, refused.value.code) == (400, "context_length_exceeded")


async def test_a_reply_without_a_limit_ends_at_the_context(engine: LocalEngine, step0: Path) -> None:
    reply = await engine.complete(
        step0, request({"role": "user", "content": "disk " * 100}, seed=2, max_completion_tokens=None)
    )
    (choice,) = reply["choices"]
    total = len(choice["prompt_token_ids"]) + len(choice["token_ids"])
    assert (choice["finish_reason"] == "length" and total == 512) or choice["token_ids"][-1] == END_ID


async def test_a_stop_string_ends_the_reply_and_is_cut_off(engine: LocalEngine, step0: Path) -> None:
    free = (await engine.complete(step0, request(ASK, seed=4)))["choices"][0]
    stop = free["logprobs"]["content"][3]["token"]
    stopped = (await engine.complete(step0, request(ASK, seed=4, stop=[stop])))["choices"][0]
    assert stopped["finish_reason"] == "stop"
    assert stop not in stopped["message"]["content"]
    assert stopped["token_ids"] == free["token_ids"][: len(stopped["token_ids"])]
    assert len(stopped["token_ids"]) <= 4


async def test_a_required_call_is_a_call_and_its_opening_belongs_to_the_prompt(
    engine: LocalEngine, step0: Path
) -> None:
    reply = await engine.complete(step0, request(ASK, tools=TOOLS, tool_choice="required", seed=1))
    (choice,) = reply["choices"]
    assert choice["message"]["tool_calls"][0]["type"] == "function"
    assert choice["prompt_token_ids"][-1] == SPECIAL_TOKENS.index("<|call|>")


async def test_a_named_call_is_a_call_of_that_tool(engine: LocalEngine, step0: Path) -> None:
    named = {"type": "function", "function": {"name": "search_logs"}}
    reply = await engine.complete(step0, request(ASK, tools=TOOLS, tool_choice=named, seed=1))
    assert reply["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == "search_logs"


async def test_without_tools_a_call_is_only_text(engine: LocalEngine, step0: Path) -> None:
    replies = await engine.complete(step0, request(ASK, tools=TOOLS, tool_choice="none", n=16, seed=1))
    assert all("tool_calls" not in choice["message"] for choice in replies["choices"])


async def test_a_stop_string_in_the_forced_opening_does_not_cut_the_calls_name(
    engine: LocalEngine, step0: Path
) -> None:
    named = {"type": "function", "function": {"name": "search_logs"}}
    for stop in ("<", "|", "search", " "):
        asked = request(ASK, tools=TOOLS, tool_choice=named, seed=1, stop=[stop])
        message = (await engine.complete(step0, asked))["choices"][0]["message"]
        assert [call["function"]["name"] for call in message["tool_calls"]] == ["search_logs"], stop


async def test_a_client_that_goes_away_does_not_stop_the_others(engine: LocalEngine, step0: Path) -> None:
    gone = asyncio.create_task(engine.complete(step0, request(ASK, seed=1, max_completion_tokens=400)))
    stays = asyncio.create_task(engine.complete(step0, request(ASK, seed=2)))
    await asyncio.sleep(0)
    gone.cancel()
    assert (await stays)["choices"][0]["token_ids"]
    with pytest.raises(asyncio.CancelledError):
        await gone


async def test_more_checkpoints_than_stay_loaded_all_answer(base: Base, tmp_path: Path) -> None:
    engine = LocalEngine(
        [base], EngineOptions(loaded_checkpoints=2, concurrent_sequences=8, kept_sequences=4)
    )
    folders = [tmp_path / str(number) for number in range(5)]
    for folder in folders:
        folder.mkdir()
        engine.create("random", folder)
    replies = await asyncio.gather(*(engine.complete(folder, request(ASK, seed=1)) for folder in folders * 2))
    engine.close()
    assert len({tuple(reply["choices"][0]["token_ids"]) for reply in replies}) == 1


async def test_a_checkpoint_of_other_weights_is_refused(engine: LocalEngine, step0: Path) -> None:
    state = step0 / "state.json"
    state.write_text(state.read_text().replace('"base_sha256": "', '"base_sha256": "0'))
    with pytest.raises(RequestError, match="trained from other weights named 'random'"):
        await engine.complete(step0, request(ASK))


async def test_a_checkpoint_that_cannot_be_read_is_refused(engine: LocalEngine, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="cannot be read"):
        await engine.complete(tmp_path, request(ASK))


def test_an_unknown_base_model_is_refused_with_the_known_ones(engine: LocalEngine, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="choose one of: random"):
        engine.create("sparrow", tmp_path)


def test_base_models_are_found_by_folder_and_by_given_name(base: Base) -> None:
    assert locate([str(base.folder), f"mine={base.folder}"]) == {
        base.folder.name: base.folder,
        "mine": base.folder,
    }


def test_a_base_model_that_does_not_exist_is_named_with_the_fix() -> None:
    with pytest.raises(ConfigurationError, match="give the folder of a Hugging Face model"):
        locate(["no/such/model"])


def test_a_folder_without_a_tokenizer_is_refused(base: Base, tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors", "generation_config.json"):
        (tmp_path / name).write_bytes((base.folder / name).read_bytes())
    with pytest.raises(ConfigurationError, match="base model"):
        open_engine([str(tmp_path)], "cpu")


@pytest.mark.parametrize("device", ["sparrow", "cuda:99"])
def test_a_device_this_machine_lacks_is_refused(device: str) -> None:
    with pytest.raises(ConfigurationError, match=f"device '{device}'"):
        pick_device(device)


def test_a_kind_of_attention_that_cannot_run_packed_is_refused_when_it_is_loaded(
    base: Base, tmp_path: Path
) -> None:
    for path in base.folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "model.safetensors").unlink()
    config = Gemma2Config(
        vocab_size=base.model.config.vocab_size,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
    )
    Gemma2ForCausalLM(config).save_pretrained(tmp_path)
    with pytest.raises(ConfigurationError, match="cannot run packed: soft-capped attention"):
        Base("gemma", tmp_path, base.device)


async def test_a_template_that_knows_no_tools_is_refused_with_the_flag_to_type(tmp_path: Path) -> None:
    folder = write_random_model(tmp_path / "plain")
    settings = folder / "tokenizer_config.json"
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"call_format": "plain"}))
    engine = LocalEngine([Base("plain", folder, pick_device("cpu"))])
    engine.create("plain", tmp_path)
    with pytest.raises(RequestError, match=r"knows no tools.*--call-format text") as refused:
        await engine.complete(tmp_path, request(ASK, tools=TOOLS))
    assert refused.value.code == "tools_not_supported"
    assert (await engine.complete(tmp_path, request(ASK)))["choices"], "calls as text need no template"
    engine.close()


def test_the_context_can_be_smaller_than_the_models_and_the_engine_says_what_fits(base: Base) -> None:
    engine = LocalEngine([base], EngineOptions(max_context=128, cache_bytes=1 << 20))
    words = engine.settings()["serving"]["random"]
    engine.close()
    assert words.startswith("64 sequences at once, 128 tokens each at most")


def test_a_job_of_adapters_needs_little_disk(base: Base, step0: Path, engine: LocalEngine) -> None:
    adapted = LocalEngine([Base("random", base.folder, base.device, adapt="lora")])
    assert adapted.job_bytes(step0) < engine.job_bytes(step0) / 3
    adapted.close()
