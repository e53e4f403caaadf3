"""Steps of an episode as Weave ops, where Weave has been initialised in this process; else nothing.

Weave is never imported here: a process that uses it has imported it.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from functools import cache
from typing import Any, TypeVar

from project_types import Scalar

TRACE = "weave_trace"
"""In an episode's metadata, where Weave is on: the id of its trace."""
T = TypeVar("T")


async def traced(name: str, shown: dict[str, Any], work: Callable[[], Awaitable[T]]) -> T:
    """Do the work, as a Weave op with `shown` as its inputs where Weave has been
    initialised in this process.
    """
    weave = sys.modules.get("weave")
    if weave is None or weave.get_client() is None:
        return await work()
    done: T = await _weave_op(name)(shown, work)
    return done


def trace_facts() -> dict[str, Scalar]:
    """The trace under way, as metadata; nothing where Weave is off."""
    weave = sys.modules.get("weave")
    call = weave.get_current_call() if weave is not None and weave.get_client() is not None else None
    return {} if call is None else {TRACE: str(call.trace_id)}


@cache
def _weave_op(name: str) -> Callable[..., Awaitable[Any]]:
    """One op per name: Weave stores the source of each op it has not seen."""
    import weave

    async def traced(shown: dict[str, Any], work: Callable[[], Awaitable[Any]]) -> Any:
        return await work()

    op: Callable[..., Awaitable[Any]] = weave.op(
        traced, name=name, postprocess_inputs=lambda inputs: inputs["shown"]
    )
    return op
