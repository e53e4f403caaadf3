"""Base models: which there are, how one is loaded, and how its checkpoints become models that run or train.

A base model is a folder in Hugging Face's layout (config.json, *.safetensors, tokenizer, chat template) on
this machine; nothing is ever downloaded. Small ones are trained whole, large ones through a LoRA adapter
(peft). Every checkpoint of a LoRA-trained model is a module tree of its own whose frozen parameters are the
very tensors of the base, so a checkpoint costs the memory of its adapter only, and one can be trained while
others answer.

Not here: the content of checkpoint folders (`checkpoints`), and requests (`local_engine`).
"""

from __future__ import annotations

import copy
import hashlib
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from safetensors import SafetensorError
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

from project_types import ConfigurationError
from training_service import ragged_attention
from training_service.chat_format import ChatFormat
from training_service.checkpoints import Kind, State, load_full, read_state, save_trained, write_state
from training_service.engine import RequestError
from training_service.fetch import ADAPTED, MODELS, fetched
from training_service.half_linears import Halves, halved
from training_service.precision import Precision
from training_service.prefix_tree import TokenTree, tree_logits

Adapt = Literal["auto", "full", "lora"]
SHIPPED = Path(__file__).parent / "weights"
FULL_BELOW = 100_000_000
"""Models with fewer parameters are trained whole, in float32; larger ones through an adapter, and on a GPU in
bfloat16.
"""
HASH_WHOLE_BELOW = 1 << 30
warnings.filterwarnings(
    "ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning
)  # peft 0.21 reads it


@dataclass(frozen=True)
class LoraShape:
    """Size of the adapters, fixed for the life of a model."""

    rank: int = 16
    alpha: int = 32


