"""`litellm:MODEL`: a policy that litellm reaches by name; the provider's own variables hold its key.

With --base-url, `litellm:openai/MODEL` reaches a server of one's own. Costs are counted.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from core.model_calls import PATIENCE, Patience, load_litellm
from core.policies.contract import Access, Policy
from core.policies.openai import DEFAULT_RULES
from core.policies.providers import ProviderChat
from project_types import Chat, EpisodeConfig


def litellm_chat(
    model: str, config: EpisodeConfig = DEFAULT_RULES, patience: Patience = PATIENCE, **options: Any
) -> Chat:
    """A policy that litellm reaches by name. `options` (api_base, api_key, seed, ...) are passed on."""
    options = {"timeout": config.provider_timeout_s, "max_retries": 0, **options}
    return ProviderChat(load_litellm().acompletion, model, config, patience, options)


@asynccontextmanager
async def opened(name: str, config: EpisodeConfig, seed: int, access: Access) -> AsyncIterator[Policy]:
    """The model, for as long as the block lasts."""
    reach: dict[str, Any] = (
        {"api_base": access.base_url, "api_key": access.api_key} if access.base_url else {}
    )
    chat = litellm_chat(name, config, **reach)
    yield Policy(f"litellm:{name}", lambda scenario_id, sample: chat)
