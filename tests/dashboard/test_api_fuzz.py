"""Whatever is asked, the answer is an answer: no address and no parameter makes the server fail."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from failure_analysis.aggregates import Trend
from failure_analysis.records import ExperimentType, FailureCategory, InvestigationKind, Severity, Status
from tests.builders.examples import examples
from tests.builders.runs import training_run
from tests.dashboard.served import captured, dashboard

PATHS = [
    "/api/experiments",
    "/api/episodes",
    "/api/counts",
    "/api/counts/chart",
    "/api/groups",
    "/api/similar",
    "/api/compare",
]
PATHS += [
    "/api/run",
    "/api/run/curves",
    "/api/run/checkpoints",
    "/experiments",
    "/episodes",
    "/failures",
    "/compare",
    "/side-by-side",
    "/run",
]
NAMES = [
    "type",
    "status",
    "category",
    "severity",
    "kind",
    "signature",
    "run",
    "split",
    "sampling",
    "step",
    "scenario_id",
    "sample",
    "fault_type",
]
NAMES += [
    "ending",
    "correct",
    "since",
    "until",
    "q",
    "order",
    "offset",
    "limit",
    "by",
    "bucket",
    "to",
    "name",
    "before",
    "after",
    "before_step",
]
WORDS = [
    str(one)
    for kind in (ExperimentType, Status, FailureCategory, Severity, InvestigationKind, Trend)
    for one in kind
]
WORDS += [
    "seed1",
    "test",
    "t0",
    "0",
    "3",
    "-1",
    "1e9",
    "99999999999999999999",
    "true",
    "",
    "'",
    '"; DROP TABLE experiments; --',
    "%",
    "\x00",
]
WORDS += [
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-14:00",
    "2026-03-01T14:00:00Z",
    "day",
    "step",
    "../..",
    "newest",
    "failures",
    "0f3c",
]
parameters = st.lists(
    st.tuples(st.sampled_from(NAMES), st.one_of(st.sampled_from(WORDS), st.text(max_size=40))), max_size=5
)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of a dashboard over one run."""
    root: Path = tmp_path_factory.mktemp("fuzz") / "runs"
    training_run(root)
    captured(root)
    with dashboard(root) as url, httpx.Client(base_url=url, timeout=30) as opened:
        yield opened


@examples(250, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.sampled_from(PATHS), asked=parameters)
def test_no_parameter_makes_the_server_fail(
    client: httpx.Client, path: str, asked: list[tuple[str, str]]
) -> None:
    query = "&".join(f"{name}={quote(value.encode('utf-8', 'surrogatepass'))}" for name, value in asked)
    answer = client.get(f"{path}?{query}")
    assert answer.status_code in (200, 404, 422, 503), answer.text
    if answer.status_code == 503:  # only for a side of a comparison that nobody played
        assert "no captured episodes" in answer.text
    if path.startswith("/api/"):
        assert isinstance(answer.json(), dict | list)


@examples(100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(min_size=1, max_size=60))
def test_no_address_makes_the_server_fail(client: httpx.Client, raw: bytes) -> None:
    for prefix in ("/", "/experiments/", "/api/episodes/", "/static/"):
        answer = client.get(prefix + quote(raw, safe="/."))
        assert answer.status_code in (200, 303, 307, 404, 405, 422), (prefix, raw, answer.text)
