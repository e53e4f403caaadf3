"""A pool of servers: an episode stays at one, and moves on when that one is gone."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator

import pytest
from openai import APIConnectionError, AsyncOpenAI, InternalServerError

from core.policies.addresses import Pool, addresses
from project_types import ConfigurationError
from tests.fakes.openai_server import OpenAIServer, Reply, http_error, say

ASKED = {"model": "fake", "messages": [{"role": "user", "content": "where?"}]}


@pytest.fixture
async def servers() -> AsyncIterator[list[OpenAIServer]]:
    with OpenAIServer(lambda body: say("here")) as one, OpenAIServer(lambda body: say("here")) as two:
        yield [one, two]


def pool_of(*servers: OpenAIServer) -> Pool:
    return Pool([AsyncOpenAI(base_url=server.base_url, api_key="key", max_retries=0) for server in servers])


def asked(servers: list[OpenAIServer]) -> list[int]:
    return [len(server.requests) for server in servers]


async def test_the_calls_of_an_episode_go_to_one_server(servers: list[OpenAIServer]) -> None:
    create = pool_of(*servers).create("session")
    for _ in range(5):
        await create(**ASKED)
    assert sorted(asked(servers)) == [0, 5]


async def test_every_server_gets_its_share_of_the_episodes(servers: list[OpenAIServer]) -> None:
    pool = pool_of(*servers)
    for number in range(40):
        await pool.create(f"session {number}")(**ASKED)
    assert min(asked(servers)) >= 10


async def test_an_episode_moves_on_when_its_server_is_gone(servers: list[OpenAIServer]) -> None:
    with OpenAIServer(lambda body: say("here")) as third:
        pool = pool_of(*servers, third)
        sessions = [f"session {number}" for number in range(30)]
        for session in sessions:
            await pool.create(session)(**ASKED)
        had = len(third.requests)
        assert had > 0
    counts = Counter[str]()
    for session in sessions:
        create = pool.create(session)
        try:
            await create(**ASKED)
        except APIConnectionError:
            counts["lost"] += 1
            await create(**ASKED)  # what `core.model_calls` does
    assert counts["lost"] <= 2, "one failure tells all episodes"
    assert sum(asked(servers)) == 60 - had


async def test_a_server_that_answers_again_takes_part_again(servers: list[OpenAIServer]) -> None:
    broken = iter([True])

    def once_broken(body: object) -> Reply:
        return http_error(503, "starting") if next(broken, False) else say("here")

    with OpenAIServer(once_broken) as third:
        pool = pool_of(third)
        create = pool.create("session")
        with pytest.raises(InternalServerError):
            await create(**ASKED)
        assert (await create(**ASKED)).choices[0].message.content == "here", "no other server is there"


@pytest.mark.parametrize(
    ("text", "found"),
    [("http://a/v1", ["http://a/v1"]), ("http://a/v1, http://b/v1,", ["http://a/v1", "http://b/v1"])],
)
def test_addresses_are_split_at_commas(text: str, found: list[str]) -> None:
    assert addresses(text) == found


def test_no_address_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="write http://HOST:PORT/v1"):
        addresses(" , ")
