"""Alerts by e-mail, sent to a real SMTP server on a real socket: plain, with STARTTLS and
a password, or in trouble.
"""

from __future__ import annotations

import asyncio
import email
import ssl
import subprocess
import threading
from email.message import Message as Mail
from email.policy import default
from pathlib import Path
from typing import Any, Self

import pytest
from aiosmtpd.smtp import SMTP as Server
from aiosmtpd.smtp import AuthResult

from failure_analysis.alerts import AlertError, Alerts
from failure_analysis.receivers import (
    MAIL_FROM,
    MAIL_TO,
    SMTP,
    Message,
    Refused,
    TryAgain,
    mail_from,
    receivers_from,
)
from project_types import ConfigurationError
from tests.failure_analysis.test_alerts import NOW, failed, stored

TO = "ann@example.org, bob@example.org"


class Mailbox:
    """An SMTP server that keeps what it gets, and answers RCPT with the given statuses in turn."""

    def __init__(self, *answers: str, **options: Any) -> None:
        self.got: list[Mail] = []
        self.recipients: list[str] = []
        self.port = 0
        self._answers, self._options = list(answers), options
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    async def handle_RCPT(
        self, server: Server, session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        if self._answers:
            return self._answers.pop(0)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Server, session: Any, envelope: Any) -> str:
        self.got.append(email.message_from_bytes(envelope.content, policy=default))
        self.recipients += envelope.rcpt_tos
        return "250 OK"

    async def _listen(self) -> None:
        def serve() -> Server:
            return Server(self, loop=self._loop, **self._options)

        self._server = await self._loop.create_server(serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        self._server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(60)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(60)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(60)
        self._loop.close()


def alerts(
    tmp_path: Path, mailbox: Mailbox, user: str = "", trusted: Path | None = None, **more: Any
) -> Alerts:
    server = {SMTP: f"smtp://{user}127.0.0.1:{mailbox.port}", MAIL_TO: TO}
    mail = mail_from({**server, **({"SSL_CERT_FILE": str(trusted)} if trusted else {})})
    assert mail is not None
    options = {
        "clock": lambda: NOW,
        "first_wait_s": 0.001,
        "pause_s": 0,
        "link": "http://127.0.0.1:8321",
        **more,
    }
    return Alerts(stored(tmp_path, [failed("01")]), mail, **options)


def test_a_critical_failure_is_one_mail_to_all(tmp_path: Path) -> None:
    with Mailbox() as mailbox:
        watching = alerts(tmp_path, mailbox)
        watching.send_new()
        watching.send_new()
    (mail,) = mailbox.got
    assert mail["Subject"] == "Critical: seed1 failed"
    assert mail["To"] == TO
    assert mailbox.recipients == ["ann@example.org", "bob@example.org"]
    body = mail.get_content()  # type: ignore[attr-defined]
    for said in (
        "Category: resource error",
        "Root cause: out of memory",
        "http://127.0.0.1:8321/experiments/01",
    ):
        assert said in body
    assert (tmp_path / "alerts-mail.json").exists(), "a restart does not repeat it"


def test_text_from_a_log_adds_no_header_and_no_recipient(tmp_path: Path) -> None:
    with Mailbox() as mailbox:
        mail = mail_from({SMTP: f"smtp://127.0.0.1:{mailbox.port}", MAIL_TO: TO})
        assert mail is not None
        mail.send(
            Message(
                "Critical: x\r\nBcc: eve@example.org\r\n\r\nhello \u202e", (("Root cause", "a\r\n.\r\nQUIT"),)
            )
        )
    (got,) = mailbox.got
    assert got["Bcc"] is None
    assert "eve@example.org" not in mailbox.recipients
    assert "\u202e" not in got["Subject"]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that signs itself, and its key."""
    folder = tmp_path_factory.mktemp("certificate")
    paths = folder / "cert.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
               "-days", "1", "-subj", "/CN=127.0.0.1",
               "-addext", "subjectAltName=IP:127.0.0.1", "-out", str(paths[0]), "-keyout",
               str(paths[1])]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    return paths


def with_login(certificate: tuple[Path, Path]) -> Mailbox:
    """A server that wants STARTTLS and then a password."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)

    def knows(server: Server, session: Any, envelope: Any, mechanism: str, given: Any) -> AuthResult:
        return AuthResult(success=(given.login, given.password) == (b"ann", b"p@ss/w"), handled=False)

    return Mailbox(tls_context=context, require_starttls=True, auth_required=True, authenticator=knows)


def test_a_password_goes_through_starttls_only(tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    with with_login(certificate) as mailbox:
        alerts(tmp_path, mailbox, "ann:p%40ss%2Fw@", certificate[0]).send_new()
    assert len(mailbox.got) == 1


def test_a_certificate_that_nobody_trusts_ends_it_before_the_password(
    tmp_path: Path, certificate: tuple[Path, Path]
) -> None:
    with (
        with_login(certificate) as mailbox,
        pytest.raises(AlertError, match="certificate is not trusted") as told,
    ):
        alerts(tmp_path, mailbox, "ann:p%40ss%2Fw@").send_new()
    assert mailbox.got == []
    assert "p@ss" not in str(told.value)


def test_a_wrong_password_is_refused_and_never_repeated_in_the_error(
    tmp_path: Path, certificate: tuple[Path, Path]
) -> None:
    with with_login(certificate) as mailbox, pytest.raises(AlertError, match="status 535") as told:
        alerts(tmp_path, mailbox, "ann:hunter2hunter2@", certificate[0]).send_new()
    assert "hunter2" not in str(told.value)
    assert SMTP in str(told.value)


@pytest.mark.parametrize("answers", [["451 try later"] * 2, ["421 busy"]])
def test_a_server_in_trouble_is_asked_again(tmp_path: Path, answers: list[str]) -> None:
    with Mailbox(*answers) as mailbox:
        alerts(tmp_path, mailbox).send_new()
    assert len(mailbox.got) == 1


def test_recipients_that_are_refused_for_good_are_said_once(tmp_path: Path) -> None:
    with Mailbox(*["550 no such user"] * 10) as mailbox, pytest.raises(AlertError, match="550"):
        alerts(tmp_path, mailbox).send_new()
    assert mailbox.got == []


def test_a_server_that_is_gone_may_be_back_later() -> None:
    with Mailbox() as mailbox:
        mail = mail_from({SMTP: f"smtp://127.0.0.1:{mailbox.port}", MAIL_TO: TO})
    assert mail is not None
    with pytest.raises(TryAgain, match="ConnectionRefusedError"):
        mail.send(Message("x"))


def test_no_password_is_sent_in_the_clear_to_another_machine() -> None:
    with Mailbox() as mailbox:
        mail = mail_from({SMTP: f"smtp://ann:secret@127.0.0.1:{mailbox.port}", MAIL_TO: TO})
        assert mail is not None
        elsewhere = type(mail)("127.0.0.1.", mail.port, mail.to, mail.sender, user="ann", password="secret")
        with pytest.raises((Refused, TryAgain)) as told:
            elsewhere.send(Message("x"))
        assert "secret" not in str(told.value)
    assert mailbox.got == []


@pytest.mark.parametrize(
    ("environment", "why"),
    [
        ({SMTP: "smtp://mail.example.org"}, "needs both"),
        ({MAIL_TO: TO}, "needs both"),
        ({SMTP: "mail.example.org", MAIL_TO: TO}, "is no mail server"),
        ({SMTP: "http://mail.example.org", MAIL_TO: TO}, "is no mail server"),
        ({SMTP: "smtp://mail.example.org:x", MAIL_TO: TO}, "is no mail server"),
        ({SMTP: "smtp://mail.example.org", MAIL_TO: "nobody"}, "no mail address"),
        ({SMTP: "smtp://mail.example.org", MAIL_TO: "a@b.org\r\nBcc: c@d.org"}, "no mail address"),
    ],
)
def test_an_address_that_cannot_be_one_is_refused(environment: dict[str, str], why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        mail_from(environment)


def test_the_environment_names_whom_to_tell() -> None:
    assert receivers_from({}) == []
    both = {
        "FAILURE_ANALYSIS_WEBHOOK": "https://hooks.example/x",
        SMTP: "smtps://u:p@mail.example.org",
        MAIL_TO: "a@b.org",
    }
    webhook, mail = receivers_from(both)
    assert (webhook.name, mail.name) == ("the webhook", "the mail server")
    found = mail_from({**both, MAIL_FROM: "ci@b.org"})
    assert found is not None
    assert (found.tls, found.port, found.user, found.sender) == (True, 465, "u", "ci@b.org")
