"""A policy behind HTTP that answers after a fixed time: what rollouts are measured and tested against.

    python -m benchmarks.policy_server --port 8000 --wait-s 0.2 --turns 3

It speaks the part of the OpenAI protocol that an episode needs, keeps connections open, and always makes the
same moves: searches, then a report that names the service of the first line it was shown. It costs next to
nothing, so that what is left of an episode's time is ours. Not here: a model.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
from collections.abc import Sequence
from typing import Any

Json = dict[str, Any]
SEARCHES: tuple[Json, ...] = ({"min_level": "WARN"}, {"min_level": "ERROR"}, {})
NAMED = re.compile(r"^services: (\S+)", re.MULTILINE)


def reply(messages: Sequence[Json], turns: int) -> Json:
    """Return the assistant's message for a conversation so far."""
    spoken = sum(message["role"] == "assistant" for message in messages)
    if spoken < turns - 1:
        return _call(f"call_{spoken}", "search_logs", SEARCHES[spoken % len(SEARCHES)])
    named = NAMED.search(str(messages[1]["content"]))
    service = named[1] if named else "unknown"
    report: Json = {"root_cause": f"{service} failed", "suspected_service": service, "key_log_ids": []}
    return _call("answer", "return_final_answer", report)


def _call(name: str, tool: str, arguments: Json) -> Json:
    function = {"name": tool, "arguments": json.dumps(arguments)}
    return {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": name, "type": "function", "function": function}],
    }


def completion(asked: Json, turns: int) -> Json:
    """Return a whole chat completion."""
    choice = {"index": 0, "message": reply(asked["messages"], turns), "finish_reason": "tool_calls"}
    usage = {"prompt_tokens": 400, "completion_tokens": 30, "total_tokens": 430}
    fixed = {"id": "fixed", "object": "chat.completion", "created": 0, "model": asked["model"]}
    return {**fixed, "choices": [choice], "usage": usage}


class PolicyServer:
    """The server. `asked` counts the replies it gave."""

    def __init__(self, wait_s: float, turns: int) -> None:
        self.asked = 0
        self._wait_s, self._turns = wait_s, turns

    async def serve(self, host: str, port: int) -> asyncio.Server:
        """Listen; return the server, which knows its port."""
        return await asyncio.start_server(self._talk, host, port, backlog=1024)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = re.search(rb"(?i)content-length: (\d+)", head)
                body = await reader.readexactly(int(length[1])) if length else b""
                answer = await self._answer(head, body)
                line = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
                writer.write(line % len(answer) + answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client has gone
        finally:
            writer.close()

    async def _answer(self, head: bytes, body: bytes) -> bytes:
        if head.startswith(b"GET"):
            return b'{"object": "list", "data": [{"id": "fixed", "object": "model"}]}'
        if self._wait_s:
            await asyncio.sleep(self._wait_s)
        self.asked += 1
        return json.dumps(completion(json.loads(body), self._turns)).encode()


async def _serve(arguments: argparse.Namespace) -> None:
    server = await PolicyServer(arguments.wait_s, arguments.turns).serve("127.0.0.1", arguments.port)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", flush=True)
    await server.serve_forever()


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until it is killed; prints its address."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.policy_server",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one (default)")
    parser.add_argument("--wait-s", type=float, default=0.2, metavar="S", help="before a reply (default 0.2)")
    parser.add_argument("--turns", type=int, default=3, help="replies of an episode (default 3)")
    asyncio.run(_serve(parser.parse_args(argv)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
