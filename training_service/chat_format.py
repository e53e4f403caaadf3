"""Conversations to tokens and back, with the very tokens of earlier turns.

A client sends the whole conversation each turn, as text. Tokenising the text of an earlier reply again need
not give the tokens that were sampled, and then training sees a reply nobody wrote. So the tokens of each
conversation that this service continued are remembered under a hash of its messages, tools included; a
request that goes on from there gets those tokens followed by those of the new messages. A template that
rewrites earlier turns (drops the reasoning, say) cannot be continued that way; its prompts are rendered
afresh, and the trajectory becomes one training sequence per turn.

Text between control tokens is data: a control token's text inside a user or tool message is broken up, so
that no log line can pose as a turn.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import string
from array import array
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from training_service.call_parsing import Call, Parsed, Style, detect_style, opening, parse
from training_service.engine import RequestError

Message = Mapping[str, Any]
TAGS_OF_STYLE: dict[Style, tuple[str, ...]] = {
    "hermes": ("<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>", "<tools>", "</tools>")
}
"""Text that closes or opens a part of a turn where the tokenizer has no token for it."""
PROBE = {"type": "function", "function": {"name": "probe_of_tools", "description": "", "parameters": {}}}
REMEMBERED = 8192
"""Conversations whose tokens are kept; the least recently used go first."""


@dataclass(frozen=True)
class Prompt:
    """Where generation starts. `forced` is the text of the reply that the prompt already holds."""

    tokens: tuple[int, ...]
    key: str
    forced: str = ""


class ChatFormat:
    """One tokenizer with its chat template and its way of writing calls. One thread at a time, `text`
    excepted.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, end_tokens: frozenset[int], style: Style | None = None
    ) -> None:
        template = tokenizer.chat_template
        if not isinstance(template, str) or not template:
            raise ValueError(
                "the tokenizer has no chat template; add chat_template.jinja to the model's folder"
            )
        self.tokenizer, self.end_tokens = tokenizer, end_tokens
        self.style: Style = style or detect_style(template, tokenizer.init_kwargs.get("call_format"))
        self._ends = sorted({str(tokenizer.convert_ids_to_tokens(token)) for token in end_tokens})
        self._tags = _tags(tokenizer, TAGS_OF_STYLE.get(self.style, ()))
        self.knows_tools = self._shows_tools()
        self._remembered: OrderedDict[str, array[int]] = OrderedDict()
        self._names: dict[int, str] = {}

    # --------------------------------------------------------------------------------------------------------
    # prompts

    def prompt(
        self,
        messages: Sequence[Message],
        tools: Sequence[Message],
        required: bool = False,
        name: str | None = None,
    ) -> Prompt:
        """Tokens up to where the reply begins. `required` begins it with a call, of the tool `name` if given.

        Raises RequestError when the template cannot render the messages, or a call is required of a model
        that knows none.
        """
        forced = opening(self.style, name) if required else ""
        if required and not forced:
            message = "tool_choice requires a call, but this model's template teaches none; send tool_choice 'none' or 'auto'"
            raise RequestError(400, message, "calls_not_supported")
        keys = self._keys(messages, tools)
        tokens = self._continued(messages, tools, keys)
        if tokens is None:
            tokens = self.encode(self.render(messages, tools, reply=True))
        return Prompt((*tokens, *self.encode(forced)) if forced else tokens, keys[-1], forced)

    def remember(self, prompt: Prompt, message: Message, tokens: Sequence[int]) -> None:
        """Keep the exact tokens of a conversation and the reply `message` that they ended with."""
        key = _next_key(prompt.key, message)
        self._remembered[key] = array("i", (*prompt.tokens, *tokens))
        self._remembered.move_to_end(key)
        while len(self._remembered) > REMEMBERED:
            self._remembered.popitem(last=False)

    def render(self, messages: Sequence[Message], tools: Sequence[Message], reply: bool) -> str:
        """The text of a conversation; with `reply`, up to where the assistant begins."""
        try:
            text = self.tokenizer.apply_chat_template(
                [self._for_template(message) for message in messages],
                tools=[dict(tool) for tool in tools] or None,
                add_generation_prompt=reply,
                tokenize=False,
            )
        except (TemplateError, TypeError, KeyError) as trouble:
            raise RequestError(
                400, f"the model's chat template cannot render these messages: {trouble}"
            ) from trouble
        return str(text)

    def encode(self, text: str) -> tuple[int, ...]:
        """Tokens of rendered text, in which the text of a special token is that token."""
        return tuple(self.tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids)

    def _continued(
        self, messages: Sequence[Message], tools: Sequence[Message], keys: Sequence[str]
    ) -> tuple[int, ...] | None:
        """Remembered tokens and those of the messages after them; None when nothing is remembered or text was
        rewritten.
        """
        for count in range(len(messages), 0, -1):
            known = self._remembered.get(keys[count - 1])
            if known is None:
                continue
            self._remembered.move_to_end(keys[count - 1])
            before, whole = (
                self.render(messages[:count], tools, reply=False),
                self.render(messages, tools, reply=True),
            )
            if not whole.startswith(before):
                return None
            end, after = self._last_end(before)
            closing = "" if known[-1] in self.end_tokens else end
            return (*known, *self.encode(closing + after + whole[len(before) :]))
        return None

    def split_end(self, text: str) -> tuple[str, str]:
        """Split a rendered reply behind its end token: what the model writes, and what the template adds."""
        end, after = self._last_end(text)
        return (text[: len(text) - len(after)], after) if end else (text, "")

    def _last_end(self, text: str) -> tuple[str, str]:
        """The last end token in the text of a conversation, and what the template writes after it."""
        places = [(text.rfind(end), end) for end in self._ends]
        place, end = max(places, default=(-1, ""))
        return (end, text[place + len(end) :]) if place >= 0 else ("", "")

    def _keys(self, messages: Sequence[Message], tools: Sequence[Message]) -> list[str]:
        key = hashlib.sha256(json.dumps(list(tools), sort_keys=True).encode()).hexdigest()
        keys = []
        for message in messages:
            key = _next_key(key, message)
            keys.append(key)
        return keys

    def _for_template(self, message: Message) -> dict[str, Any]:
        plain = dict(message)
        plain["content"] = plain.get("content") or ""
        if plain["role"] == "developer":
            plain["role"] = "system"
        if plain["role"] in ("user", "tool"):
            plain["content"] = self._broken_up(plain["content"])
        if self.style != "investigator" and plain.get("tool_calls"):
            plain["tool_calls"] = [self._with_object(call) for call in plain["tool_calls"]]
        return plain

    def _broken_up(self, text: str) -> str:
        """Text in which no control token stands."""
        for tag in self._tags:
            text = text.replace(tag, tag[0] + " " + tag[1:])
        return text

    def _with_object(self, call: Message) -> dict[str, Any]:
        """Templates of the large families expect arguments as an object, not as JSON text.

        A model may quote a log line in them, so that control tokens are broken up here too.
        """
        function = dict(call["function"])
        written = self._broken_up(function.get("arguments") or "{}")
        try:
            arguments = json.loads(written)
        except ValueError:
            arguments = written
        return {**call, "function": {**function, "arguments": arguments}}

    def _shows_tools(self) -> bool:
        """Whether the template passes tools on. The shipped model knows its own without being shown them."""
        if self.style in ("investigator", "plain"):
            return self.style == "investigator"
        asked = [{"role": "user", "content": "hello"}]
        try:
            return PROBE["function"]["name"] in self.render(asked, [PROBE], reply=True)  # type: ignore[index]
        except RequestError:  # it looks into the tools, and does not like these
            return True

    # --------------------------------------------------------------------------------------------------------
    # replies

    def text(self, tokens: Sequence[int]) -> str:
        """The text of a reply, without the end token."""
        kept = tokens[:-1] if tokens and tokens[-1] in self.end_tokens else tokens
        return str(
            self.tokenizer.decode(list(kept), skip_special_tokens=False, clean_up_tokenization_spaces=False)
        )

    def message(self, text: str, with_calls: bool) -> dict[str, Any]:
        """The assistant message that a reply's text stands for; without calls, all of it is content."""
        said = parse(self.style, text) if with_calls else Parsed(text)
        message: dict[str, Any] = {
            "role": "assistant",
            "content": said.content or (None if said.calls else ""),
        }
        if said.calls:
            message["tool_calls"] = [_tool_call(call) for call in said.calls]
        return message

    def token_name(self, token: int) -> str:
        """The text of one token."""
        if token not in self._names:
            self._names[token] = str(self.tokenizer.decode([token], clean_up_tokenization_spaces=False))
        return self._names[token]