class Base:
    """One loaded base model."""

    def __init__(
        self,
        name: str,
        folder: Path,
        device: torch.device,
        adapt: Adapt = "auto",
        lora: LoraShape | None = None,
    ) -> None:
        self.name, self.folder, self.device = name, folder, device
        with ThreadPoolExecutor(max_workers=1) as aside:
            hashed = aside.submit(fingerprint, folder)
            self.model: Any = _load_model(folder, device)
            self.context = int(self.model.config.max_position_embeddings)
            self.chat = _load_chat(folder, self.model)
            self.sha256 = hashed.result()
        size = sum(parameter.numel() for parameter in self.model.parameters())
        self.lora = (
            (lora or LoraShape()) if adapt == "lora" or (adapt == "auto" and size >= FULL_BELOW) else None
        )
        self._halves: Halves = {}
        _check_runs(self.model, name, device)

    def state(self) -> State:
        """The state of a checkpoint that is this base model itself."""
        return State(self.name, self.sha256)

    def policy(self, checkpoint: Path) -> nn.Module:
        """The model of a checkpoint, for inference. Raises RequestError when the checkpoint does not fit."""
        state = self._checked(checkpoint)
        if state.kind == "base":
            return cast(nn.Module, self.model)
        return self._with_weights(checkpoint, state).requires_grad_(False)

    def for_generating(self, policy: nn.Module, precision: Precision) -> nn.Module:
        """The model of a checkpoint as it writes: a large one on a CPU has its linear layers in
        the arithmetic of training.

        A small one stays as it is: its linear layers are not what takes the time.
        """
        worth_it = self.lora is not None and self.device.type == "cpu" and precision == "bfloat16"
        return halved(policy, self.model, self._halves) if worth_it else policy

    def trainee(self, checkpoint: Path) -> nn.Module:
        """A private copy of the model of a checkpoint, its trainable parameters marked."""
        state = self._checked(checkpoint)
        return self.fresh_trainee() if state.kind == "base" else self._with_weights(checkpoint, state)

    def fresh_trainee(self) -> nn.Module:
        """A private copy of the base model itself, its trainable parameters marked."""
        return self._copied() if self.lora is None else self._adapted()

    def with_adapter(self, folder: Path) -> nn.Module:
        """A private copy with the adapter of a folder, whatever base it says it is for. Raises RequestError
        when it cannot be read or is of another shape.
        """
        return self._adapted(folder)

    def trained_parameters(self, kind: Kind) -> int:
        """Return how many parameters a job trains: all, or those of the adapters."""
        if kind != "lora":
            return sum(parameter.numel() for parameter in self.model.parameters())
        rank, head = (self.lora or LoraShape()).rank, self.model.get_output_embeddings()
        layers = [
            layer for layer in self.model.modules() if isinstance(layer, nn.Linear) and layer is not head
        ]
        return sum(rank * (layer.in_features + layer.out_features) for layer in layers)

    def _with_weights(self, checkpoint: Path, state: State) -> nn.Module:
        if state.kind == "lora":
            return self._adapted(checkpoint)
        model = self._copied()
        load_full(model, checkpoint)
        return model

    def _copied(self) -> nn.Module:
        return cast(nn.Module, copy.deepcopy(self.model)).requires_grad_(True)

    def _adapted(self, checkpoint: Path | None = None) -> nn.Module:
        """The base with an adapter: a fresh one that changes nothing yet, or that of a checkpoint."""
        from peft import LoraConfig, PeftModel, TaskType, get_peft_model

        from training_service.lean_layers import make_lean

        shared = {id(tensor): tensor for tensor in (*self.model.parameters(), *self.model.buffers())}
        frame = copy.deepcopy(self.model, shared)
        if checkpoint is not None:
            try:
                adapted: nn.Module = PeftModel.from_pretrained(frame, str(checkpoint), is_trainable=True)
            except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as trouble:
                raise RequestError(
                    500, f"checkpoint {checkpoint.name} cannot be read ({trouble}); use another step"
                ) from trouble
            make_lean(frame.get_decoder().layers)
            return adapted.eval()
        shape = self.lora or LoraShape()
        config = LoraConfig(
            r=shape.rank, lora_alpha=shape.alpha, target_modules="all-linear", task_type=TaskType.CAUSAL_LM
        )
        adapted = get_peft_model(frame, config)
        make_lean(frame.get_decoder().layers)
        return adapted.eval()

    def save(self, model: nn.Module, folder: Path, steps: int) -> None:
        """Write what was trained of a trainee, with its state."""
        kind: Kind = "lora" if hasattr(model, "get_base_model") else "full"
        save_trained(model, folder, kind)
        write_state(folder, State(self.name, self.sha256, kind, steps))

    def load(self, model: nn.Module, folder: Path) -> None:
        """Put the trained weights of a checkpoint into a trainee. Raises
        RequestError when they do not fit.
        """
        if self._checked(folder).kind != "lora":
            load_full(model, folder)
            return
        from peft import load_peft_weights, set_peft_model_state_dict

        found = set_peft_model_state_dict(model, load_peft_weights(str(folder), device=str(self.device)))
        if found.unexpected_keys:
            raise RequestError(409, f"adapter {folder.name} does not fit ({found.unexpected_keys[0]})")

    def _checked(self, checkpoint: Path) -> State:
        state = read_state(checkpoint)
        if state.base_sha256 != self.sha256:
            raise RequestError(
                409,
                f"checkpoint {checkpoint.name} was trained from other weights named {self.name!r} "
                f"(sha256 {state.base_sha256[:12]}, now {self.sha256[:12]}); restore the old base model or register a new model",
            )
        return state


def locate(names: Sequence[str]) -> dict[str, Path]:
    """Name to folder, for shipped and fetched names, folders, and NAME=FOLDER. Raises ConfigurationError that
    names the fix.
    """
    found: dict[str, Path] = {}
    for given in names:
        name, _, place = given.partition("=")
        if not place and "/" not in name and (SHIPPED / name / "config.json").exists():
            found[name] = SHIPPED / name
            continue
        if not place and (kept := fetched(name)) is not None:
            found[name] = kept
            continue
        folder = Path(place or name).expanduser().resolve()
        if not (folder / "config.json").exists():
            raise ConfigurationError(_not_there(given))
        found[name if place else folder.name] = folder
    return found


