"""What `--policy` names: a script, a model behind litellm, or a model that the training service holds.

    script:NAME                 code (core.policies.scripted)
    litellm:MODEL               any model litellm reaches; its own environment variables hold the key
    embedded:NAME[@stepN]       a model of training_service; without @stepN its latest checkpoint, pinned when the run begins

An opened policy makes one Chat per episode. A service that nobody runs is started for the time it is needed
(`core.policies.embedded`). Policies do not judge and do not store.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from core.policies.embedded import Access, served
from project_types import EMBEDDED, Chat, ConfigurationError, EpisodeConfig

KINDS = ("script", "litellm", "embedded")


class PolicyName(NamedTuple):
    """A parsed `--policy`."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"


class Policy(NamedTuple):
    """An opened policy. `name` is resolved: it names one checkpoint and goes into every episode."""

    name: str
    chat: Callable[[str, int], Chat]
    """The Chat of one episode, given its scenario's id and its sample number."""


def parse(text: str) -> PolicyName:
    """Read a `--policy`. Raises ConfigurationError with the known names."""
    kind, colon, name = text.partition(":")
    if kind not in KINDS or not colon or not name:
        raise ConfigurationError(
            f"--policy {text!r}: write script:NAME, litellm:MODEL or embedded:NAME[@stepN]"
        )
    if kind == "script":
        from core.policies.scripted import SCRIPTED

        if name not in SCRIPTED:
            raise ConfigurationError(
                f"--policy {text!r}: no such script; known: {', '.join(sorted(SCRIPTED))}"
            )
    return PolicyName(kind, name)


def usual_rules(policy: PolicyName) -> EpisodeConfig:
    """The rules a policy is played by unless told otherwise: short results for small models and scripts."""
    return EpisodeConfig() if policy.kind == "litellm" else EMBEDDED


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
    try:
        name = str(json.loads((run / "config.json").read_text(encoding="utf-8"))["config"]["base_model"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    return f"{Path(name).resolve().name}={Path(name).resolve()}" if Path(name).is_dir() else name


@asynccontextmanager
async def opened(
    policy: PolicyName, config: EpisodeConfig, seed: int, access: Access
) -> AsyncIterator[Policy]:
    """The policy, ready to play; whatever was started for it ends with the block.

    Raises:
        ConfigurationError: the model or the service is not there; says what to type.
    """
    if policy.kind == "script":
        yield scripted(policy, config, seed)
    elif policy.kind == "litellm":
        from core.policies.providers import litellm_chat

        options: dict[str, Any] = (
            {"api_base": access.base_url, "api_key": access.api_key} if access.base_url else {}
        )
        chat = litellm_chat(policy.name, config, **options)
        yield Policy(str(policy), lambda scenario_id, sample: chat)
    else:
        async with (
            served(policy.name, access) as (base_url, model),
            _embedded(base_url, model, config, seed, access) as found,
        ):
            yield found


@asynccontextmanager
async def _embedded(
    base_url: str, model: str, config: EpisodeConfig, seed: int, access: Access
) -> AsyncIterator[Policy]:
    """A model behind the training service; its dice depend on the seed, the scenario and the sample."""
    import httpx
    from openai import AsyncOpenAI

    from core.policies.providers import openai_chat

    async with httpx.AsyncClient(trust_env=False, timeout=config.provider_timeout_s) as transport:
        client = AsyncOpenAI(base_url=base_url, api_key=access.api_key, http_client=transport)

        def chat(scenario_id: str, sample: int) -> Chat:
            dice = int.from_bytes(sha256(f"{seed}:{scenario_id}:{sample}".encode()).digest()[:4]) >> 1
            return openai_chat(client, model, config, seed=dice)

        yield Policy(f"embedded:{model}", chat)


def scripted(policy: PolicyName, config: EpisodeConfig, seed: int) -> Policy:
    """A script; its dice depend on the seed, the scenario and the sample, and on nothing else."""
    from core.policies.scripted import SCRIPTED

    factory = SCRIPTED[policy.name]
    return Policy(
        str(policy),
        lambda scenario_id, sample: factory(
            random.Random(f"{seed}:{policy.name}:{scenario_id}:{sample}"), config
        ),
    )
