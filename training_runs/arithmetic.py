"""Which arithmetic the training service chose for gradient steps, in words.

The service times float32 and bfloat16 at its start and says both figures (GET /health). A run keeps them in
config.json under `training_service`. Not here: the choice (`training_service.precision`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def arithmetic(said: Mapping[str, Any]) -> str:
    """Return what a service said of its arithmetic as one sentence, '' when it said nothing."""
    precision = said.get("precision")
    if not isinstance(precision, str):
        return ""
    how = "chosen by timing both" if said.get("asked") == "auto" else "as asked for"
    figures = [f"{name} {said[key]:g} ms" for name, key in FIGURES.items() if _is_number(said.get(key))]
    timed = f": one layer took {', '.join(figures)}" if figures else ""
    return f"Gradient steps use {precision}, {how}{timed}."


FIGURES = {"float32": "float32_ms", "bfloat16": "bfloat16_ms"}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
