"""What `model` means in a chat request: a base model, or a registered model at its latest or at a pinned
step.

wandb-artifact:///entity/project/name          latest, as ART asks for it
wandb-artifact:///entity/project/name:step7    pinned, as ART asks for it
name, name@step7, entity/project/name:step7    the same for people
tiny-investigator                              a base model
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from training_service.engine import RequestError
from training_service.folders import Folders
from training_service.store import Model, Store

SCHEME = "wandb-artifact:///"
VERSION = re.compile(r"[:@](?:step(?P<step>[0-9]{1,9})|latest)$")
SHOWN = 10
"""How many names an error lists."""


def checkpoint_of(asked: str, store: Store, folders: Folders, bases: Mapping[str, Path]) -> Path:
    """The folder of the checkpoint that `asked` names. Raises RequestError 404 that says what there is."""
    if asked in bases:
        return bases[asked]
    version = VERSION.search(asked)
    name = VERSION.sub("", asked).removeprefix(SCHEME)
    model = _model_of(asked, name, store, bases)
    if version is None or version["step"] is None:
        return folders.checkpoint(model.id, store.latest_step(model.id))
    step = int(version["step"])
    steps = [0, *store.steps(model.id)]
    if step not in steps:
        raise RequestError(404, f"{name!r} has no step {step}; it has {_ranges(steps)}", "step_not_found")
    return folders.checkpoint(model.id, step)


def _model_of(asked: str, name: str, store: Store, bases: Mapping[str, Path]) -> Model:
    columns = ("entity", "project", "name")
    parts = name.split("/")
    found = (
        store.models(**dict(zip(columns[-len(parts) :], parts, strict=True)))
        if len(parts) <= len(columns)
        else []
    )
    if len(found) == 1:
        return found[0]
    if found:
        full = ", ".join(model.full_name for model in found[:SHOWN])
        raise RequestError(404, f"{asked!r} could be {full}; write entity/project/name", "model_ambiguous")
    known = [model.full_name for model in store.models()]
    more = f" and {len(known) - SHOWN} more" if len(known) > SHOWN else ""
    registered = (
        f"registered models: {', '.join(known[-SHOWN:])}{more}" if known else "no model is registered"
    )
    raise RequestError(
        404,
        f"model {asked!r} does not exist; base models: {', '.join(bases)}; {registered}",
        "model_not_found",
    )


def _ranges(steps: list[int]) -> str:
    """'steps 0, 3-7'."""
    runs: list[list[int]] = []
    for step in steps:
        if runs and step == runs[-1][-1] + 1:
            runs[-1].append(step)
        else:
            runs.append([step])
    shown = [str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs[-SHOWN:]]
    return f"steps {'..., ' if len(runs) > SHOWN else ''}{', '.join(shown)}"
