"""A watcher over a real Prometheus, a Loki and a Jaeger: it finds the cause, tells people once,
and says what is missing.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from failure_analysis.receivers import Message
from graph_rca.__main__ import main
from graph_rca.alerting import Outbox, people
from graph_rca.live_lines import LINES_OF_A_PART, PARTS, victorialogs_lines
from graph_rca.live_window import Sources, look
from importers.counting import ImportTrouble
from project_types import LogRecord, Window, read_incident
from testrun_investigator.local_prometheus import served
from tests.builders.generated import one
from tests.fakes.victoria_logs import Server, serve

ROOT = Path(__file__).parents[2]
SHUT = "http://127.0.0.1:9"
"""Nobody listens here."""


@dataclass
class Stand:
    """A server on loopback: it answers a GET by its path and keeps what is posted."""

    url: str = ""
    answers: dict[str, Any] = field(default_factory=dict)
    statuses: list[int] = field(default_factory=list)
    """Of the next posts; 200 when they are used up."""
    posted: list[tuple[str, dict[str, str], Any]] = field(default_factory=list)


@contextmanager
def standing(**answers: Any) -> Iterator[Stand]:
    stand = Stand(answers={f"/{path.replace('__', '/')}": answer for path, answer in answers.items()})

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            answer = stand.answers[parts.path]
            self._send(200, answer(dict(parse_qsl(parts.query))) if callable(answer) else answer)

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status = stand.statuses.pop(0) if stand.statuses else 200
            stand.posted.append((self.path, dict(self.headers), body))
            self._send(status, {})

        def _send(self, status: int, content: Any) -> None:
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    stand.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield stand
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def loki(now: float, per_part: int = 0) -> Any:
    """A Loki whose cart complains about its database in the last minutes, in all pages the same few lines."""

    def answer(asked: dict[str, str]) -> Any:
        start, end = int(asked["start"]) / 1e9, int(asked["end"]) / 1e9
        text = (
            "level=error failed to reach db: connection refused"
            if end > now - 420
            else "level=info added item"
        )
        lines = [[str(int((start + step / 100) * 1e9)), text] for step in range(max(1, per_part))]
        return {"data": {"resultType": "streams", "result": [
            {"stream": {"app": "cart"}, "values": lines[: int(asked["limit"])]}]}}  # fmt: skip

    return answer


def jaeger(now: float) -> Any:
    """Traces of a Jaeger: shop calls cart, which calls db; in the last minutes cart fails and db is gone."""

    def span(at: float, name: str, parent: str | None, service: str, failed: bool) -> dict[str, Any]:
        above = [{"refType": "CHILD_OF", "traceID": f"t{at:.0f}", "spanID": parent}] if parent else []
        tags = [{"key": "error", "type": "bool", "value": True}] if failed else []
        return {"traceID": f"t{at:.0f}", "spanID": name, "operationName": "GET /cart", "references": above,
                "startTime": int(at * 1e6), "duration": 20_000, "tags": tags, "logs": [], "processID": service}  # fmt: skip

    def trace(at: float) -> dict[str, Any]:
        failed = at > now - 420
        spans = [span(at, "a", None, "shop", failed), span(at, "b", "a", "cart", failed)]
        spans += [] if failed else [span(at, "c", "b", "db", False)]  # who stopped sends no spans
        names = {name: {"serviceName": name} for name in ("shop", "cart", "db")}
        return {"traceID": f"t{at:.0f}", "spans": spans, "processes": names}

    return {"data": [trace(now - 1700 + 60 * step) for step in range(28)]}


def metrics_text(now: float) -> str:
    """OpenMetrics of half an hour: requests of cart to db fail in the last seven minutes, and
    the CPU of db falls to 0.
    """
    steps = [now - 2000 + 15 * step for step in range(134)]
    bad = [at > now - 420 for at in steps]
    lines = ["# TYPE istio_requests counter"]
    for caller, callee in (("shop", "cart"), ("cart", "db")):
        for code, rate in (("200", 150), ("503", 0)):
            total = 0.0
            for at, broken in zip(steps, bad, strict=True):
                labels = f'source_workload="{caller}",destination_workload="{callee}",response_code="{code}"'
                lines.append(f"istio_requests_total{{{labels}}} {total:.0f} {at:.0f}")
                total += (15 if code == "200" else 135) if broken else rate
    lines.append("# TYPE container_cpu_usage_seconds counter")
    for service, usage in (("shop", 3.0), ("cart", 4.0), ("db", 6.0)):
        total = 0.0
        for number, (at, broken) in enumerate(zip(steps, bad, strict=True)):
            lines.append(f'container_cpu_usage_seconds_total{{container="{service}"}} {total:.3f} {at:.0f}')
            total += 0.0 if broken and service == "db" else usage * (1 + 0.05 * (number % 3))
    return "\n".join([*lines, "# EOF\n"])


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, float]]:
    """A real Prometheus that holds the last half hour of a system whose database stopped."""
    folder, now = tmp_path_factory.mktemp("prometheus"), time.time()
    text = folder / "metrics.txt"
    text.write_text(metrics_text(now), encoding="utf-8")
    command = ["promtool", "tsdb", "create-blocks-from", "openmetrics", str(text), str(folder / "data")]
    subprocess.run(command, check=True, capture_output=True)
    with served(folder / "data") as url:
        yield url, now


def watch(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "graph_rca", "watch", "--once", *arguments]
    known = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, env={**known, **environment}, check=False
    )


def finding_about(service: str, folder: Path) -> dict[str, Any]:
    """The only finding of a folder, which puts this service first."""
    (path,) = folder.glob("*.finding.json")
    finding: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    assert finding["services"][0]["service"] == service
    return finding


needs_graph = pytest.mark.skipif(find_spec("torch_geometric") is None, reason="needs the extra graph")
needs_prometheus = pytest.mark.skipif(
    shutil.which("promtool") is None or find_spec("torch_geometric") is None,
    reason="needs Debian's package prometheus and the extra graph",
)


@pytest.mark.slow
@needs_prometheus
def test_a_stopped_database_is_found_and_people_are_told(
    prometheus: tuple[str, float], tmp_path: Path
) -> None:
    url, now = prometheus
    with standing(loki__api__v1__query_range=loki(now)) as stand:
        done = watch(
            "--prometheus", url, "--loki", stand.url, "--findings", str(tmp_path),
            "--public-url", "https://dashboard.example",
            FAILURE_ANALYSIS_WEBHOOK=f"{stand.url}/hook", OPSGENIE_URL=stand.url, OPSGENIE_API_KEY="secret-key",
        )  # fmt: skip
    assert done.returncode == 1, done.stderr
    finding = finding_about("db", tmp_path)
    evidence = [
        one for service in finding["services"] for why in service["reasons"] for one in why["evidence"]
    ]
    assert {"kind": "metric", "id": "db/cpu"} in evidence
    hook, opsgenie = sorted(stand.posted, key=lambda one: one[0] != "/hook")
    assert "db is the likeliest cause" in hook[2]["text"]
    assert "metric db/cpu" in json.dumps(hook[2])
    assert "no series of memory" in finding["missing"]
    link = f"https://dashboard.example/rankings/{finding['incident']}"
    assert link in json.dumps(hook[2])
    assert opsgenie[2]["details"]["link"] == link
    assert opsgenie[0] == "/v2/alerts"
    assert opsgenie[1]["Authorization"] == "GenieKey secret-key"
    assert "secret-key" not in done.stderr


@pytest.mark.slow
@needs_prometheus
def test_a_loki_that_is_down_is_said_and_the_rest_ranks(
    prometheus: tuple[str, float], tmp_path: Path
) -> None:
    done = watch("--prometheus", prometheus[0], "--loki", SHUT, "--findings", str(tmp_path))
    assert done.returncode == 1
    assert "does not answer: logs" in done.stderr
    finding = finding_about("db", tmp_path)
    assert any("cannot be reached" in one for one in finding["missing"])


@pytest.mark.slow
def test_with_metrics_down_lines_and_traces_are_still_seen(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    answers: dict[str, Any] = {
        "loki__api__v1__query_range": loki(now.timestamp()), "api__services": {"data": ["shop"]},
        "api__traces": jaeger(now.timestamp()),
    }  # fmt: skip
    with standing(**answers) as stand:
        found = look(Sources(SHUT, stand.url, "{}", stand.url), now, 30)
    assert found is not None
    assert found.incident.services == ("cart", "db", "shop")
    assert len(found.incident.logs) == PARTS
    assert len(found.incident.spans) == 22 * 3 + 6 * 2
    assert found.silent[0].startswith("metrics: ")


def test_when_no_server_answers_there_is_an_error() -> None:
    with pytest.raises(ImportTrouble, match=r"metrics: .*logs: "):
        look(Sources(SHUT, SHUT, "{}"), datetime.now(UTC) - timedelta(minutes=1), 30)


def test_a_server_that_is_no_prometheus_is_said_without_the_password_of_its_address() -> None:
    with standing(api__v1__query_range={"status": "fine"}) as stand:
        url = stand.url.replace("http://", "http://me:secret-word@")
        with pytest.raises(ImportTrouble, match="this is no answer of Prometheus") as refused:
            look(Sources(url), datetime.now(UTC), 30)
    assert "secret-word" not in str(refused.value)


@pytest.mark.slow
def test_a_flood_of_lines_is_cut_and_said() -> None:
    now = datetime.now(UTC)
    with standing(loki__api__v1__query_range=loki(now.timestamp(), LINES_OF_A_PART + 100)) as stand:
        found = look(Sources(SHUT, stand.url, "{}"), now, 30)
    assert found is not None
    assert len(found.incident.logs) == PARTS * LINES_OF_A_PART
    told = f"beyond the first {LINES_OF_A_PART} in {PARTS} of {PARTS} parts"
    assert any(told in one for one in found.missing)


def victorialogs(rows: Sequence[dict[str, str]]) -> str:
    """Serve a VictoriaLogs that holds these rows, as a collector of logs sends them. Returns its address."""
    server = Server(seen_after_s=0.0)
    fields = {"_time_field": ["_time"], "_msg_field": ["_msg"]}
    assert server.insert("\n".join(map(json.dumps, rows)), fields) == (200, "")
    return serve(server)


def collected(at: datetime, text: str, **fields: str) -> dict[str, str]:
    return {"_time": at.isoformat(), "_msg": text, "kubernetes.container_name": "cart", **fields}


def lines_of(
    url: str, now: datetime, query: str = "*", missing: list[str] | None = None
) -> Sequence[LogRecord]:
    window = Window(start=now - timedelta(minutes=30), end=now)
    return victorialogs_lines(url, query, window, [] if missing is None else missing)


def test_rows_of_a_victorialogs_are_lines_with_service_level_and_trace() -> None:
    now = datetime.now(UTC)
    url = victorialogs([
        collected(now - timedelta(minutes=40), "before the window"),
        collected(now - timedelta(minutes=2), "db: connection refused", severity="ERROR", trace_id="t1"),
        collected(now - timedelta(minutes=20), "added item", **{"service.name": "web", "_stream": "{}"}),
        collected(now + timedelta(minutes=1), "after the window"),
    ])  # fmt: skip
    found = lines_of(url, now)
    told = [(one.service, one.level, one.message, one.trace_id) for one in found]
    assert told == [
        ("web", "UNKNOWN", "added item", None), ("cart", "ERROR", "db: connection refused", "t1"),
    ]  # fmt: skip
    assert [one.timestamp for one in found] == [now - timedelta(minutes=20), now - timedelta(minutes=2)]
    assert [one.message for one in lines_of(url, now, 'severity:="ERROR"')] == ["db: connection refused"]


def test_a_query_that_a_victorialogs_cannot_read_is_said_without_the_password_of_its_address() -> None:
    url = victorialogs([]).replace("http://", "http://me:secret-word@")
    with pytest.raises(ImportTrouble, match="refused a query") as refused:
        lines_of(url, datetime.now(UTC), "a | b")
    assert "secret-word" not in str(refused.value)


def test_a_flood_in_a_victorialogs_is_cut_and_said() -> None:
    now = datetime.now(UTC)
    first = now - timedelta(minutes=2)
    url = victorialogs([
        collected(first + timedelta(milliseconds=step), f"line {step}") for step in range(LINES_OF_A_PART + 50)
    ])  # fmt: skip
    missing: list[str] = []
    found = lines_of(url, now, missing=missing)
    assert [one.message for one in found] == [f"line {step}" for step in range(LINES_OF_A_PART)]
    assert missing == [f"log lines beyond the first {LINES_OF_A_PART} in 1 of {PARTS} parts of the window"]


@pytest.mark.slow
@needs_prometheus
def test_with_the_lines_of_a_victorialogs_a_stopped_database_is_found(
    prometheus: tuple[str, float], tmp_path: Path
) -> None:
    url, now = prometheus
    minutes = [datetime.fromtimestamp(now - 60 * back, UTC) for back in range(29, 0, -1)]
    healthy, bad = minutes[:-6], minutes[-6:]
    rows = [collected(at, "added item", level="info") for at in healthy]
    rows += [collected(at, "failed to reach db: connection refused", level="error") for at in bad]
    done = watch("--prometheus", url, "--victorialogs", victorialogs(rows), "--findings", str(tmp_path))
    assert done.returncode == 1, done.stderr
    finding_about("db", tmp_path)
    (kept,) = map(read_incident, tmp_path.glob("incident-*.json"))
    assert sum("connection refused" in row.message for row in kept.logs) == len(bad)


def test_an_alert_that_a_receiver_cannot_take_now_is_sent_again() -> None:
    with standing() as stand:
        stand.statuses = [503]
        outbox = Outbox(people({"OPSGENIE_URL": stand.url, "OPSGENIE_API_KEY": "k"}))
        outbox.add(Message("Something is wrong", (("Why", "it stopped"),)))
        assert "is sent again" in outbox.send()[0]
        assert outbox.send() == []
        assert outbox.send() == []
    assert [body["description"] for _, _, body in stand.posted] == ["Why: it stopped"] * 2


def test_an_alert_that_is_not_taken_in_the_only_look_is_said_to_be_lost() -> None:
    outbox = Outbox(people({"OPSGENIE_URL": SHUT, "OPSGENIE_API_KEY": "k"}), once=True)
    outbox.add(Message("Something is wrong"))
    (told,) = outbox.send()
    assert told.endswith("there is no other look, so it is lost")


def test_an_alert_that_is_refused_names_the_variable_and_no_key() -> None:
    with standing() as stand:
        stand.statuses = [401]
        outbox = Outbox(people({"OPSGENIE_URL": stand.url, "OPSGENIE_API_KEY": "secret-key"}))
        outbox.add(Message("Something is wrong"))
        (told,) = outbox.send()
    assert "OPSGENIE_API_KEY" in told
    assert "secret-key" not in told


@pytest.mark.slow
@needs_graph
def test_a_folder_that_is_not_there_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["watch", "--folder", str(tmp_path / "typo"), "--once", "--findings", str(tmp_path / "out")])
    assert ended.value.code == 2
    assert "there is no such folder" in capsys.readouterr().err


@pytest.mark.slow
@needs_graph
def test_a_folder_takes_no_server_of_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["watch", "--folder", str(tmp_path), "--once", "--loki", SHUT, "--jaeger", SHUT])
    assert "--loki, --jaeger: go with --prometheus" in capsys.readouterr().err


@pytest.mark.slow
@needs_graph
def test_a_broken_file_in_a_folder_is_said_and_the_others_are_ranked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a-broken.json").write_text("{", encoding="utf-8")
    whole = one(2, "disk_full").incident
    only = [row for row in whole.logs if row.service == whole.services[0]]
    alone: dict[str, Any] = {"services": whole.services[:1], "logs": tuple(only), "topology": ()}
    lonely = whole.model_copy(update={**alone, "id": "lonely", "spans": (), "metrics": (), "events": ()})
    (tmp_path / "b-lonely.json").write_text(lonely.model_dump_json(), encoding="utf-8")
    (tmp_path / "c-whole.json").write_text(whole.model_dump_json(), encoding="utf-8")
    assert main(["watch", "--folder", str(tmp_path), "--once", "--findings", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert "cannot see: " in said
    assert "lonely: insufficient evidence: 1 service" in said
    assert len(list(tmp_path.glob("*.finding.json"))) == 1
    # its own findings are no incidents
    assert main(["watch", "--folder", str(tmp_path), "--once", "--findings", str(tmp_path)]) == 1
    assert capsys.readouterr().err.count("cannot see: ") == 1
