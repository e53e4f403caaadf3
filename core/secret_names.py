"""Values that stand beside a name that gives them away: `password=`, `--token`,
`name: API_KEY` above `value:`.

A name gives a value away; what a program says of its state does not: `token: expired`, `auth.py:118:
TypeError` and `auth: connection refused` hold no secret. Names are known in a dozen languages.
"""

from __future__ import annotations

import re
from itertools import pairwise

MASK = "[redacted]"
_NAME = r"-{0,2}[^\W\d][\w$.-]{0,100}"
_QUOTE = r"(?:\\{0,7}[\"']|&quot;|&#34;|&apos;)"
_SIGN = r"(?:=>|:=|==?|:(?!:)|：|＝|%3[DdAa])"
_ASSIGNED = re.compile(
    rf"(?<![\w.-])(?P<name>{_NAME}){_QUOTE}?\]?[^\S\n]{{0,4}}(?P<sign>{_SIGN})[^\S\n]{{0,4}}"
    r"(?:\[[\d;]{0,12}[mK])?(?!\[redacted\])"  # an escape that lost its first character
)
_FLAG = re.compile(r"(?<![\w-])(?P<name>--[A-Za-z][\w-]{0,60})(?P<sign> {1,4})(?!--|\[redacted\])")
_VALUE = re.compile(
    r"(?P<escaped>\\{1,7}[\"'])[^\n]{0,2000}?(?:(?P=escaped)|(?=\n|\Z))"  # JSON in JSON
    r"|&(?:quot|#34|apos);[^\n]{0,2000}?(?:&(?:quot|#34|apos);|(?=\n|\Z))"
    r"|\"\"[^\"\n]{1,2000}\"\""
    r"|[bBrRfFuU]{0,2}(?:\"(?:\\.|[^\"\\\n]){0,2000}\"?|'(?:\\.|[^'\\\n]){0,2000}'?)"
    r"|(?:(?i:bearer|basic|digest|negotiate|token)\s{1,4})?[^\s,;&\"'<>(){}\[\]|\\]+"
)
_BLOCK = re.compile(r"[|>][+-]?\d?[^\S\n]*\r?\n(?P<body>(?:(?:[ \t]+[^\n]*)?\n?){0,40})")
"""A block of YAML, whose lines are indented."""
_PAIR = re.compile(
    rf"(?P<sign>\b)(?:name|key)[\"']?\s{{0,4}}[:=]\s{{0,4}}[\"']?(?P<name>{_NAME})[\"']?"
    rf",?\s{{1,40}}[\"']?value[\"']?"
    r"\s{0,4}[:=]\s{0,4}(?!\[redacted\])",
    re.IGNORECASE,
)
_LIST = re.compile(
    rf"^(?P<indent>[ \t]*)(?P<name>{_NAME}):[ \t]*\n(?P<items>(?:[ \t]*- [^\n:]+\n?){{1,40}})", re.MULTILINE
)
_PHRASES = re.compile(
    r"\b(?:mots? de passe|clave secreta|parola chiave|palavra[- ]passe|kata sandi|mật khẩu"
    r"|كلمة (?:المرور|السر)|api key|access key)\s{0,4}[:=]\s{0,4}"
    r"(?!\[redacted\])(?P<value>[^\s,;\"'<>]+)",
    re.IGNORECASE,
)
_SAID = re.compile(
    r"\b(?:password|passphrase|secret|api key|token)\s{1,4}(?:is|was)\s{1,4}(?!\[redacted\])(?P<value>\S+)",
    re.IGNORECASE,
)
_NETRC = re.compile(
    r"\blogin\s{1,4}\S{1,100}\s{1,4}password\s{1,4}(?!\[redacted\])(?P<value>\S+)", re.IGNORECASE
)
_PARTS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_SECRET_PARTS = {
    "password", "passwd", "pwd", "passphrase", "passcode", "secret", "secrets", "token", "credential",
    "credentials",
    "apikey", "auth", "authorization", "bearer", "cookie", "session", "sessionid", "sig", "signature",
    "jwt", "otp", "dsn", "sas", "webhook",
    "passwort", "kennwort", "senha", "wachtwoord", "contrasena", "clave", "haslo", "heslo", "parola",
    "motdepasse",
    "losenord", "adgangskode", "sifre",
}  # fmt: skip
_SECRET_RUNS = re.compile(
    r"passw(or)?[dt]|passphrase|secret|apikey|credential|token$|privatekey|accesskey|sharedkey|accountkey"
)
_FOREIGN = re.compile(
    r"contraseñ|hasło|парол|パスワード|暗証|密码|密碼|口令|비밀번호|암호|şifre|lösenord|mot_de_passe|slaptažodis|salasana|jelsz"
    r"|κωδικός|סיסמה|المرور|khẩu|รหัสผ่าน|passord|lozinka|geslo|sandi"
)
_KINDS_OF_KEY = {"api", "access", "private", "secret", "signing", "encryption", "account", "storage",
                 "client", "shared", "master", "deploy", "license", "wandb", "openai", "anthropic"}  # fmt: skip
