"""Train the encoder of log lines: a small BERT that guesses masked words of templates; nothing is labelled.

A fifth of the words of a template is masked, as in BERT (J. Devlin et al., 2019): eight of ten become [MASK],
one a drawn word, one stays. What is written has BERT's names, so `core.sentence_encoder` reads it with numpy
alone. A killed run goes on from its last whole epoch. It knows no order of lines and no service.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import save
from torch import Tensor, nn

from core.files import replace_file

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
PAD, MASK, ORDINARY = 0, 4, len(SPECIAL)
"""Ids of tokens; from ORDINARY on they are parts of words."""
MASKED = 0.2
_IGNORED = -100


class Shape(NamedTuple):
    """How large the network is."""

    vocabulary: int = 2000
    hidden: int = 64
    layers: int = 3
    heads: int = 4
    longest: int = 64
    """Tokens of a template; the rest is left out."""


class Plan(NamedTuple):
    """How to train."""

    epochs: int = 12
    batch: int = 64
    learning_rate: float = 2e-3
    seed: int = 0


class Epoch(NamedTuple):
    """What an epoch gave."""

    number: int
    train_loss: float
    kept_loss: float
    """On templates that are kept back, in nats for each masked token."""
    kept_right: float
    """Share of their masked tokens that are guessed."""


def tokenizer_of(texts: Sequence[str], shape: Shape) -> Any:
    """Return a WordPiece tokenizer learnt from the texts. Case is kept out; a mark is a token of its own."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.WordPiece(unk_token=SPECIAL[1]))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=shape.vocabulary, special_tokens=list(SPECIAL), show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.enable_truncation(shape.longest)
    return tokenizer


class MaskedTemplates(nn.Module):
    """A BERT without kinds of segments; its output layer shares the vectors of its words."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        width = shape.hidden
        self.shape = shape
        self.word = nn.Embedding(shape.vocabulary, width, padding_idx=PAD)
        self.position = nn.Embedding(shape.longest, width)
        self.norm = nn.LayerNorm(width)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(width, shape.heads, 4 * width, 0.1, "gelu", batch_first=True)
            for _ in range(shape.layers)
        )
        self.guess = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.LayerNorm(width))
        self.bias = nn.Parameter(torch.zeros(shape.vocabulary))
        for table in (self.word, self.position):
            nn.init.normal_(table.weight, std=0.05)

    def hidden(self, ids_BT: Tensor) -> Tensor:
        """Return what is known of each token: (batch, tokens, hidden)."""
        places = torch.arange(ids_BT.shape[1])
        hidden_BTH: Tensor = self.norm(self.word(ids_BT) + self.position(places))
        for layer in self.layers:
            hidden_BTH = layer(hidden_BTH, src_key_padding_mask=ids_BT == PAD)
        return hidden_BTH

    def loss(self, ids_BT: Tensor, dice: torch.Generator) -> tuple[Tensor, float]:
        """Return the cross-entropy of masked tokens, and the share of them that is guessed."""
        seen_BT, wanted_BT = masked(ids_BT, self.shape.vocabulary, dice)
        chosen = wanted_BT != _IGNORED
        logits_NV = self.guess(self.hidden(seen_BT)[chosen]) @ self.word.weight.T + self.bias
        wanted_N = wanted_BT[chosen]
        right = float((logits_NV.argmax(1) == wanted_N).double().mean())
        return nn.functional.cross_entropy(logits_NV, wanted_N), right


def masked(ids_BT: Tensor, vocabulary: int, dice: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return what the network sees, and what it must guess: an id where a token was chosen, else -100."""
    chance_BT = torch.rand(ids_BT.shape, generator=dice)
    chosen_BT = (chance_BT < MASKED) & (ids_BT >= ORDINARY)
    drawn_BT = torch.randint(ORDINARY, vocabulary, ids_BT.shape, generator=dice)
    # the same chance decides what becomes of a chosen token: its first eight tenths, the next, the last
    seen_BT = torch.where(chosen_BT & (chance_BT < 0.9 * MASKED), drawn_BT, ids_BT)
    seen_BT = torch.where(chosen_BT & (chance_BT < 0.8 * MASKED), MASK, seen_BT)
    return seen_BT, torch.where(chosen_BT, ids_BT, _IGNORED)


def batches(ids: Sequence[Sequence[int]], size: int, dice: torch.Generator) -> list[Tensor]:
    """Return padded batches of templates of similar length, in a drawn order: (batch, tokens) each."""
    ordered = sorted(ids, key=len)
    groups = [ordered[start : start + size] for start in range(0, len(ordered), size)]
    order = torch.randperm(len(groups), generator=dice).tolist()
    return [_padded(groups[place]) for place in order]


def _padded(rows: Sequence[Sequence[int]]) -> Tensor:
    return nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=PAD)


