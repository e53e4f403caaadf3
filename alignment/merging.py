"""Makes a base model out of a base model and an adapter, so that whatever takes a base model starts from it.

`python -m alignment adapters merge investigator@v1 --out DIR`, then `train_serverless.py --base-model DIR`:
GRPO starts where the warm start ended, and measures its distance to that, not to the bare model. The folder
holds full weights in float32, as the base model's does. Serving needs no merge: adapters are served as they
are.
"""

from __future__ import annotations

import json
from pathlib import Path

from alignment.adapters import Registry
from alignment.learning import opened
from project_types import ConfigurationError
from training_service.adapted import write_merged
from training_service.fitting import replace_folder

ORIGIN = "merged.json"
"""In a merged folder: what it was made of."""


def merge(registry: Registry, name: str, out: Path, base_model: str | None = None) -> Path:
    """Write the base model of an adapter with the adapter added to its weights. Returns the folder.

    Raises ConfigurationError when the folder holds something else, or the base model is another one.
    """
    if out.exists() and not (out / ORIGIN).exists():
        raise ConfigurationError(f"{out} is not a merged model; give a folder that does not exist yet")
    card = registry.card(name)
    base = opened(base_model or card.base_model)
    adapter = registry.checked(card.full_name, base.sha256)

    def write(fresh: Path) -> None:
        write_merged(base, adapter, fresh)
        origin = {"adapter": card.full_name, "base_model": card.base_model, "base_sha256": base.sha256}
        (fresh / ORIGIN).write_text(json.dumps(origin, indent=1), encoding="utf-8")

    out.parent.mkdir(parents=True, exist_ok=True)
    replace_folder(out, write)
    return out
