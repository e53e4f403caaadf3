"""Arguments that tools about time share: a window to look at, and a baseline to compare it with."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from core.log_stores.query import Arguments, OptionalNumber, OptionalText

Window = Annotated[
    OptionalText,
    Field(description="What to look at, like 14:05/14:20 (UTC); 14:05 alone means since then."),
]
Baseline = Annotated[
    OptionalText,
    Field(description="What to compare it with, like 13:30/14:00; left out: a healthy time, or all before."),
]
Cursor = Annotated[OptionalNumber, Field(description="Shows what an earlier result left out.")]


class WindowArguments(Arguments):
    """Arguments of a tool that looks at a window."""

    window: Window = None
    cursor: Cursor = None
