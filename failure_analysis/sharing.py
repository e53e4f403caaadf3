"""When a model's answer about one failure may be told of another: only where everything
that names things agrees.

Failures of a group are alike by a coarse template, in which paths, numbers and ids are blanked. That is
enough to count them and too little to explain them: the answer for one missing file is wrong for another.
Here only what differs between two happenings of the very same thing is blanked: times, durations, addresses
of memory.
"""

from __future__ import annotations

import re

from failure_analysis.logs.rules import where
from failure_analysis.logs.suspects import suspect

_HAPPENING = re.compile(
    r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?([.,]\d+)?(Z|[+-]\d\d:?\d\d)?|\b\d{1,2}:\d\d:\d\d([.,]\d+)?\b"
    r"|\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|\b0x[0-9a-f]+\b|\bpid[ =:]\d+|\b\d+(\.\d+)? ?(ms|s|sec|seconds)\b",
    re.IGNORECASE,
)


def specific(error_message: str, log: str) -> tuple[str, ...]:
    """What an answer about this failure speaks of: its message, the line that says why, and the place."""
    found = suspect(log)
    said = (error_message, found.line if found else "", where(found.frames) if found else "")
    return tuple(" ".join(_HAPPENING.sub("#", text).split()) for text in said)
