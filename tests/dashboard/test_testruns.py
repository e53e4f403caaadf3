"""Findings about test runs, and sessions of assistants over MCP, as pages, as API and as files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from testrun_investigator.history import Finding
from testrun_investigator.victoria_logs import VictoriaLogsHandler
from tests.builders.testruns import OTHER_RUN, RUN, save_finding, save_session
from tests.dashboard.served import dashboard, settings_beside, visitor

HOSTILE = "<script>alert(1)</script> \u202e on node 4"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder without runs; the cache of the investigator lies beside it."""
    folder = tmp_path_factory.mktemp("testruns") / "runs"
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def finding(root: Path) -> Finding:
    """The finding of one run; another run has one that is like it, and each run has a session."""
    settings = settings_beside(root)
    first = save_finding(settings, RUN, "The volume of node 4 was full.")
    save_finding(settings, OTHER_RUN, HOSTILE)
    save_session(settings, RUN, "The volume of node 4 was full.", HOSTILE)
    save_session(settings, OTHER_RUN, None, "nothing matches")
    return first


@pytest.fixture(scope="module")
def client(root: Path, finding: Finding) -> Iterator[httpx.Client]:
    """A client of a dashboard over it."""
    with dashboard(root) as url, httpx.Client(base_url=url, timeout=60) as opened:
        yield opened


def test_findings_are_listed_with_their_run_and_filtered(client: httpx.Client) -> None:
    page = client.get("/findings").text
    assert "The volume of node 4 was full." in page
    assert HOSTILE not in page
    assert "&lt;script&gt;" in page
    only = client.get("/api/findings", params={"q": "VOLUME OF NODE"}).json()
    assert [one["run_id"] for one in only] == [RUN]
    assert client.get("/api/findings", params={"run_id": OTHER_RUN, "q": "volume"}).json() == []
    assert "No finding matches" in client.get("/findings?q=nosuchthing").text


def test_a_finding_shows_its_proof_and_what_is_like_it(client: httpx.Client, finding: Finding) -> None:
    page = client.get(f"/findings/{finding.id}").text
    assert finding.evidence[0].log_id in page
    assert "No space left on device" in page
    assert "checked against the logs now</dt><dd>holds" in page
    assert "Similar findings of other runs" in page
    assert "/sessions/1" in page


def test_a_finding_whose_rows_are_gone_says_so(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    runs.mkdir()
    settings = settings_beside(runs)
    saved = save_finding(settings, RUN, "The volume was full.")
    for part in settings.run_folder(RUN).iterdir():
        part.unlink()
    VictoriaLogsHandler(settings).open_store(RUN)
    with dashboard(runs) as url:
        page = visitor.get(f"{url}/findings/{saved.id}").text
    assert "Its proof does not hold any more: rows are gone" in page


def test_a_session_shows_its_calls_and_what_they_showed(client: httpx.Client) -> None:
    page = client.get("/sessions").text
    assert "The volume of node 4 was full." in page
    assert "out of turns" in page
    one = client.get("/sessions/1").text
    assert "search_logs" in one
    assert "&lt;script&gt;" in one
    assert HOSTILE not in one
    assert [row["run_id"] for row in client.get("/api/sessions").json()] == [OTHER_RUN, RUN]


@pytest.mark.parametrize("address", ["/findings/0123", "/sessions/99"])
def test_what_is_not_there_is_404(client: httpx.Client, address: str) -> None:
    assert client.get(address).status_code == 404


@pytest.mark.parametrize("address", ["/findings/../x", "/sessions/0", "/sessions/one", "/findings?limit=0"])
def test_a_wrong_address_is_refused(client: httpx.Client, address: str) -> None:
    assert client.get(address).status_code in (404, 422)


@pytest.mark.parametrize("table", ["findings", "sessions"])
def test_both_lists_leave_as_files(client: httpx.Client, table: str) -> None:
    rows = [json.loads(line) for line in client.get(f"/export/{table}.jsonl").text.splitlines()]
    assert [row["run_id"] for row in rows] == [OTHER_RUN, RUN]
    header = client.get(f"/export/{table}.csv").text.splitlines()[0]
    assert "run_id" in header.split(",")


def test_a_dashboard_without_findings_says_how_to_get_some(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    runs.mkdir()
    with dashboard(runs) as url:
        assert "python -m testrun_investigator demo" in visitor.get(f"{url}/findings").text
        assert "python -m testrun_investigator configure" in visitor.get(f"{url}/sessions").text
        assert visitor.get(f"{url}/api/findings").json() == []
