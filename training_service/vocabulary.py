"""The small model's vocabulary and chat format.

Ids are random strings, so a model can only repeat them piece by piece; cutting them into pairs of hex digits
makes each repetition two or three copies of a token it has just seen. Ordinary words stay whole. The chat
template only ever appends, so the prompt of a later turn begins with exactly the tokens of the earlier ones.
Tool schemas are not rendered: the model has been trained on these very tools and spends its short context on
results instead.

Not here: how generated text is parsed back into calls (`chat_format`), and how the model is trained
(`pretrain`).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

PAD, END, CALL = "<|pad|>", "<|end|>", "<|call|>"
ROLES = ("system", "user", "assistant", "tool")
SPECIAL_TOKENS = (PAD, END, CALL, *(f"<|{role}|>" for role in ROLES))
VOCABULARY_SIZE = 4096
CONTEXT_TOKENS = 4096

PIECES = (
    r":[0-9]{2}(?![0-9])"  # minutes and seconds
    r"| (?=[0-9a-f]*[0-9])(?=(?:[0-9a-f]{2})+(?![0-9A-Za-z_]))"  # the space before an id, which may begin with a letter
    r"|(?<![g-zA-Z_])[0-9a-f]{2}(?=(?:[0-9a-f]{2})*(?![0-9A-Za-z_]))"  # ids and numbers, two digits at a time, from the right
    r"| ?[A-Za-z_]+"
    r"|[0-9]"
    r"|\n+| +(?= )"
    r"| ?[^\sA-Za-z0-9_]+"
)
"""How text is cut before merges are learnt; a merge never crosses a cut."""

CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "<|{{ message.role }}|>"
    "{%- if message.content -%}{{ message.content | replace('<|', '< |') }}{%- endif -%}"
    "{%- if message.tool_calls -%}{%- for call in message.tool_calls -%}"
    "{%- set arguments = call.function.arguments -%}"
    "<|call|>{{ call.function.name | replace('<|', '< |') }} "
    "{{ (arguments if arguments is string else arguments | tojson) | replace('<|', '< |') }}"
    "{%- endfor -%}{%- endif -%}"
    "<|end|>"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}<|assistant|>{%- endif -%}"
)
"""Appends only. `<|` inside a message is broken up, so that no log line can pose as a turn of the
conversation.
"""


def build_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """Learn a byte-level BPE of VOCABULARY_SIZE tokens from `texts`; any text can
    be encoded, none is lost.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    pairs = [f"{value:02x}" for value in range(256)]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )

    def with_every_pair() -> Iterable[str]:
        yield from texts
        for _ in range(500):  # so that no pair of hex digits misses its merge
            yield "\n".join(pairs)

    tokenizer.train_from_iterator(with_every_pair(), trainer)
    return wrap(tokenizer)


def wrap(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    """The transformers tokenizer around a trained one, with the chat template and the special tokens set."""
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=PAD,
        model_max_length=CONTEXT_TOKENS,
        clean_up_tokenization_spaces=False,
        extra_special_tokens=list(SPECIAL_TOKENS[2:]),
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast


def load_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """Read the tokenizer of a model folder from disk, never from a hub."""
    return wrap(Tokenizer.from_file(str(folder / "tokenizer.json")))
