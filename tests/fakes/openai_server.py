"""An OpenAI-compatible server on a real loopback socket that says what a script tells it to.

    with OpenAIServer([call("search_logs", service="orders"), answer("orders", "the disk is full")]) as
    policy:
        client = AsyncOpenAI(base_url=policy.base_url, api_key="test")

A script is a sequence of replies, one per request, or a function of the request's body. Replies carry
`token_ids`, `prompt_token_ids` and logprobs as the training service's do. Bad days are replies too: `hang`,
`late`, `rubbish`, `http_error`, `overflow`, `refusal`; `bad_day` names them for tests that go through all. It
holds no model and checks no schema.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Literal, Self

Mode = Literal["ok", "timeout", "rubbish", "late", "500-then-ok", "refusal", "overflow"]


@dataclass(frozen=True)
class Reply:
    """What the server does with one request: an HTTP status and a body, after a wait. `wait_s` None: never,
    until it closes.
    """

    message: Mapping[str, Any] = field(default_factory=dict)
    finish_reason: str = "stop"
    status: int = 200
    text: str | None = None
    """A body sent as it is, instead of a completion."""
    wait_s: float | None = 0.0
    drip_s: float = 0.0
    """Wait between the bytes of the body."""
    headers: Mapping[str, str] = field(default_factory=dict)


Script = Sequence[Reply] | Callable[[dict[str, Any]], Reply]


def say(text: str) -> Reply:
    """Plain text."""
    return Reply({"content": text})


def call(name: str, /, **arguments: Any) -> Reply:
    """One tool call."""
    return calls((name, json.dumps(arguments)))


def calls(*named: tuple[str, str]) -> Reply:
    """Several tool calls in one message, each a name and the raw text of its arguments."""
    made = [
        {"id": f"call_{number}", "type": "function", "function": {"name": name, "arguments": arguments}}
        for number, (name, arguments) in enumerate(named)
    ]
    return Reply({"content": None, "tool_calls": made}, finish_reason="tool_calls")


def answer(service: str, root_cause: str, **report: Any) -> Reply:
    """The final answer as a tool call."""
    return call("return_final_answer", suspected_service=service, root_cause=root_cause, **report)


def text_call(name: str, /, **arguments: Any) -> Reply:
    """A tool call as a model without tool support writes it."""
    return say(f"I will look.\n```json\n{json.dumps({'tool': name, 'arguments': arguments})}\n```")


def empty() -> Reply:
    """Neither text nor a call."""
    return Reply({"content": None})


def cut_off(text: str = "") -> Reply:
    """A reply that hit its length limit."""
    return Reply({"content": text}, finish_reason="length")


def refusal(text: str = "I cannot help with that.") -> Reply:
    """The model refuses, as the API says it."""
    return Reply({"content": None, "refusal": text})


def http_error(
    status: int, message: str = "the server is having a bad day", code: str | None = None
) -> Reply:
    """An error in OpenAI's shape."""
    return Reply(
        status=status, text=json.dumps({"error": {"message": message, "type": "fake", "code": code}})
    )


def overflow() -> Reply:
    """The conversation does not fit the context."""
    return http_error(400, "This model's maximum context length is 2048 tokens.", "context_length_exceeded")


def rubbish(text: str = '{"choices": "not what was promised"') -> Reply:
    """A body nobody can read, with status 200."""
    return Reply(text=text)


def hang() -> Reply:
    """No reply until the server closes."""
    return Reply(wait_s=None)


def late(reply: Reply, wait_s: float) -> Reply:
    """A good reply, too late or just in time."""
    return replace(reply, wait_s=wait_s)


def dripping(reply: Reply, drip_s: float) -> Reply:
    """A good reply, byte by byte, so that the client never waits long for the next one."""
    return replace(reply, drip_s=drip_s)


def bad_day(mode: Mode, good: Reply, late_s: float = 0.2) -> Callable[[dict[str, Any]], Reply]:
    """A script that treats every request as the mode says; '500-then-ok' fails the first request only."""
    replies: dict[str, Reply] = {
        "ok": good,
        "timeout": hang(),
        "rubbish": rubbish(),
        "late": late(good, late_s),
        "500-then-ok": good,
        "refusal": refusal(),
        "overflow": overflow(),
    }
    first = iter([http_error(500)] if mode == "500-then-ok" else [])
    return lambda body: next(first, replies[mode])


