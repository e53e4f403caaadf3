"""What differs between the two lines of ART that this project runs on: 0.5.18 (Python 3.11) and 0.5.23.

Both speak the same wire protocol. Not here: what goes over the wire (`training_service.wire`).
"""

from __future__ import annotations

from importlib.metadata import version

OLDER = "0.5.18"
"""The newest ART for Python 3.11."""


def model_names(name: str) -> dict[str, str]:
    """Return the arguments that name an `art.TrainableModel`. The newer ART also asks for a run's name."""
    return {"name": name} if version("openpipe-art") == OLDER else {"name": name, "run_name": name}