def _not_there(given: str) -> str:
    if given in {*MODELS, *ADAPTED}:
        return (
            f"base model {given!r} is not on this machine yet; run: python -m training_service fetch {given}"
        )
    shipped = ", ".join(sorted(path.parent.name for path in SHIPPED.glob("*/config.json"))) or "none"
    return (
        f"base model {given!r}: neither a shipped model ({shipped}), a fetched one ({', '.join([*MODELS, *ADAPTED])}), nor a "
        "folder with a config.json; give the folder of a Hugging Face model on this machine"
    )


def pick_device(device: str) -> torch.device:
    """'auto' is the first GPU if there is one. Raises ConfigurationError for a device this machine lacks."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigurationError(
            f"device {device!r}: PyTorch sees no GPU; use device 'cpu', or install a CUDA build of torch"
        )
    try:
        return torch.device(device)
    except RuntimeError as trouble:
        raise ConfigurationError(f"device {device!r}: use auto, cpu, cuda or cuda:N") from trouble


def fingerprint(folder: Path) -> str:
    """SHA-256 over the weights and the tokenizer; of files above 1 GiB, over their size and first and last
    MiB.
    """
    digest = hashlib.sha256()
    for path in sorted((*folder.glob("*.safetensors"), folder / "tokenizer.json")):
        if not path.exists():
            continue
        size = path.stat().st_size
        digest.update(f"{path.name} {size}\n".encode())
        with path.open("rb") as file:
            if size < HASH_WHOLE_BELOW:
                digest.update(file.read())
            else:
                digest.update(file.read(1 << 20))
                file.seek(-(1 << 20), 2)
                digest.update(file.read())
    return digest.hexdigest()


def _load_model(folder: Path, device: torch.device) -> Any:
    logging.disable_progress_bar()
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        model = AutoModelForCausalLM.from_pretrained(
            folder,
            config=config,
            attn_implementation=ragged_attention.NAME,
            dtype=torch.float32,
            local_files_only=True,
        )
    except (OSError, ValueError) as trouble:
        raise ConfigurationError(f"base model {folder}: {trouble}") from trouble
    size = sum(parameter.numel() for parameter in model.parameters())
    half = device.type == "cuda" and size >= FULL_BELOW
    return model.to(device, torch.bfloat16 if half else torch.float32).eval().requires_grad_(False)


def _load_chat(folder: Path, model: Any) -> ChatFormat:
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        return ChatFormat(tokenizer, _end_tokens(tokenizer, model))
    except (OSError, ValueError) as trouble:
        raise ConfigurationError(f"base model {folder}: {trouble}") from trouble


def _end_tokens(tokenizer: Any, model: Any) -> frozenset[int]:
    ends = {tokenizer.eos_token_id}
    for config in (model.config, model.generation_config):
        given = getattr(config, "eos_token_id", None)
        ends |= set(given) if isinstance(given, list) else {given}
    ends.discard(None)
    if not ends:
        raise ValueError("no end token; set eos_token in tokenizer_config.json")
    return frozenset(int(token) for token in ends)


def _check_runs(model: nn.Module, name: str, device: torch.device) -> None:
    """One tiny forward: a kind of attention that the packed plan cannot do shows here, not in the first
    request.
    """
    try:
        with torch.inference_mode():
            tree_logits(model, TokenTree([np.array([0, 1], np.int32), np.array([0], np.int32)]), device)
    except (RuntimeError, ValueError, TypeError, AttributeError) as trouble:
        message = (
            f"base model {name!r} cannot run packed: {trouble}; use a Llama-, Qwen- or Mistral-like model"
        )
        raise ConfigurationError(message) from trouble
