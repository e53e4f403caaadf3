"""Secrets are taken out of a text before it is stored, printed or sent to a model.

Terminal escapes go first: they hide a secret behind its name. Then go private keys, values that a name gives
away (`core.secret_names`), keys known by their form (`core.secret_forms`), URLs and commands with
credentials, and whatever the environment of this process calls a secret. In doubt a text is masked. It cannot
know a secret that looks like an ordinary word and stands beside no name that gives it away.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Mapping

from core.escapes import plain
from core.secret_forms import KEY, OPAQUE, PRIVATE_KEY
from core.secret_names import MASK, masked_value, without_named

__all__ = ["MASK", "READ_BACK", "redact", "redacted_end", "redacted_message"]
READ_BACK = 60_000
"""Characters before the end that are searched, so that a secret that begins before the cut is still
recognised.
"""
_PLACES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, flags), replacement)
    for pattern, flags, replacement in (
        # URLs with credentials, and addresses that are the secret
        (r"\b([a-z][a-z0-9+.-]{1,30}://)(?:[^\s/@:'\"<>]{0,100}:(?!\d{1,5}[/?#])[^\s'\"<>?#&=]{1,400}(?<!/)"
         r"|[^\s/'\"<>]{1,400}|[^\s/@:'\"<>]{0,100}:(?!\d{1,5}[/?#])[^\s'\"<>]{1,400})@",
         re.IGNORECASE, rf"\1{MASK}@"),
        (r"(https://hooks\.slack\.com/(?:services|workflows)/|/api/webhooks/|webhook\.office\.com/"
         r"|/bot)(?=\S*\d)[\w:/@+-]{20,}",
         re.IGNORECASE, rf"\1{MASK}"),
        # elements, headers and schemes
        (r"(<(?:\w{0,30}(?:password|passphrase|secret|token|api_?key))\b[^<>]{0,200}>)[^<]{1,2000}",
         re.IGNORECASE, rf"\1{MASK}"),
        (r"\b(bearer|basic|digest|negotiate)(\s{1,4})(?=[\w~+/=-]{0,200}[\d._~+/=-])[\w.~+/=-]{6,}",
         re.IGNORECASE, rf"\1\2{MASK}"),
        # flags of commands
        (r"(\b(?:sshpass|mysql\w{0,20}|mariadb\w{0,20}|mongo\w{0,20}|7za?"
         r"|(?:docker|podman|az|helm registry|oc|cf|bw) login)\b"
         r"[^\n|;&]{0,200}?\s-p ?)(?![ :-]|\[redacted\])\S+", 0, rf"\1{MASK}"),
        (r"(\s(?:-u|--user|--username|--login)[ =]\S{1,100}[^\n|;&]{0,100}?\s-p )(?![ :-]|\[redacted\])\S+",
         0, rf"\1{MASK}"),
        (r"(\bredis-cli\b[^\n|;&]{0,200}?\s-a )(?!\[redacted\])\S+", 0, rf"\1{MASK}"),
        (r"(\s(?:-u|--user|--proxy-user)[\s=]{1,4}[\w.@-]{1,60}:)(?!\[redacted\])\S+", 0, rf"\1{MASK}"),
    )
)  # fmt: skip
_HEADER = re.compile(
    r"(?:(?<=[\s\"'{,(])|^)(?:(?:proxy-)?authorization|(?:set-)?cookie)[\"']?\s{0,4}[:=,]\s{0,4}[\"']?"
    r"(?!\s|\[redacted\])(?P<value>[^\r\n\"']+)",
    re.IGNORECASE | re.MULTILINE,
)
_SHORT_FLAG = re.compile(
    r"(?P<before>[^\n|;&]{0,300}\s-p )(?=\S{0,60}\d)(?=\S{0,60}[A-Za-z])(?P<value>[^\s/:.,\[\]]{10,})"
)
_OTHER_P = re.compile(
    r"\b(mkdir|cp|ssh|scp|sftp|make|tar|ls|git|patch|pkill|kill|ps|nmap|(docker|podman) run|rsync|install"
    r"|python\d?|pytest|unzip|screen|tmux|tee|cargo|npm|npx|mvn|gradle|tsc|perl|touch|lsof|netstat|ss"
    r"|iptables|useradd|command|read|set)\b"
)
"""Commands whose -p is no password."""
_SECRET_NAME = re.compile(r"key|token|secret|passw|credential|dsn", re.IGNORECASE)
SHORTEST_SECRET = 8


def redact(text: str, environment: Mapping[str, str] | None = None) -> str:
    """The text with every secret that can be recognised masked, and without terminal escapes.

    `environment` defaults to that of this process.
    """
    text = unicodedata.normalize("NFC", plain(text))  # a name may be written with separate accents
    for value in _known(os.environ if environment is None else environment):
        text = text.replace(value, MASK)
    # names before forms: a form may swallow the name that gives a value away
    text = without_named(PRIVATE_KEY.sub(MASK, text))
    text = _HEADER.sub(masked_value, text)
    if " -p " in text:
        text = _SHORT_FLAG.sub(_masked_flag, text)
    for pattern, replacement in _PLACES:
        text = pattern.sub(replacement, text)
    return OPAQUE.sub(MASK, without_named(KEY.sub(MASK, text)))


def _masked_flag(found: re.Match[str]) -> str:
    return found[0] if _OTHER_P.search(found["before"]) else found["before"] + MASK


def redacted_message(text: str, characters: int) -> str:
    """A message redacted and then cut: its beginning, or its end when it is a traceback, whose last line says
    most.
    """
    if text.lstrip().startswith("Traceback"):
        return redacted_end(text, characters)
    return redact(text[: characters + READ_BACK])[:characters]


def redacted_end(text: str, characters: int) -> str:
    """The last `characters` of a text, redacted before it is cut, so that a secret
    cut in two is not missed.
    """
    return redact(text[-(characters + READ_BACK) :])[-characters:]


def _known(environment: Mapping[str, str]) -> list[str]:
    """Values of this process's environment that are secrets, longest first."""
    found = {
        value
        for name, value in environment.items()
        if _SECRET_NAME.search(name) and len(value) >= SHORTEST_SECRET
    }
    return sorted(found, key=lambda value: (-len(value), value))
