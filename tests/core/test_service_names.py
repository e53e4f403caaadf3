"""A service is named as its source names it, without what names an instance."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.service_names import service_name, workload
from project_types import LogRecord


@pytest.mark.parametrize(
    ("pod", "service"),
    [
        ("cart-6d5f7c9b4-x2x4z", "cart"),
        ("ts-travel2-service-5c66d57d58-6mp2b", "ts-travel2-service"),
        ("db-0", "db"),
        ("fluentd-x7k2p", "fluentd"),
        ("backup-28712340-qw8rt", "backup"),
        ("cart", "cart"),
        ("cart-proxy", "cart-proxy"),
        ("api-gateway", "api-gateway"),
        ("checkout-v2", "checkout-v2"),
    ],
)
def test_a_pod_belongs_to_its_workload(pod: str, service: str) -> None:
    assert workload(pod) == service


@given(st.text(max_size=300))
def test_any_text_becomes_a_name_that_a_row_may_have(text: str) -> None:
    name = service_name(text)
    LogRecord.model_validate({"id": "a", "timestamp": None, "service": name, "level": "INFO", "message": ""})
