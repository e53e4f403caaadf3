"""Alerts, sent to a receiver on a real socket."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import pytest

from failure_analysis.alerts import MOST_AT_ONCE, QUIET_HOURS, AlertError, Alerts, message
from failure_analysis.receivers import WEBHOOK, Webhook, slack, webhook_from
from failure_analysis.records import (
    Experiment,
    ExperimentType,
    Failure,
    FailureAnalysis,
    FailureCategory,
    Severity,
    Status,
)
from failure_analysis.store import FailureStore
from project_types import ConfigurationError

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECRET = "/services/T000/B000/very-secret"


class Receiver:
    """A webhook: answers with the given statuses in turn, then 200; keeps what it got."""

    def __init__(self, *statuses: int, retry_after: str | None = None) -> None:
        self.got: list[dict[str, Any]] = []
        self.requests = 0
        left = list(statuses)
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.requests += 1
                status = left.pop(0) if left else 200
                if status == 200:
                    receiver.got.append(json.loads(body))
                self.send_response(status)
                if retry_after and status == 429:
                    self.send_header("Retry-After", retry_after)
                if status == 302:
                    self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(
            target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}{SECRET}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


def failed(
    id: str,
    signature: str = "aa",
    *,
    severity: Severity = Severity.CRITICAL,
    at: datetime = NOW,
    cause: str = "out of memory",
    name: str = "seed1",
) -> Experiment:
    """A failed experiment."""
    analysis = FailureAnalysis(
        failure_category=FailureCategory.RESOURCE_ERROR,
        root_cause=cause,
        fix_suggestion="Use a smaller batch.",
        severity=severity,
    )
    failure = Failure(signature=signature, template="out of memory", analysis=analysis)
    return Experiment(
        id=id,
        type=ExperimentType.TRAINING_JOB,
        name=name,
        run="seed1",
        status=Status.FAILED,
        at=at,
        failure=failure,
    )


def stored(tmp_path: Path, experiments: Sequence[Experiment]) -> FailureStore:
    """A store of these."""
    store = FailureStore(tmp_path / "failures.db")
    with store.writing() as writer:
        for one in experiments:
            writer.put(one)
    return store


def alerts(store: FailureStore, url: str, clock: Callable[[], datetime] = lambda: NOW, **more: Any) -> Alerts:
    """Alerts that do not wait long."""
    return Alerts(
        store,
        Webhook(url),
        clock=clock,
        **{"first_wait_s": 0.001, "pause_s": 0, "link": "http://127.0.0.1:8321", **more},
    )


def test_a_critical_failure_is_told_in_a_form_that_slack_reads(tmp_path: Path) -> None:
    with Receiver() as receiver:
        alerts(stored(tmp_path, [failed("01")]), receiver.url).send_new()
    (told,) = receiver.got
    assert told["text"] == "Critical: seed1 failed: out of memory"
    text = "\n".join(block["text"]["text"] for block in told["blocks"])
    assert all(block["type"] == "section" and block["text"]["type"] == "mrkdwn" for block in told["blocks"])
    for said in (
        "*Category:* resource error",
        "*Root cause:* out of memory",
        "*Fix:* Use a smaller batch.",
        "<http://127.0.0.1:8321/experiments/01|Open it>",
    ):
        assert said in text


@pytest.mark.parametrize("severity", [Severity.HIGH, Severity.MEDIUM, Severity.LOW])
def test_what_is_not_critical_is_not_told(tmp_path: Path, severity: Severity) -> None:
    with Receiver() as receiver:
        alerts(stored(tmp_path, [failed("01", severity=severity)]), receiver.url).send_new()
    assert receiver.requests == 0


def test_alike_failures_are_one_message_that_counts_them(tmp_path: Path) -> None:
    with Receiver() as receiver:
        alerts(stored(tmp_path, [failed("01"), failed("02"), failed("03", "bb")]), receiver.url).send_new()
    assert sorted("(2 times)" in told["text"] for told in receiver.got) == [False, True]


def test_what_was_told_is_not_told_again_not_even_after_a_restart(tmp_path: Path) -> None:
    store = stored(tmp_path, [failed("01")])
    with Receiver() as receiver:
        first = alerts(store, receiver.url)
        first.send_new()
        first.send_new()
        alerts(store, receiver.url).send_new()
    assert len(receiver.got) == 1


def test_a_group_that_keeps_failing_stays_silent_and_one_that_was_quiet_is_told_again(tmp_path: Path) -> None:
    store, now = stored(tmp_path, [failed("01")]), [NOW]
    with Receiver() as receiver:
        watching = alerts(store, receiver.url, clock=lambda: now[0])
        watching.send_new()
        for hours in (10, 20, 30):  # never quiet for long
            now[0] = NOW + timedelta(hours=hours)
            stored(tmp_path, [failed(f"1{hours}", at=now[0])])
            watching.send_new()
        assert len(receiver.got) == 1
        now[0] = NOW + timedelta(hours=30 + QUIET_HOURS + 1)
        stored(tmp_path, [failed("99", at=now[0])])
        watching.send_new()
    assert len(receiver.got) == 2


def test_old_failures_are_no_news(tmp_path: Path) -> None:
    with Receiver() as receiver:
        alerts(stored(tmp_path, [failed("01", at=NOW - timedelta(days=3))]), receiver.url).send_new()
    assert receiver.requests == 0


def test_many_groups_at_once_end_in_a_summary(tmp_path: Path) -> None:
    groups = [failed(f"{number:02}", f"{number:02}") for number in range(MOST_AT_ONCE + 5)]
    with Receiver() as receiver:
        watching = alerts(stored(tmp_path, groups), receiver.url)
        watching.send_new()
        watching.send_new()
    assert len(receiver.got) == MOST_AT_ONCE + 1
    assert receiver.got[-1]["text"].startswith("Critical: 5 more groups")


@pytest.mark.parametrize("statuses", [(500,), (503, 502), (429,), (500, 429, 503)])
def test_a_receiver_in_trouble_is_asked_again(tmp_path: Path, statuses: tuple[int, ...]) -> None:
    with Receiver(*statuses, retry_after="0") as receiver:
        alerts(stored(tmp_path, [failed("01")]), receiver.url).send_new()
    assert len(receiver.got) == 1
    assert receiver.requests == len(statuses) + 1


def test_what_could_not_be_sent_is_an_error_and_is_sent_the_next_time(tmp_path: Path) -> None:
    store = stored(tmp_path, [failed("01")])
    with Receiver(*[500] * 3) as receiver:
        watching = alerts(store, receiver.url, attempts=3)
        with pytest.raises(AlertError, match="answered 500") as told:
            watching.send_new()
        assert "secret" not in str(told.value)
        watching.send_new()
    assert len(receiver.got) == 1


def test_a_webhook_that_refused_is_left_alone_for_a_while(tmp_path: Path) -> None:
    store, now = stored(tmp_path, [failed("01")]), [NOW]
    with Receiver(404) as receiver:
        watching = alerts(store, receiver.url, clock=lambda: now[0], pause_s=300)
        for seconds in (0, 100, 299):
            now[0] = NOW + timedelta(seconds=seconds)
            with pytest.raises(AlertError, match="404"):
                watching.send_new()
        assert receiver.requests == 1
        now[0] = NOW + timedelta(seconds=301)
        watching.send_new()
    assert len(receiver.got) == 1


@pytest.mark.parametrize("status", [400, 403, 404, 410, 302])
def test_a_refusal_is_not_repeated(tmp_path: Path, status: int) -> None:
    with Receiver(*[status] * 5) as receiver:
        with pytest.raises(AlertError, match=str(status)):
            alerts(stored(tmp_path, [failed("01")]), receiver.url).send_new()
        assert receiver.requests == 1


def test_a_receiver_that_is_gone_is_an_error_that_keeps_its_address_secret(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Receiver() as receiver:
        url = receiver.url
    with (
        caplog.at_level(logging.INFO, "failure_analysis"),
        pytest.raises(AlertError, match="ConnectError") as told,
    ):
        alerts(stored(tmp_path, [failed("01")]), url, attempts=2).send_new()
    assert "secret" not in str(told.value) + caplog.text


def test_only_what_was_taken_is_remembered_when_the_receiver_fails_midway(tmp_path: Path) -> None:
    store = stored(tmp_path, [failed("01", "aa"), failed("02", "bb")])
    with Receiver(200, 500, 500) as receiver:
        watching = alerts(store, receiver.url, attempts=2)
        with pytest.raises(AlertError):
            watching.send_new()
        watching.send_new()
    assert len(receiver.got) == 2
    assert len({told["text"] + told["blocks"][1]["text"]["text"] for told in receiver.got}) == 2


def test_text_from_a_log_cannot_mention_link_or_format(tmp_path: Path) -> None:
    hostile = failed(
        "01",
        cause="<!channel> <https://evil.example|click> & \x1b[31m\u202eline\nbreak" + "x" * 5000,
        name="<@U123>",
    )
    told = json.dumps(slack(message([hostile], "")))
    assert "<!channel>" not in told
    assert "<https" not in told
    assert "<@U123>" not in told
    assert "&lt;!channel&gt;" in told
    assert "\\u202e" not in told
    assert len(told) < 3000


def test_a_memory_that_cannot_be_read_is_an_error_and_not_a_flood(tmp_path: Path) -> None:
    store = stored(tmp_path, [failed("01")])
    (tmp_path / "alerts.json").write_text("[1, 2")
    with Receiver() as receiver, pytest.raises(AlertError, match="delete it"):
        alerts(store, receiver.url).send_new()
    assert receiver.requests == 0


def test_without_a_store_there_is_nothing_to_tell(tmp_path: Path) -> None:
    assert alerts(FailureStore(tmp_path / "none.db"), "http://127.0.0.1:1/").due() == []


@pytest.mark.parametrize(
    "address", ["ftp://x.example/y", "hooks.slack.com/x", "file:///etc/passwd", "http://"]
)
def test_an_address_that_is_no_webhook_is_refused_without_being_repeated(address: str) -> None:
    with pytest.raises(ConfigurationError) as told:
        webhook_from({WEBHOOK: address})
    assert address not in str(told.value)


def test_an_empty_address_means_no_webhook() -> None:
    assert webhook_from({WEBHOOK: "  "}) is None
    assert webhook_from({}) is None
    assert webhook_from({WEBHOOK: "https://hooks.example/x"}) == Webhook("https://hooks.example/x")
