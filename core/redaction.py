"""Secrets are taken out of a text before it is stored, printed or sent to a model.

Keys, tokens, passwords, cookies, private keys, URLs with credentials, and whatever the environment of this
process calls a secret. A pattern that takes too much costs a word of a log; one that takes too little costs a
key: in doubt a text is masked. It cannot know a secret that looks like an ordinary word and stands beside no
name that gives it away.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from itertools import pairwise

MASK = "[redacted]"
READ_BACK = 60_000
"""Characters before the end that are searched, so that a secret that begins before the cut is still
recognised.
"""

_VALUE = (
    r"\"(?:\\.|[^\"\\\n]){0,2000}\"?|'(?:\\.|[^'\\\n]){0,2000}'?"
    r"|(?:(?i:bearer|basic|digest|negotiate)\s{1,4})?[^\s,;&\"'<>(){}\[\]|]+"
)
_ASSIGNED = re.compile(
    r"(?<![\w.-])(-{0,2}[A-Za-z_$][\w.-]{0,100})[\"']?\]?\s{0,4}(?:=>|:=|==?|:)\s{0,4}(?!\[redacted\])"
)
_FLAG = re.compile(r"(?<![\w-])(--[A-Za-z][\w-]{0,60}) {1,4}(?!--|\[redacted\])")
_VALUED = re.compile(_VALUE)
_NAME_PARTS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_SECRET_PARTS = {
    "password", "passwd", "pwd", "passphrase", "passcode", "secret", "secrets", "token", "credential", "credentials",
    "apikey", "auth", "authorization", "bearer", "cookie", "session", "sessionid", "sig", "signature",
    "jwt", "otp", "dsn", "sas", "webhook",
}  # fmt: skip
_SECRET_RUNS = re.compile(
    r"passw(or)?d|passphrase|secret|apikey|credential|token$|privatekey|accesskey|sharedkey|accountkey"
)
_KINDS_OF_KEY = {"api", "access", "private", "secret", "signing", "encryption", "account", "storage", "client",
                 "shared", "master", "deploy", "license", "wandb", "openai", "anthropic"}  # fmt: skip


def _names_a_secret(name: str) -> bool:
    """Whether a variable, field or flag of this name holds something to hide."""
    parts = [part.lower() for part in _NAME_PARTS.findall(name)]
    if set(parts) & _SECRET_PARTS or _SECRET_RUNS.search("".join(parts)):
        return True
    if "pass" in parts and (len(parts) > 1 or name.isupper()):
        return True
    return any(second in {"key", "keys"} and first in _KINDS_OF_KEY for first, second in pairwise(parts))


def _by_name(text: str) -> str:
    return _masked(_masked(text, _ASSIGNED), _FLAG)


def _masked(text: str, named: re.Pattern[str]) -> str:
    """The text without the values of secret names; what stands behind another name is looked at for names in
    its turn.
    """
    parts, end = [], 0
    while found := named.search(text, end):
        parts.append(text[end : found.end()])
        end = _end_of_value(text, found.end(), named) if _names_a_secret(found[1]) else found.end()
        if end > found.end():
            parts.append(MASK)
    return "".join(parts) + text[end:]


def _end_of_value(text: str, start: int, named: re.Pattern[str]) -> int:
    """Where the value at `start` ends. What looks like a name there (`token: user="..."`, `token: aGk= ...`)
    belongs to it.
    """
    end = start
    while nested := named.match(text, end):
        end = nested.end()
    value = _VALUED.match(text, end)
    return value.end() if value else end


_PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY-----|\Z)"
    r"|(?:^[A-Za-z0-9+/=]{16,100}\r?\n){1,200}-----END [A-Z0-9 ]{0,40}PRIVATE KEY-----",
    re.MULTILINE,
)
_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, flags), replacement)
    for pattern, flags, replacement in (
        (r"\b([a-z][a-z0-9+.-]{1,30}://)(?:[^\s/'\"<>]{1,400}|[^\s/@:'\"<>]{0,100}:(?!\d{1,5}[/?#])[^\s'\"<>]{1,400})@",
         re.IGNORECASE, rf"\1{MASK}@"),
        (r"(https://hooks\.slack\.com/(?:services|workflows)/|/api/webhooks/)[\w/+-]+", re.IGNORECASE, rf"\1{MASK}"),
        (r"(<(?:\w{0,30}(?:password|passphrase|secret|token|api_?key))>)[^<]{1,2000}", re.IGNORECASE, rf"\1{MASK}"),
        (r"(\b(?:sshpass|mysql\w{0,20}|mariadb|(?:docker|podman) login)\b[^\n|;&]{0,200}?\s-p ?)(?![ :-])\S+", 0, rf"\1{MASK}"),
        (r"(?:(?<=[\s\"'{,])|^)((?:proxy-)?authorization|(?:set-)?cookie)([\"']?\s{0,4}[:=]\s{0,4}[\"']?)[^\r\n\"']+",
         re.IGNORECASE | re.MULTILINE, rf"\1\2{MASK}"),
        (r"\b(bearer|basic|digest|negotiate)(\s{1,4})(?=[\w~+/=-]{0,200}[\d._~+/=-])[\w.~+/=-]{6,}",
         re.IGNORECASE, rf"\1\2{MASK}"),
        (r"\b(?:sk|pk|rk)[-_](?:ant-|proj-|live_|test_|or-)?[A-Za-z0-9_-]{12,}", 0, MASK),
        (r"\bgh[pousr]_[A-Za-z0-9]{16,}|\bgithub_pat_[A-Za-z0-9_]{20,}|\bglpat-[\w-]{16,}|\bxox[abeprs]-[\w-]{8,}", 0, MASK),
        (r"\b(?:AKIA|ASIA|AGPA|AROA)[A-Z0-9]{12,}|\bAIza[\w-]{20,}|\bya29\.[\w-]{10,}|\bhf_[A-Za-z0-9]{16,}", 0, MASK),
        (r"\bnpm_[A-Za-z0-9]{20,}|\bpypi-[\w-]{20,}|\bSG\.[\w-]{10,}\.[\w-]{10,}|\bdop_v1_[0-9a-f]{20,}", 0, MASK),
        (r"\bgsk_[A-Za-z0-9]{16,}", 0, MASK),
        (r"\beyJ[\w-]{6,4000}\.[\w-]{4,4000}(?:\.[\w-]{0,4000})?", 0, MASK),
        (r"\b((?:password|passphrase|secret|api key|token)\s{1,4}(?:is|was)\s{1,4})\S+", re.IGNORECASE, rf"\1{MASK}"),
        (r"(\s-u\s{1,4}[\w.@-]{1,60}:)\S+", 0, rf"\1{MASK}"),
    )
)  # fmt: skip
_OPAQUE = re.compile(
    r"(?<![\w+=-])(?!_Z)(?=[\w+=-]{0,4000}[a-z])(?=[\w+=-]{0,4000}[A-Z])(?=[\w+=-]{0,4000}\d)[\w+=-]{40,}"
    r"|(?<![0-9A-Za-z])[0-9a-f]{40}(?![0-9A-Za-z])"
)
"""Long strings that look drawn at random."""
_SECRET_NAME = re.compile(r"key|token|secret|passw|credential|dsn", re.IGNORECASE)
SHORTEST_SECRET = 8
_COLOUR = re.compile(r"\x1b\[[0-9;]{0,40}m")
"""Between a name and its value when a log is coloured; says nothing where texts are kept."""


def redact(text: str, environment: Mapping[str, str] | None = None) -> str:
    """The text with every secret that can be recognised masked. `environment` defaults to that of this
    process.
    """
    text = _COLOUR.sub("", text)
    for value in _known(os.environ if environment is None else environment):
        text = text.replace(value, MASK)
    text = _by_name(
        _PRIVATE_KEY.sub(MASK, text)
    )  # before the patterns: they may swallow the name that gives a value away
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return _OPAQUE.sub(MASK, _by_name(text))


def redacted_message(text: str, characters: int) -> str:
    """A message redacted and then cut: its beginning, or its end when it is a traceback, whose last line says
    most.
    """
    if text.lstrip().startswith("Traceback"):
        return redacted_end(text, characters)
    return redact(text[: characters + READ_BACK])[:characters]


def redacted_end(text: str, characters: int) -> str:
    """The last `characters` of a text, redacted before it is cut, so that a secret cut in two is not missed."""
    return redact(text[-(characters + READ_BACK) :])[-characters:]


def _known(environment: Mapping[str, str]) -> list[str]:
    """Values of this process's environment that are secrets, longest first."""
    found = {
        value
        for name, value in environment.items()
        if _SECRET_NAME.search(name) and len(value) >= SHORTEST_SECRET
    }
    return sorted(found, key=lambda value: (-len(value), value))
