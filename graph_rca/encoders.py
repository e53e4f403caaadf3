"""Step 2, the second half: what a service newly writes, as one vector, by the encoder that a flag names.

`minilm` is a sentence transformer from a package. `templates` was trained here on masked templates, in the
manner of LogBERT (H. Guo et al., "LogBERT: Log Anomaly Detection via BERT", 2021), but it reads one template
at a time and not a sequence of them. Without an encoder a line counts only as new, gone or loud. Training is
in `encoder_training`. `paths` reads no lines: it is the embedding of request paths (`path_grams`), which
every graph holds.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.files import sha256_of
from core.sentence_encoder import Encoder, packaged_folder
from graph_rca.graph import IncidentGraph
from graph_rca.path_grams import PATHS, WIDTH
from project_types import ConfigurationError

Floats = NDArray[np.float32]
NONE = "none"
ENCODERS = ("minilm", "templates", PATHS)
TEMPLATES = Path(__file__).parent / "shipped" / "templates"
"""Config, tokenizer, weights and card of the encoder that was trained here."""


def folder_of(name: str) -> Path:
    """Return where an encoder's files are. Raises ConfigurationError when it is not installed."""
    folder = packaged_folder() if name == "minilm" else TEMPLATES
    if not (folder / "model.safetensors").is_file():
        raise ConfigurationError(f"{folder}: no encoder here; train it: python -m graph_rca encoder train")
    return folder


@cache
def fingerprint(name: str) -> str:
    """Return the hash of an encoder's weights: vectors of other weights mean something else."""
    if name == PATHS:  # counted and not learnt
        return f"{WIDTH} grams"
    return sha256_of(folder_of(name) / "model.safetensors")


@cache
def _loaded(name: str) -> Encoder:
    return Encoder(folder_of(name))


@lru_cache(maxsize=20_000)
def _vector(name: str, template: str) -> Floats:
    return np.asarray(_loaded(name).encode([template])[0], np.float32)


def with_vectors(graph: IncidentGraph, encoders: Collection[str]) -> IncidentGraph:
    """Return the graph with one mean vector of the new templates for each service and encoder.

    Raises:
        ConfigurationError: an encoder is not installed.
    """
    size = len(graph.services)
    missing = [name for name in encoders if name not in graph.vectors]
    found = {name: _of_services(name, graph.templates, size) for name in missing}
    return replace(graph, vectors={**graph.vectors, **found})


def _of_services(name: str, templates: Mapping[int, Sequence[str]], services: int) -> Floats:
    found = np.zeros((services, _loaded(name).width), np.float32)
    for service, mine in templates.items():
        found[service] = np.mean([_vector(name, template) for template in mine], axis=0)
    return found
