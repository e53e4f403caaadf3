"""No secret leaves: known shapes, named values, URLs, the environment, and secrets cut in two; ordinary log
text stays.
"""

from __future__ import annotations

import string
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.redaction import MASK, redact, redacted_end, redacted_message

TOKEN = "Zx9kQ2mW7rT4yU1iO8pL"
LEAKS = {
    "openai": "using key sk-proj-Zx9kQ2mW7rT4yU1iO8pL for gpt",
    "anthropic": "sk-ant-api03-Zx9kQ2mW7rT4yU1iO8pL-AA",
    "github": "remote: https://ghp_Zx9kQ2mW7rT4yU1iO8pLabcd@github.com/x/y",
    "github fine-grained": "github_pat_11ABCDE0Zx9kQ2mW7rT4yU1iO8pL_more",
    "gitlab": "glpat-Zx9kQ2mW7rT4yU1iO8pL",
    "slack": "xoxb-1234-Zx9kQ2mW7rT4yU1iO8pL",
    "slack webhook": "POST https://hooks.slack.com/services/T0/B0/Zx9kQ2mW7rT4yU1iO8pL 404",
    "aws id": "AKIAZX9KQ2MW7RT4YU1I",
    "google": "AIzaSyZx9kQ2mW7rT4yU1iO8pL12345",
    "hugging face": "hf_Zx9kQ2mW7rT4yU1iO8pL",
    "npm": "//registry.npmjs.org/:_authToken=npm_Zx9kQ2mW7rT4yU1iO8pLabcd",
    "jwt": "token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJaeDlrUTJtVyJ9.Zx9kQ2mW7rT4yU1iO8pL",
    "assigned": "DB_PASSWORD=Zx9kQ2mW7rT4yU1iO8pL",
    "json": '{"apiKey": "Zx9kQ2mW7rT4yU1iO8pL", "n": 1}',
    "yaml": "client_secret: Zx9kQ2mW7rT4yU1iO8pL",
    "python": "os.environ['SECRET_KEY'] = 'Zx9kQ2mW7rT4yU1iO8pL'",
    "hash rocket": ':password => "Zx9kQ2mW7rT4yU1iO8pL"',
    "flag": "tool --api-key Zx9kQ2mW7rT4yU1iO8pL --verbose",
    "curl": "curl -u bob:Zx9kQ2mW7rT4yU1iO8pL http://x",
    "header": "> Authorization: Basic Zx9kQ2mW7rT4yU1iO8pL==",
    "bearer": "sent Bearer Zx9kQ2mW7rT4yU1iO8pL",
    "cookie": "Set-Cookie: sid=Zx9kQ2mW7rT4yU1iO8pL; Path=/",
    "query": "GET /file?name=a&sig=Zx9kQ2mW7rT4yU1iO8pL&x=1",
    "url": "postgresql://app:Zx9kQ2mW7rT4yU1iO8pL@db:5432/x",
    "redis url": "redis://:Zx9kQ2mW7rT4yU1iO8pL@cache:6379",
    "url with an at sign": "postgresql://app:p@Zx9kQ2mW7rT4yU1iO8pL@db:5432/x",
    "url with a slash": "postgresql://app:Zx9k/Zx9kQ2mW7rT4yU1iO8pL@db:5432/x",
    "discord webhook": "POST https://discord.com/api/webhooks/123/Zx9kQ2mW7rT4yU1iO8pL 404",
    "xml": "<server><password>Zx9kQ2mW7rT4yU1iO8pL</password></server>",
    "mysql": "+ mysql -h db -u root -pZx9kQ2mW7rT4yU1iO8pL shop",
    "docker": "$ docker login -u bob -p Zx9kQ2mW7rT4yU1iO8pL registry",
    "coloured": "\x1b[36mpassword\x1b[0m=\x1b[35mZx9kQ2mW7rT4yU1iO8pL\x1b[0m",
    "said": "the password is Zx9kQ2mW7rT4yU1iO8pL",
    "behind another name": "No space left on device: password=Zx9kQ2mW7rT4yU1iO8pL",
    "inside another value": '{"error": "cannot log in with token=Zx9kQ2mW7rT4yU1iO8pL"}',
    "behind another flag": "tool --output --token Zx9kQ2mW7rT4yU1iO8pL",
    "quoted with spaces": 'passphrase="Zx9kQ2mW7rT4yU1iO8pL and more words"',
}


@pytest.mark.parametrize("text", LEAKS.values(), ids=LEAKS.keys())
def test_a_secret_in_a_known_shape_is_masked(text: str) -> None:
    shown = redact(text, {})
    assert TOKEN not in shown
    assert TOKEN.upper() not in shown
    assert MASK in shown


