"""One environment for every trainer: the same scenarios, tools, judge and reward where people train already.

Each adapter is a module: `art_pipeline`, `verifiers_taskset`, `trl_environment`, `inspect_task`,
`openenv_server`. ART's own loop needs none, since `rollout.rollout` speaks to it. verifiers finds a taskset
by the name of a package, so that its two classes are given here, and are imported when verifiers asks for
them.

Not here: what an episode is (`rollout`), and any trainer.
"""

from __future__ import annotations

from typing import Any

__all__ = ["InvestigationHarness", "InvestigationTaskset"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from log_investigator_env import verifiers_taskset

    return getattr(verifiers_taskset, name)