_ABOUT_IT = {
    "count", "type", "name", "file", "path", "dir", "length", "len", "size", "limit", "timeout", "ttl",
    "expiry", "expires", "expiration", "version", "policy", "provider", "status", "endpoint",
    "enabled", "required", "budget", "usage", "rate", "per", "filter", "class", "error", "errors",
    "method", "start", "end", "mode", "algorithm", "alg", "rotation", "in", "ms", "s", "age", "at", "date",
    "time", "format", "scope", "scopes", "store", "manager", "service", "server", "handler", "user",
    "username", "users", "realm", "domain", "host", "port", "group", "role", "level", "state", "flow",
    "plugin", "backend", "module", "table", "column", "field", "index", "prefix", "header", "cache",
    "lifetime", "duration", "interval", "max", "min", "failures", "attempts", "retries", "total",
}  # fmt: skip
"""Last words of names that tell something about a secret and are none: token_count, secret_name."""
_FILE = re.compile(
    r"\.(?:py|pyi|rs|go|rb|java|kt|scala|js|jsx|ts|tsx|mjs|c|cc|cpp|h|hpp|cs|php|pl|sh|sql|swift|patch|diff"
    r"|log|md|txt|html|css|json|ya?ml|toml|xml|ini|csv|so|a|o|jar|class|lua|ex|exs|vue|proto|lock|cfg|conf)$",
    re.IGNORECASE,
)
_LINE_NUMBER = re.compile(r"\d{1,6}(?=[:)\],.\s]|\Z)")
_STATE = re.compile(
    r"(?:not|no|none|null|nil|true|false|missing|invalid|valid|expired|expires|expected|unexpected|required"
    r"|requires|field|must|should|could|would|cannot|can't|can|may|failed|fails|failure|connection|timed"
    r"|timeout|permission|access|denied|is|was|are|does|did|has|had|have|wrong|incorrect|empty|unknown|unset"
    r"|undefined|active|inactive|closed|open|opened|enabled|disabled|started|starting|stopped|error|errors"
    r"|found|refused|rejected|mismatch|rotated|revoked|changed|updated|created|deleted|loaded|loading"
    r"|accepted|verified|ok|bad|too|unable|unsupported|unauthorized|forbidden|incorrectly|already|still"
    r"|never|being|will|ignored|skipped|optional|default|present|absent|provided|using|use|used|user|users"
    r"|login|logged|for|from|to|the|a|an|in|on|at|of|and|or|with|without|by|this|that|it|allowed|granted"
    r"|successful\w*|succeeded|header|headers|digest)(?![\w@/+=-])|\d{1,4}(?=[ \n]|\Z|[,;)])|\d{4}-\d\d-\d\d"
    r"|SIG[A-Z]{3,6}\b",
    re.IGNORECASE,
)
"""What a program says of a thing, rather than the thing: a word, a small count, a date."""
_FOLDER = re.compile(r"[/~]|[A-Z]:\\\\")


def names_a_secret(name: str) -> bool:
    """Whether a variable, field or flag of this name holds something to hide."""
    if _FILE.search(name):
        return False
    if _FOREIGN.search(name.lower()):
        return True
    parts = [part.lower() for part in _PARTS.findall(name)]
    if not parts or (len(parts) > 1 and parts[-1] in _ABOUT_IT):
        return False
    if set(parts) & _SECRET_PARTS or _SECRET_RUNS.search("".join(parts)):
        return True
    if "pass" in parts and (len(parts) > 1 or name.isupper()):
        return True
    return any(second in {"key", "keys"} and first in _KINDS_OF_KEY for first, second in pairwise(parts))


def without_named(text: str) -> str:
    """The text without the values that a name gives away."""
    text = _LIST.sub(_masked_list, text)
    for named in (_PAIR, _ASSIGNED, _FLAG):
        text = _masked(text, named)
    for said in (_PHRASES, _SAID, _NETRC):
        text = said.sub(masked_value, text)
    return text


def _masked(text: str, named: re.Pattern[str]) -> str:
    """The text without the values of secret names; what stands behind another name is looked at for names in
    its turn.
    """
    parts, end = [], 0
    while found := named.search(text, end):
        parts.append(text[end : found.end()])
        end = _end_of_value(text, found, named) if names_a_secret(found["name"]) else found.end()
        if end > found.end():
            parts.append(MASK)
    return "".join(parts) + text[end:]


def _end_of_value(text: str, found: re.Match[str], named: re.Pattern[str]) -> int:
    """Where the value behind a name ends; at its start when it is none.

    What looks like a name there (`token: user="..."`, `token: aGk= ...`) belongs to it.
    """
    start = end = found.end()
    if block := _BLOCK.match(text, start):
        return block.end() - (1 if block["body"].endswith("\n") else 0)
    if _is_state(text, found):
        return start
    while nested := named.match(text, end):
        end = nested.end()
    value = _VALUE.match(text, end)
    return value.end() if value else end


def _is_state(text: str, found: re.Match[str]) -> bool:
    """Whether a line number of a file or the state of something follows, and no secret."""
    if found["name"] == "PASS" and found["sign"] == ":":  # what test runners print: PASS: test_a
        return True
    names_a_place = "." in found["name"] or text[found.start() - 1 : found.start()] in {"/", "\\"}
    if names_a_place and found["sign"] == ":" and _LINE_NUMBER.match(text, found.end()):
        return True
    if found["name"].lower() in {"pwd", "oldpwd"} and _FOLDER.match(text, found.end()):
        return True  # the folder a program runs in
    return bool(_STATE.match(text, found.end()))


def masked_value(found: re.Match[str]) -> str:
    """What a pattern found, with its group `value` masked unless it is the state of something."""
    if _STATE.match(found.string, found.start("value")):
        return found[0]
    return found.string[found.start() : found.start("value")] + MASK


def _masked_list(found: re.Match[str]) -> str:
    singular = found["name"].removesuffix("s")
    if not (names_a_secret(found["name"]) or names_a_secret(singular)):
        return found[0]
    return found.string[found.start() : found.start("items")] + re.sub(
        r"- [^\n]+", f"- {MASK}", found["items"]
    )
