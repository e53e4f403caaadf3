"""What every kind of policy gives and takes: the words that `core.policies.registry` and its kinds share.

A kind is a module with `opened(name, config, seed, access)`: it yields a `Policy` for as long as its block
lasts. Not here: which kinds there are (`registry`).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import NamedTuple, Protocol

from project_types import Chat, EpisodeConfig


class Policy(NamedTuple):
    """An opened policy. `name` is resolved: it names one checkpoint and goes into every episode."""

    name: str
    chat: Callable[[str, int], Chat]
    """The Chat of one episode, given its scenario's id and its sample number."""


class Access(NamedTuple):
    """How to reach a model that is not code."""

    base_url: str | None
    """A server that already runs: http://HOST:PORT/v1."""
    api_key: str
    data: Path
    """Where the training service keeps its models, when it has to be started."""
    project: str
    base_model: str
    """What that service is started with: a shipped name, or NAME=FOLDER."""


class Opener(Protocol):
    """Opens the policies of one kind."""

    def __call__(
        self, name: str, config: EpisodeConfig, seed: int, access: Access
    ) -> AbstractAsyncContextManager[Policy]:
        """The policy, ready to play. Raises ConfigurationError that says what to type."""
        ...
