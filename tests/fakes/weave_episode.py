"""A program for tests: plays one episode with Weave switched on against a trace server on loopback, and prints the calls it got.

It is a process of its own because Weave's client is global. `python -m tests.fakes.weave_episode`
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.fakes.incident import CAUSE, GOLD
from tests.fakes.openai_server import answer, call
from tests.fakes.played import play

RECEIVED: list[dict[str, Any]] = []


class _TraceServer(BaseHTTPRequestHandler):
    """Accepts everything Weave sends and remembers the starts and ends of calls."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path.startswith("/call/"):
            RECEIVED.append(json.loads(body))
        reply = json.dumps({"digest": "d" * 43, "id": "x", "trace_id": "t", "res": []}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def main() -> None:
    """Play the episode and print Weave's calls, each with its parent's name, in order of their start."""
    os.environ.pop("WANDB_API_KEY", None)
    from weave.trace import weave_client
    from weave.trace.context import weave_client_context
    from weave.trace_server_bindings.remote_http_trace_server import RemoteHTTPTraceServer

    server = ThreadingHTTPServer(("127.0.0.1", 0), _TraceServer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    remote = RemoteHTTPTraceServer(f"http://127.0.0.1:{server.server_address[1]}")
    client = weave_client.WeaveClient("team", "investigator", remote, ensure_project_exists=False)
    weave_client_context.set_weave_client_global(client)
    asyncio.run(play([call("grep", word="space"), answer("ledger", CAUSE, key_log_ids=[GOLD])]))
    client.flush()
    server.shutdown()
    starts = [each["start"] for each in RECEIVED if "start" in each]
    ends = {each["end"]["id"]: each["end"] for each in RECEIVED if "end" in each}
    names = {start["id"]: start["op_name"].split("/op/")[-1].split(":")[0] for start in starts}
    calls = [
        {
            "name": names[one["id"]],
            "in": names.get(one["parent_id"]),
            "inputs": one["inputs"],
            "output": ends[one["id"]]["output"],
        }
        for one in sorted(starts, key=lambda start: str(start["started_at"]))
    ]
    print(json.dumps(calls))


if __name__ == "__main__":
    main()
