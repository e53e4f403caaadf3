"""Who can play: what `--policy` names, in every room.

    script:NAME             code                                          core.policies.scripted
    embedded:NAME[@stepN]   a model of the training service               core.policies.embedded
    litellm:MODEL           any model litellm reaches                     core.policies.litellm
    openai:MODEL            a server that speaks the OpenAI protocol      core.policies.openai

An opened policy makes one Chat per episode. Policies do not judge and do not store.
"""

from __future__ import annotations

import argparse
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import NamedTuple

from core.command_line import runs_flag
from core.episode_store.run_folder import RunFolder
from core.policies import embedded, litellm, openai, scripted
from core.policies.contract import Access, Opener, Policy
from project_types import EMBEDDED, ConfigurationError, EpisodeConfig

OPENERS: dict[str, Opener] = {
    "script": scripted.opened,
    "embedded": embedded.opened,
    "litellm": litellm.opened,
    "openai": openai.opened,
}
FORMS = "script:NAME, embedded:NAME[@stepN], litellm:MODEL, or openai:MODEL with --base-url"
"""The forms of `--policy`, for help texts and errors."""


class PolicyName(NamedTuple):
    """A parsed `--policy`."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"


def parse(text: str) -> PolicyName:
    """Read a `--policy`. Raises ConfigurationError with the known names."""
    kind, colon, name = text.partition(":")
    if kind not in OPENERS or not colon or not name:
        raise ConfigurationError(f"--policy {text!r}: write {FORMS}")
    if kind == "script" and name not in scripted.SCRIPTED:
        known = ", ".join(sorted(scripted.SCRIPTED))
        raise ConfigurationError(f"--policy {text!r}: no such script; known: {known}")
    return PolicyName(kind, name)


def opened(
    policy: PolicyName, config: EpisodeConfig, seed: int, access: Access
) -> AbstractAsyncContextManager[Policy]:
    """The policy, ready to play; whatever was started for it ends with the block.

    Raises:
        ConfigurationError, ServiceError: the model or the service is not there; says what to type.
    """
    return OPENERS[policy.kind](policy.name, config, seed, access)


def usual_rules(policy: PolicyName) -> EpisodeConfig:
    """The rules a policy is played by unless told otherwise: short results for small models and scripts."""
    return EMBEDDED if policy.kind in ("script", "embedded") else EpisodeConfig()


def policy_flag(
    parser: argparse.ArgumentParser, about: str = "who investigates", default: str | None = None
) -> None:
    """The flag that says who plays; `parse` reads it."""
    said = f"{about}: {FORMS}" + (f" (default {default})" if default else "")
    parser.add_argument("--policy", required=default is None, default=default, metavar="POLICY", help=said)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flags that say how a model is reached; `access` reads them."""
    reach = parser.add_argument_group("reaching a model")
    reach.add_argument(
        "--base-url",
        metavar="URL[,URL]",
        help="server that already runs, e.g. http://127.0.0.1:8000/v1; openai: takes several, with commas",
    )
    reach.add_argument("--api-key", default="local", metavar="KEY", help="its bearer token (default local)")
    runs_flag(reach)
    reach.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="data of the service started here (default runs/NAME/service)",
    )
    reach.add_argument(
        "--base-model", metavar="NAME", help="what that service starts with (default: what the run did)"
    )
    reach.add_argument(
        "--project",
        default="log-investigator",
        help="project of a model, and in W&B (default log-investigator)",
    )


def access(arguments: argparse.Namespace, policy: PolicyName) -> Access:
    """What the flags say; where they are silent, the run that trained the model: runs/NAME/service and its
    base model.
    """
    run = arguments.runs / policy.name.partition("@")[0]
    trained = policy.kind == "embedded" and (run / "service").is_dir()
    data = arguments.data or (run / "service" if trained else arguments.runs / "training_service")
    base_model = arguments.base_model or (_base_model_of(run) if trained else "") or "tiny-investigator"
    return Access(arguments.base_url, arguments.api_key, data, arguments.project, base_model)


def _base_model_of(run: Path) -> str:
    """The base model of a training run as the service takes it; empty when the run does not say."""
    return named_base_model(str(RunFolder(run).config.get("base_model", "")))


def named_base_model(base_model: str) -> str:
    """`NAME=FOLDER` for a folder, so that clients have a short name for it; a name as it is."""
    folder = Path(base_model).resolve()
    return f"{folder.name}={folder}" if base_model and folder.is_dir() else base_model
