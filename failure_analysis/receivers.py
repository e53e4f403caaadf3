"""Who is told of a critical failure: a webhook that takes Slack-compatible JSON, or people by e-mail.

A receiver sends one message or says why not: `TryAgain` when it may take it later, `Refused` when it never
will. When and how often that happens decides `alerts`. Addresses and passwords are secrets: they come from
the environment and never stand in an error. Texts come from logs: they are plain, on one line and cut.
"""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from typing import Any, NamedTuple, Protocol
from urllib.parse import unquote, urlsplit

import httpx

from core.serving.listening import is_loopback
from project_types import ConfigurationError

WEBHOOK = "FAILURE_ANALYSIS_WEBHOOK"
SMTP = "FAILURE_ANALYSIS_SMTP"
MAIL_TO = "FAILURE_ANALYSIS_MAIL_TO"
MAIL_FROM = "FAILURE_ANALYSIS_MAIL_FROM"
TIMEOUT_S = 10.0
MOST_RECIPIENTS = 50
_PORTS = {"smtp": 587, "smtps": 465}


class Message(NamedTuple):
    """What is told: plain texts, each on one line."""

    title: str
    fields: tuple[tuple[str, str], ...] = ()
    link: str = ""
    """Where more stands; empty where the dashboard has no address."""
    link_text: str = "Open it"


class TryAgain(Exception):
    """The receiver may take it later."""

    def __init__(self, why: str, after_s: float | None = None) -> None:
        super().__init__(why)
        self.after_s = after_s


class Refused(Exception):
    """The receiver will not take it, however often it is asked."""


class Receiver(Protocol):
    """Who takes messages."""

    @property
    def name(self) -> str:
        """What to call it in an error: "the webhook"."""

    @property
    def variable(self) -> str:
        """The variable of the environment to check when it refuses."""

    @property
    def state(self) -> str:
        """The file beside failures.db that remembers what it was told."""

    def send(self, message: Message) -> None:
        """Send it. Raises TryAgain or Refused."""


def receivers_from(environment: Mapping[str, str]) -> list[Receiver]:
    """Those that the environment names. Raises ConfigurationError for an address that cannot be one."""
    webhook, mail = webhook_from(environment), mail_from(environment)
    return [receiver for receiver in (webhook, mail) if receiver is not None]


def plain(text: str, most: int) -> str:
    """Text on one line, without characters that cannot be seen, cut."""
    one_line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return one_line if len(one_line) <= most else one_line[: most - 1] + "…"


# ---------------------------------------------------------------------------------------------------- webhook


@dataclass(frozen=True)
class Webhook:
    """An address that takes Slack-compatible JSON."""

    address: str
    name: str = "the webhook"
    variable: str = WEBHOOK
    state: str = "alerts.json"

    def send(self, message: Message) -> None:
        """Post it. Raises TryAgain or Refused."""
        try:
            answer = httpx.post(
                self.address, json=slack(message), timeout=TIMEOUT_S, follow_redirects=False, trust_env=True
            )
        except (httpx.TransportError, httpx.InvalidURL) as trouble:
            raise TryAgain(type(trouble).__name__) from None  # its text may hold the address
        if answer.status_code == 429 or answer.status_code >= 500:
            raise TryAgain(f"it answered {answer.status_code}", _seconds(answer.headers.get("retry-after")))
        if answer.status_code >= 300:
            raise Refused(f"it refuses with status {answer.status_code}")


def webhook_from(environment: Mapping[str, str]) -> Webhook | None:
    """The webhook, None when there is none. Raises ConfigurationError for what is no http address."""
    address = environment.get(WEBHOOK, "").strip()
    if not address:
        return None
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigurationError(
            f"{WEBHOOK} is no http or https address; copy it again from where the webhook was made"
        )
    return Webhook(address)


def slack(message: Message) -> dict[str, Any]:
    """A message as Slack-compatible JSON; `text` alone says it all to a receiver that knows no blocks."""
    title = _without_markup(message.title)
    if not message.fields:
        link = f" <{message.link}|{message.link_text}>" if message.link else ""
        return {"text": f"{title}{link}"}
    fields = dict(message.fields)
    lines = [f"*{name}:* {_without_markup(text)}" for name, text in message.fields]
    if message.link:
        lines.append(f"<{message.link}|{message.link_text}>")
    return {
        "text": f"{title}: {_without_markup(plain(fields.get('Root cause', ''), 300))}",
        "blocks": [
            {"type": "section", "text": {"type": "mrkdwn", "text": f"*{title}*"}},
            {"type": "section", "text": {"type": "mrkdwn", "text": "\n".join(lines)}},
        ],
    }


