"""`log-investigator`: lists the rooms and doors, and forwards to them.

    log-investigator                            what there is
    log-investigator evaluation run --help      the same as: python -m evaluation run --help
    log-investigator train_serverless --help    the same as: python train_serverless.py --help
    log-investigator investigate pod-logs/ --policy script:sre

A room names itself in its `__main__` (`ROOM`), which is imported without anything heavy.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec

from core.command_line import Room, run, tell_error

PROGRAM = "log-investigator"
ROOMS = (
    "chaos",
    "importers",
    "training_service",
    "training_runs",
    "evaluation",
    "failure_analysis",
    "dashboard",
    "testrun_investigator",
    "alignment",
    "graph_rca",
    "log_investigator_env",
)
DOORS = {
    "build_logs": "make scenario files searchable: one logs.db",
    "make_judge_model": "calibrate a judge and register it",
    "train_serverless": "train an investigator with GRPO, measure it before and after, report",
}


SHORTCUTS = {"investigate": "importers", "search": "importers"}
"""Commands that need no name of a room."""


def rooms() -> dict[str, Room]:
    """Return the rooms that are installed, by name."""
    there = [name for name in ROOMS if find_spec(name) and find_spec(f"{name}.__main__")]
    return {name: import_module(f"{name}.__main__").ROOM for name in there}


def overview() -> str:
    """Say what can be typed."""
    lines = [f"usage: {PROGRAM} ROOM COMMAND [flags]", "", "rooms (python -m ROOM COMMAND):"]
    for name, room in rooms().items():
        lines += [f"  {name:<22}{room.about}", f"  {'':<22}{', '.join(one.name for one in room.commands)}"]
    about = {one.name: one.about for room in rooms().values() for one in room.commands}
    lines += ["", f"your own logs ({PROGRAM} COMMAND):"]
    lines += [f"  {name:<22}{about[name]}" for name in SHORTCUTS if name in about]
    lines += ["", "doors (python DOOR.py):", *(f"  {name:<22}{about}" for name, about in DOORS.items())]
    lines += ["", f"Each takes --help, e.g. {PROGRAM} evaluation run --help"]
    return "\n".join(lines)


def _list() -> int:
    print(overview())
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Forward to a room or a door; without one, list them. Returns the exit code."""
    given = list(sys.argv[1:] if argv is None else argv)
    if not given or given[0] in ("-h", "--help"):
        return run(PROGRAM, _list)
    given = [SHORTCUTS[given[0]], *given] if given[0] in SHORTCUTS else given
    name, *rest = given
    if name in DOORS:
        return int(import_module(name).main(rest))
    if name in ROOMS and find_spec(name):
        return int(import_module(f"{name}.__main__").main(rest))
    if name in ROOMS:
        tell_error(PROGRAM, f"the room {name} came after this installation; type: pip install -e .")
    else:
        tell_error(PROGRAM, f"no room is called {name!r}; known: {', '.join([*rooms(), *DOORS, *SHORTCUTS])}")
    return 2


if __name__ == "__main__":
    sys.exit(main())