def _tags(tokenizer: PreTrainedTokenizerBase, more: Sequence[str]) -> list[str]:
    """Texts that the tokenizer makes one token of wherever they stand, longest first: control tokens.

    tokenizer.json marks more of them than the configuration names (Llama 3: <|start_header_id|>). Some are no
    special tokens and still close a turn's part (Qwen: </tool_response>), so that brackets count too. Runs of
    spaces, which some tokenizers add as well, are text. `more` are marks of the way of writing calls.
    """
    added = tokenizer.added_tokens_decoder.values()
    bracketed = (
        token for token in added if token.special or re.fullmatch(r"<.*>|\[.*\]", token.content, re.DOTALL)
    )
    texts = {token.content for token in bracketed} | set(tokenizer.all_special_tokens) | set(more)
    return sorted((text for text in texts if len(text) > 1 and text.strip()), key=len, reverse=True)


def _next_key(key: str, message: Message) -> str:
    calls = [
        (call.get("id"), call["function"]["name"], call["function"].get("arguments"))
        for call in message.get("tool_calls") or []
    ]
    said = [
        message["role"],
        message.get("content") or "",
        calls,
        message.get("tool_call_id"),
        message.get("name"),
    ]
    return hashlib.sha256((key + json.dumps(said)).encode()).hexdigest()


def _tool_call(call: Call) -> dict[str, Any]:
    """Nine letters and digits: the one form of id that every family's template accepts."""
    letters = string.ascii_letters + string.digits
    identity = "".join(secrets.choice(letters) for _ in range(9))
    return {"id": identity, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
