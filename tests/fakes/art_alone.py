"""ART for tests that share their process with transformers: imported while transformers is hidden, so that it
patches nothing.

The product needs no such thing: the trainer hides transformers for good, the training service never imports
ART.
"""

from __future__ import annotations

import sys

_hidden = sys.modules.pop("transformers", None)
sys.modules["transformers"] = None  # type: ignore[assignment]
try:
    import art
finally:
    del sys.modules["transformers"]
    if _hidden is not None:
        sys.modules["transformers"] = _hidden

__all__ = ["art"]
