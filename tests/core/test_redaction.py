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
from tests.core.secret_shapes import HEX, ORDINARY, SECRET, SHAPES

TOKEN = SECRET


def filled(shape: str) -> str:
    """A text with the secret in its place."""
    return shape.format(s=SECRET, S=SECRET.upper()[:16], h=HEX, s0=SECRET[:14])


def test_the_lists_are_long_enough() -> None:
    assert len(SHAPES) >= 100
    assert len(set(ORDINARY)) >= 60


@pytest.mark.parametrize("text", [*map(filled, SHAPES.values())], ids=[*SHAPES])
def test_a_secret_in_a_known_shape_is_masked(text: str) -> None:
    shown = redact(text, {})
    assert SECRET not in shown
    assert SECRET.upper()[:16] not in shown
    assert HEX not in shown
    assert MASK in shown


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_log_text_is_left_alone(text: str) -> None:
    assert redact(text, {}) == text


VALUES = st.text(string.ascii_letters + string.digits, min_size=12, max_size=60)
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
    secret=VALUES, name=NAMES, sign=SIGNS, quote=QUOTES, before=st.text(max_size=40), glue=GLUE,
    after=st.text(max_size=40)
)  # fmt: skip
def test_no_named_value_survives_whatever_stands_around_it(
    secret: str, name: str, sign: str, quote: str, before: str, glue: str, after: str
) -> None:
    text = f"{before}{glue}{name}{sign}{quote}{secret}{quote} {after}"
    assert secret not in redact(text, {}) or secret in before + after


@given(
    user=st.text(string.ascii_lowercase, max_size=8),
    secret=VALUES,
    scheme=st.sampled_from(["https", "postgres", "amqp", "redis"]),
)
def test_no_url_keeps_its_credentials(user: str, secret: str, scheme: str) -> None:
    assert secret not in redact(f"connecting to {scheme}://{user}:{secret}@host:5432/x failed", {})


@given(st.text(max_size=500))
def test_redacting_twice_changes_nothing_more(text: str) -> None:
    once = redact(text, {})
    assert redact(once, {}) == once


@given(secret=VALUES, lead=st.integers(0, 200))
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
    ("characters", "most_s"), [(20_000, 1.5), pytest.param(70_000, 5, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize(
    "piece",
    ["a", "password ", "=", "'a", "-", "eyJ", "a.", '"\\', "A1a", "x='", "http://", "bearer a", "AAAAAAAAAAAAAAAA\n", "--a ",
     "mysql ", "a://a:", "<password>"],
)  # fmt: skip
def test_hostile_text_of_the_longest_kind_takes_no_more_than_a_few_seconds(
    piece: str, characters: int, most_s: float
) -> None:
    text = (piece * characters)[:characters]
    started = time.process_time()
    redact(text, {})
    assert time.process_time() - started < most_s
