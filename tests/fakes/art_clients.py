"""The ART clients that the tests speak with: this environment's, and a newer one in
an environment of its own.

`openpipe-art` 0.5.18 is the newest for Python 3.11. From Python 3.12 on users get 0.5.23, whose client sends
more. Both cannot be installed side by side, so `make art-next` makes `.venv-art-next` with a Python of 3.12
or later, where the machine has one. ART_NEXT_PYTHON names another interpreter.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

NEXT = Path(
    os.environ.get("ART_NEXT_PYTHON") or Path(__file__).parents[2] / ".venv-art-next" / "bin" / "python"
)


def art_pythons() -> list[object]:
    """Return the interpreters to run ART's client with, as parameters named by the line of ART they hold.

    The newer one is skipped where its environment was not made. `make slow` makes it, or fails,
    wherever there is a Python 3.12.
    """
    skip = pytest.mark.skipif(not NEXT.is_file(), reason="no .venv-art-next; run: make art-next")
    return [
        pytest.param(sys.executable, id="art-0.5.18"),
        pytest.param(str(NEXT), id="art-0.5.23", marks=skip),
    ]
