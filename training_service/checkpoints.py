"""What a checkpoint folder holds, and how weights and optimizer get in and out of it.

    state.json              which base model (name and hash), what kind of weights, how many optimizer steps were taken
    model.safetensors       kind "full": every parameter
    adapter_model.safetensors, adapter_config.json    kind "lora": a peft adapter, readable by peft and vLLM
    optimizer.safetensors   AdamW's two moments of each trained parameter

Kind "base" is state.json alone: the base model as it is. Tensors are stored as they were trained, so a
restart loses nothing. Not here: where folders live and when they appear (the server), and what is in a base
model (`base_models`).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import AdamW

from training_service.engine import OPTIMIZER_PREFIX, RequestError

STATE, WEIGHTS, OPTIMIZER = "state.json", "model.safetensors", f"{OPTIMIZER_PREFIX}.safetensors"
Kind = Literal["base", "full", "lora"]


@dataclass(frozen=True)
class State:
    """`state.json`."""

    base_model: str
    base_sha256: str
    kind: Kind = "base"
    optimizer_steps: int = 0
    format: int = 1


def write_state(folder: Path, state: State) -> None:
    """Write `state.json`."""
    (folder / STATE).write_text(json.dumps(asdict(state), indent=1) + "\n", encoding="utf-8")


def read_state(folder: Path) -> State:
    """Read `state.json`. Raises RequestError when the folder is no checkpoint of this format."""
    try:
        state = State(**json.loads((folder / STATE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as trouble:
        raise RequestError(
            500, f"checkpoint {folder.name} cannot be read ({trouble}); use another step"
        ) from trouble
    if state.format != 1:
        raise RequestError(
            500, f"checkpoint {folder.name} has format {state.format}; this version reads format 1"
        )
    return state


def save_trained(model: nn.Module, folder: Path, kind: Kind) -> None:
    """Write the trained weights of a model: all of them, or its adapter."""
    if kind == "lora":
        model.save_pretrained(str(folder))  # type: ignore[operator]
        return
    tensors = {name: parameter.detach().cpu().contiguous() for name, parameter in model.named_parameters()}
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a file. Raises RequestError when it is missing or damaged."""
    try:
        return dict(load_file(path))
    except (OSError, SafetensorError) as trouble:
        raise RequestError(
            500, f"{path.parent.name}/{path.name} cannot be read ({trouble}); use another step"
        ) from trouble


def load_full(model: nn.Module, folder: Path) -> None:
    """Put the weights of a "full" checkpoint into a model of the same shape."""
    tensors = read_tensors(folder / WEIGHTS)
    parameters = dict(model.named_parameters())
    if set(tensors) != set(parameters):
        odd = sorted(set(tensors) ^ set(parameters))[0]
        raise RequestError(
            500, f"checkpoint {folder.name} does not fit its base model (parameter {odd}); use another step"
        )
    with torch.no_grad():
        for name, tensor in tensors.items():
            parameters[name].copy_(tensor)


def save_optimizer(model: nn.Module, optimizer: AdamW, folder: Path) -> None:
    """Write AdamW's moments by parameter name."""
    tensors: dict[str, Tensor] = {}
    for name, parameter in model.named_parameters():
        if state := optimizer.state.get(parameter):
            for moment in ("exp_avg", "exp_avg_sq"):
                tensors[f"{moment}.{name}"] = state[moment].detach().cpu().contiguous()
    save_file(tensors, folder / OPTIMIZER)


def load_optimizer(model: nn.Module, optimizer: AdamW, folder: Path, steps: int) -> None:
    """Put the moments back; a checkpoint without an optimizer file starts with none."""
    if not (folder / OPTIMIZER).exists():
        return
    tensors = read_tensors(folder / OPTIMIZER)
    for name, parameter in model.named_parameters():
        if f"exp_avg.{name}" in tensors:
            optimizer.state[parameter] = {
                "step": torch.tensor(float(steps)),
                "exp_avg": tensors[f"exp_avg.{name}"].to(parameter.device),
                "exp_avg_sq": tensors[f"exp_avg_sq.{name}"].to(parameter.device),
            }
