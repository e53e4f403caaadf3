"""What a training service says of its arithmetic, as a sentence."""

from __future__ import annotations

from typing import Any

import pytest

from training_runs.arithmetic import arithmetic


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        pytest.param(
            {"precision": "float32", "asked": "auto", "float32_ms": 1.25, "bfloat16_ms": 40},
            "Gradient steps use float32, chosen by timing both: one layer took float32 1.25 ms, bfloat16 40 ms.",
            id="chosen",
        ),
        pytest.param(
            {"precision": "bfloat16", "asked": "bfloat16"},
            "Gradient steps use bfloat16, as asked for.",
            id="asked for",
        ),
        pytest.param({}, "", id="nothing said"),
        pytest.param({"precision": ["x"], "float32_ms": "<b>"}, "", id="nonsense"),
    ],
)
def test_the_choice_and_its_figures_are_said(said: dict[str, Any], expected: str) -> None:
    assert arithmetic(said) == expected