class Training:
    """A network, and everything that a killed run needs to go on."""

    def __init__(self, shape: Shape, plan: Plan, batches_an_epoch: int) -> None:
        torch.manual_seed(plan.seed)
        self.model, self.plan = MaskedTemplates(shape), plan
        self.optimizer = torch.optim.AdamW(self.model.parameters(), plan.learning_rate, weight_decay=1e-2)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, plan.learning_rate, total_steps=plan.epochs * batches_an_epoch + 1
        )
        self.epochs: list[Epoch] = []

    def epoch(self, learnt: Sequence[Sequence[int]], kept: Sequence[Sequence[int]]) -> Epoch:
        """Go over all templates once, and measure those kept back."""
        number = len(self.epochs) + 1
        torch.manual_seed(self.plan.seed * 10_007 + number)
        dice = torch.Generator().manual_seed(number)
        self.model.train()
        losses = [self._step(batch, dice) for batch in batches(learnt, self.plan.batch, dice)]
        self.epochs.append(Epoch(number, sum(losses) / len(losses), *self._measured(kept)))
        return self.epochs[-1]

    def _step(self, batch: Tensor, dice: torch.Generator) -> float:
        loss, _ = self.model.loss(batch, dice)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.schedule.step()
        return loss.item()

    @torch.no_grad()
    def _measured(self, kept: Sequence[Sequence[int]]) -> tuple[float, float]:
        self.model.eval()
        dice = torch.Generator().manual_seed(0)  # the same words are masked after each epoch
        found = [self.model.loss(batch, dice) for batch in batches(kept, self.plan.batch, dice)]
        losses, rights = [loss.item() for loss, _ in found], [right for _, right in found]
        return sum(losses) / len(losses), sum(rights) / len(rights)

    def save(self, path: Path) -> None:
        """Keep the state. Raises OSError."""
        content = io.BytesIO()
        torch.save({"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(),
                    "schedule": self.schedule.state_dict(), "epochs": [tuple(one) for one in self.epochs]},
                   content)  # fmt: skip
        replace_file(path, content.getvalue())

    def load(self, path: Path) -> None:
        """Go on from a kept state."""
        state = torch.load(path, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.epochs = [Epoch(*one) for one in state["epochs"]]


def train(
    texts_ids: Sequence[Sequence[int]],
    kept_ids: Sequence[Sequence[int]],
    shape: Shape,
    plan: Plan,
    *,
    resume: Path | None = None,
    tell: Callable[[Epoch], None] = lambda _: None,
) -> Training:
    """Train to the end of the plan. `resume` names a file that holds the state after each epoch."""
    torch.set_num_threads(1)
    training = Training(shape, plan, -(-len(texts_ids) // plan.batch))
    if resume and resume.exists():
        training.load(resume)
    while len(training.epochs) < plan.epochs:
        tell(training.epoch(texts_ids, kept_ids))
        if resume:
            training.save(resume)
    training.model.eval()
    return training


def write(folder: Path, model: MaskedTemplates, tokenizer: Any) -> None:
    """Write what `core.sentence_encoder` reads: config, tokenizer and weights. Raises OSError."""
    shape = model.shape
    config = {
        "hidden_size": shape.hidden, "num_hidden_layers": shape.layers, "num_attention_heads": shape.heads,
        "max_position_embeddings": shape.longest, "vocab_size": shape.vocabulary, "layer_norm_eps": 1e-5,
    }  # fmt: skip
    replace_file(folder / "config.json", f"{json.dumps(config, indent=1)}\n".encode())
    replace_file(folder / "tokenizer.json", tokenizer.to_str(pretty=True).encode())
    replace_file(folder / "model.safetensors", save(bert_tensors(model)))


def bert_tensors(model: MaskedTemplates) -> dict[str, Tensor]:
    """Return the weights under the names that a BERT has."""
    width = model.shape.hidden
    found = {
        "embeddings.word_embeddings.weight": model.word.weight,
        "embeddings.position_embeddings.weight": model.position.weight,
        "embeddings.token_type_embeddings.weight": torch.zeros(1, width),
        **_pair("embeddings.LayerNorm", model.norm.weight, model.norm.bias),
    }
    for number, layer in enumerate(model.layers):
        found |= _layer(f"encoder.layer.{number}", layer)
    return {name: value.detach().contiguous() for name, value in found.items()}


def _layer(name: str, layer: Any) -> dict[str, Tensor]:
    attention = layer.self_attn
    # torch keeps query, key and value in one matrix
    weights, biases = attention.in_proj_weight.chunk(3), attention.in_proj_bias.chunk(3)
    found: dict[str, Tensor] = {}
    for part, weight, bias in zip(("query", "key", "value"), weights, biases, strict=True):
        found |= _pair(f"{name}.attention.self.{part}", weight, bias)
    for part, module in {
        "attention.output.dense": attention.out_proj, "attention.output.LayerNorm": layer.norm1,
        "intermediate.dense": layer.linear1, "output.dense": layer.linear2, "output.LayerNorm": layer.norm2,
    }.items():  # fmt: skip
        found |= _pair(f"{name}.{part}", module.weight, module.bias)
    return found


def _pair(name: str, weight: Tensor, bias: Tensor) -> dict[str, Tensor]:
    return {f"{name}.weight": weight, f"{name}.bias": bias}