def _without_markup(text: str) -> str:
    """Text that Slack shows as it is: no mention, no link, no formatting of its own."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _seconds(header: str | None) -> float | None:
    try:
        return max(0.0, float(header)) if header else None
    except ValueError:
        return None


# ----------------------------------------------------------------------------------------------------- e-mail


@dataclass(frozen=True)
class Mail:
    """People who are told by e-mail, through one SMTP server."""

    host: str
    port: int
    to: tuple[str, ...]
    sender: str
    tls: bool = False
    """TLS from the first byte on (smtps); otherwise STARTTLS where the server offers it."""
    user: str = ""
    password: str = ""
    authorities: str = ""
    """A file of certificates that are trusted; empty for those of the system."""
    name: str = "the mail server"
    variable: str = SMTP
    state: str = "alerts-mail.json"

    def send(self, message: Message) -> None:
        """Send one mail to all. Raises TryAgain or Refused."""
        try:
            with self._connected() as server:
                server.send_message(self._mail(message))
        except (smtplib.SMTPServerDisconnected, smtplib.SMTPConnectError, OSError) as trouble:
            raise self._of(trouble) from None  # its text may hold the address
        except smtplib.SMTPException as trouble:
            raise self._of(trouble) from None

    def _connected(self) -> smtplib.SMTP:
        context = ssl.create_default_context(cafile=self.authorities or None)
        if self.tls:
            server: smtplib.SMTP = smtplib.SMTP_SSL(self.host, self.port, timeout=TIMEOUT_S, context=context)
        else:
            server = smtplib.SMTP(self.host, self.port, timeout=TIMEOUT_S)
            server.ehlo()
            if server.has_extn("starttls"):
                server.starttls(context=context)
            elif self.user and not is_loopback(self.host):
                server.close()
                raise Refused("it offers no encryption, and a password is not sent in the clear")
        if self.user:
            server.login(self.user, self.password)
        return server

    def _of(self, trouble: Exception) -> Exception:
        """What an error means: 4xx may pass, 5xx will not, and neither will a wrong certificate."""
        if isinstance(trouble, ssl.SSLCertVerificationError):
            return Refused("its certificate is not trusted")
        if isinstance(trouble, smtplib.SMTPRecipientsRefused):
            codes = {code for code, _ in trouble.recipients.values()}
            refused = f"it refuses the recipients with status {', '.join(map(str, sorted(codes)))}"
            return Refused(refused) if min(codes) >= 500 else TryAgain(refused)
        code = getattr(trouble, "smtp_code", None)
        if isinstance(code, int) and code >= 500:
            return Refused(f"it refuses with status {code}")
        return TryAgain(f"status {code}" if isinstance(code, int) and code > 0 else type(trouble).__name__)

    def _mail(self, message: Message) -> EmailMessage:
        mail = EmailMessage()
        mail["Subject"] = plain(message.title, 200)
        mail["From"], mail["To"] = self.sender, ", ".join(self.to)
        mail["Date"], mail["Message-ID"] = formatdate(), make_msgid(domain="log-investigator.invalid")
        mail["Auto-Submitted"] = "auto-generated"  # no holiday reply
        lines = [message.title, "", *(f"{name}: {text}" for name, text in message.fields)]
        mail.set_content("\n".join([*lines, "", message.link]) if message.link else "\n".join(lines))
        return mail


def mail_from(environment: Mapping[str, str]) -> Mail | None:
    """The mail server and who is told, None when there is none.

    FAILURE_ANALYSIS_SMTP is smtp://[USER:PASSWORD@]HOST[:PORT] or smtps://...; FAILURE_ANALYSIS_MAIL_TO holds
    addresses with commas between them. Raises ConfigurationError.
    """
    server, to = environment.get(SMTP, "").strip(), environment.get(MAIL_TO, "").strip()
    if not server and not to:
        return None
    if not server or not to:
        raise ConfigurationError(f"mail needs both {SMTP} and {MAIL_TO}; set the other one, too")
    parts = urlsplit(server)
    try:
        port = parts.port or _PORTS[parts.scheme]
        host = parts.hostname or ""
    except (KeyError, ValueError):
        host = ""
    if not host:
        raise ConfigurationError(f"{SMTP} is no mail server; write smtp://USER:PASSWORD@HOST:587")
    addresses = tuple(_address(one) for one in to.split(",") if one.strip())[:MOST_RECIPIENTS]
    sender = environment.get(MAIL_FROM, "").strip() or f"log-investigator@{host}"
    return Mail(
        host,
        port,
        addresses,
        sender,
        tls=parts.scheme == "smtps",
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        authorities=environment.get("SSL_CERT_FILE", ""),
    )


def _address(text: str) -> str:
    try:
        return str(Address(addr_spec=text.strip()))
    except (ValueError, IndexError) as trouble:
        raise ConfigurationError(f"{MAIL_TO}: {text.strip()[:100]!r} is no mail address") from trouble
