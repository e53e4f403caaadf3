"""An episode whose replies come one by one from outside: for loops that are not ours.

`rollout.investigate` asks a Chat for replies. Here it runs in a task, and its Chat waits for whoever drives
it: `begin` gives the opening, `reply` takes what the policy said and gives what it is shown next. The rules,
the endings and the reward are those of `investigate`, because it is `investigate`. `Driven` does the same for
callers that cannot await.

Not here: what is played (`investigations`).
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple, TypeVar

from project_types import Chat, ChatReply, ContextOverflow, Episode, Message

Play = Callable[[Chat], Awaitable[Episode]]
T = TypeVar("T")


class Step(NamedTuple):
    """What the policy is shown next, and the episode once it has ended."""

    messages: tuple[Message, ...]
    """Messages since the last reply, which is not among them."""
    episode: Episode | None


class Stepping:
    """One episode, driven from outside. Every method belongs to one event loop."""

    def __init__(self, play: Play) -> None:
        self._asked: asyncio.Queue[Sequence[Message]] = asyncio.Queue()
        self._replies: asyncio.Queue[ChatReply | Exception] = asyncio.Queue()
        self._told = 0
        self._task: asyncio.Future[Episode] | None = None
        self._play = play

    async def begin(self) -> Step:
        """Start; the step holds the opening messages."""
        self._task = asyncio.ensure_future(self._play(self._chat))
        return await self._next()

    async def reply(self, reply: ChatReply) -> Step:
        """Say something. Raises what `investigate` raises, JudgeError among it."""
        self._replies.put_nowait(reply)
        return await self._next()

    async def end(self) -> Step:
        """Say that no reply will come, because the conversation has outgrown what its policy can read."""
        self._replies.put_nowait(ContextOverflow("the driver ended the conversation"))
        return await self._next()

    def close(self) -> None:
        """Abandon the episode where it is."""
        if self._task is not None:
            self._task.cancel()

    async def _chat(self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]]) -> ChatReply:
        self._asked.put_nowait(messages)
        reply = await self._replies.get()
        if isinstance(reply, Exception):
            raise reply
        return reply

    async def _next(self) -> Step:
        """Wait until the episode wants a reply or has ended."""
        assert self._task is not None, "begin first"
        asked = asyncio.ensure_future(self._asked.get())
        either: set[asyncio.Future[Any]] = {asked, self._task}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if asked.done():
            return Step(self._news(asked.result()), None)
        asked.cancel()
        episode = self._task.result()
        return Step(self._news(episode.messages), episode)

    def _news(self, messages: Sequence[Message]) -> tuple[Message, ...]:
        news = tuple(message for message in messages[self._told :] if message["role"] != "assistant")
        self._told = len(messages)
        return news


class Driven:
    """`Stepping` for callers without an event loop, or with one of their own: a thread holds the loop."""

    def __init__(self, play: Play) -> None:
        self._stepping = _waited_for(_made(play))

    def begin(self) -> Step:
        """See `Stepping.begin`."""
        return _waited_for(self._stepping.begin())

    def reply(self, reply: ChatReply) -> Step:
        """See `Stepping.reply`."""
        return _waited_for(self._stepping.reply(reply))

    def end(self) -> Step:
        """See `Stepping.end`."""
        return _waited_for(self._stepping.end())

    def close(self) -> None:
        """See `Stepping.close`."""
        _loop().call_soon_threadsafe(self._stepping.close)


async def _made(play: Play) -> Stepping:
    return Stepping(play)


@cache
def _loop() -> asyncio.AbstractEventLoop:
    """The one loop of all driven episodes; its thread ends with the process."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="investigations", daemon=True).start()
    return loop


def _waited_for(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run_coroutine_threadsafe(work, _loop()).result()