@pytest.mark.parametrize(
    "text",
    [
        "max_tokens=1024 prompt_tokens: 5",
        "SyntaxError: Unexpected token } in JSON at position 412",
        "password authentication failed for user",
        "author: Ann, passed: 3, session started",
        'File "/app/tokenizer.py", line 12, in encode',
        "14:05:33 ERROR orders call to ledger failed: deadline 3000 ms exceeded trace 9bc1 log 3fa2",
        "undefined symbol: _ZN3c105ErrorC2ENS_14SourceLocationENSt7__cxx1112basic_stringIcSt11char_traitsIcE",
        "listening on http://127.0.0.1:8000/v1",
        "GET http://127.0.0.1:8000/users/ann@example.org 404",
        "mysql -p: asked for a password; cp -p a b",
    ],
)
def test_ordinary_log_text_is_left_alone(text: str) -> None:
    assert redact(text, {}) == text


SECRET = st.text(string.ascii_letters + string.digits, min_size=12, max_size=60)
NAMES = st.sampled_from(
    [
        "password",
        "API_KEY",
        "apiKey",
        "x-api-key",
        "client_secret",
        "AWS_SECRET_ACCESS_KEY",
        "auth_token",
        "db.passwd",
        "WANDB_API_KEY",
    ]
)
SIGNS = st.sampled_from(["=", ": ", " = ", " => ", ":="])
QUOTES = st.sampled_from(["", '"', "'"])


GLUE = st.sampled_from(
    [" ", "error: ", "x=", '{"message": "', "(", "--flag ", ", ", "\n", "a: b: ", "&", "?"]
)


@example(secret="0" * 12, name="password", sign="=", quote='"', before=f"{'1' * 28}A", glue="x=", after="")
@example(
    secret="0" * 12, name="password", sign=": ", quote='"', before="CREDENTIAL", glue="error: ", after=""
)
@example(secret="0" * 12, name="password", sign="=", quote='"', before="BEARER", glue=" ", after="")
@given(
    secret=SECRET, name=NAMES, sign=SIGNS, quote=QUOTES, before=st.text(max_size=40), glue=GLUE, after=st.text(max_size=40)
)  # fmt: skip
def test_no_named_value_survives_whatever_stands_around_it(
    secret: str, name: str, sign: str, quote: str, before: str, glue: str, after: str
) -> None:
    text = f"{before}{glue}{name}{sign}{quote}{secret}{quote} {after}"
    assert secret not in redact(text, {}) or secret in before + after


@given(
    user=st.text(string.ascii_lowercase, max_size=8),
    secret=SECRET,
    scheme=st.sampled_from(["https", "postgres", "amqp", "redis"]),
)
def test_no_url_keeps_its_credentials(user: str, secret: str, scheme: str) -> None:
    assert secret not in redact(f"connecting to {scheme}://{user}:{secret}@host:5432/x failed", {})


@given(st.text(max_size=500))
def test_redacting_twice_changes_nothing_more(text: str) -> None:
    once = redact(text, {})
    assert redact(once, {}) == once


@given(secret=SECRET, lead=st.integers(0, 200))
def test_a_secret_that_the_cut_would_halve_is_masked_all_the_same(secret: str, lead: int) -> None:
    text = f"DB_PASSWORD={secret} " + "x" * lead
    assert not any(secret[at:] in redacted_end(text, lead + 6) for at in range(len(secret) - 5))


def test_values_of_secret_variables_of_this_process_are_masked_wherever_they_stand() -> None:
    environment = {"MY_API_KEY": "plain words here", "HOME": "/home/ann", "SHORT_TOKEN": "abc"}
    assert (
        redact("it said plain words here in /home/ann abc", environment) == f"it said {MASK} in /home/ann abc"
    )


def test_a_private_key_is_masked_also_when_its_beginning_or_end_is_cut_off() -> None:
    body = "\n".join(["MIIEpAIBAAKCAQEAx" + TOKEN] * 3)
    whole = f"-----BEGIN RSA PRIVATE KEY-----\n{body}\n-----END RSA PRIVATE KEY-----"
    for text in (whole, whole.split("\n", 1)[1], whole.rsplit("\n", 1)[0]):
        assert TOKEN not in redact(f"log\n{text}\n", {})


def test_a_message_keeps_its_beginning_and_a_traceback_its_end() -> None:
    assert redacted_message("first words " + "x" * 100, 11) == "first words"
    assert (
        redacted_message("Traceback (most recent call last):\n" + "x" * 100 + "\nKeyError: 7", 11)
        == "KeyError: 7"
    )


@pytest.mark.parametrize(
    "piece",
    ["a", "password ", "=", "'a", "-", "eyJ", "a.", '"\\', "A1a", "x='", "http://", "bearer a", "AAAAAAAAAAAAAAAA\n", "--a ",
     "mysql ", "a://a:", "<password>"],
)  # fmt: skip
def test_hostile_text_of_the_longest_kind_takes_no_more_than_a_few_seconds(piece: str) -> None:
    text = (piece * 70_000)[:70_000]
    started = time.process_time()
    redact(text, {})
    assert time.process_time() - started < 5