def by_turn(script: Sequence[Reply]) -> Callable[[dict[str, Any]], Reply]:
    """A script for many conversations at once: the reply depends on how often the assistant has spoken in
    this one.
    """

    def reply(body: dict[str, Any]) -> Reply:
        spoken = len([message for message in body["messages"] if message["role"] == "assistant"])
        return script[min(spoken, len(script) - 1)]

    return reply


class OpenAIServer:
    """The server, as a context manager. `requests` holds the bodies it received, `headers` their headers."""

    def __init__(self, script: Script) -> None:
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.closing = threading.Event()
        self._lock = threading.Lock()
        self._script = script if callable(script) else _in_order(iter(script))
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._http.owner = self  # type: ignore[attr-defined]
        self._thread = threading.Thread(
            target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )

    @property
    def base_url(self) -> str:
        """What an OpenAI client takes as base_url."""
        return f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    def reply_to(self, body: dict[str, Any], headers: Mapping[str, str]) -> Reply:
        """Note the request and ask the script; one at a time."""
        with self._lock:
            self.requests.append(body)
            self.headers.append({name.lower(): value for name, value in headers.items()})
            reply: Reply = self._script(body)
            return reply

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.closing.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


def _in_order(replies: Iterator[Reply]) -> Callable[[dict[str, Any]], Reply]:
    over = http_error(418, "the script is over: the client asked more often than the test expects")
    return lambda body: next(replies, over)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # a body waits 40 ms for the header's acknowledgement otherwise

    def do_GET(self) -> None:
        if self.path == "/v1/models":
            self._send(200, json.dumps({"object": "list", "data": [{"id": "fake", "object": "model"}]}))
        else:
            self._send(404, json.dumps({"error": {"message": f"no such path: {self.path}"}}))

    def do_POST(self) -> None:
        owner: OpenAIServer = self.server.owner  # type: ignore[attr-defined]
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path != "/v1/chat/completions":
            self._send(404, json.dumps({"error": {"message": f"no such path: {self.path}"}}))
            return
        reply = owner.reply_to(body, dict(self.headers.items()))
        if reply.wait_s != 0 and owner.closing.wait(reply.wait_s):
            self.close_connection = True
            return
        self._send(
            reply.status,
            reply.text if reply.text is not None else json.dumps(completion(reply, body)),
            reply.drip_s,
            reply.headers,
        )

    def _send(
        self, status: int, text: str, drip_s: float = 0.0, headers: Mapping[str, str] | None = None
    ) -> None:
        self.close_connection = True
        try:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text.encode())))
            self.send_header("Connection", "close")
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.end_headers()
            if not drip_s:
                self.wfile.write(text.encode())
                return
            for byte in text.encode():
                self.wfile.write(bytes([byte]))
                if self.server.owner.closing.wait(drip_s):  # type: ignore[attr-defined]
                    return
        except ConnectionError:
            pass  # the client gave up waiting, which is what some tests are about

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: pytest's output is the tests'."""


def completion(reply: Reply, body: Mapping[str, Any]) -> dict[str, Any]:
    """A chat completion as the training service sends it: exact tokens and logprobs on the choice."""
    said = json.dumps(reply.message).split()
    read = json.dumps(body["messages"]).split()
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": None, **reply.message},
        "finish_reason": reply.finish_reason,
        "logprobs": {"content": [{"token": word, "logprob": -0.5, "top_logprobs": []} for word in said]},
        "token_ids": list(range(len(said))),
        "prompt_token_ids": list(range(len(read))),
    }
    usage = {
        "prompt_tokens": len(read),
        "completion_tokens": len(said),
        "total_tokens": len(read) + len(said),
    }
    model = body.get("model", "fake")
    return {
        "id": "fake-1",
        "object": "chat.completion",
        "created": 0,
        "model": model,
        "choices": [choice],
        "usage": usage,
    }
