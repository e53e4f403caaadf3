"""The pages about adapters and preferences, over HTTP: what is shown, what is not
there, and hostile names.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.builders.alignment import HOSTILE, write_room
from tests.dashboard.served import dashboard, visitor


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    runs = tmp_path_factory.mktemp("aligned") / "runs"
    write_room(runs / "alignment")
    with dashboard(runs) as url, httpx.Client(base_url=url, timeout=60) as http:
        yield http


def test_every_adapter_is_listed_with_its_gates_and_who_promoted_it(client: httpx.Client) -> None:
    page = client.get("/adapters").text
    assert page.index("judged@v2") < page.index("in production")
    assert "refused" in page
    assert "meg" in page
    rows = client.get("/api/adapters").json()
    assert {row["card"]["name"] for row in rows} == {"judge", "judged"}
    assert [row["card"]["version"] for row in rows if row["production"]] == [1]


def test_an_adapter_shows_each_gate_and_what_it_was_made_from(client: httpx.Client) -> None:
    page = client.get("/adapters/judged@v2").text
    assert "It may not be promoted." in page
    assert "Compared with warm@v1." in page
    assert "ab" * 32 in page
    assert HOSTILE not in page


def test_a_reward_model_shows_its_slices_beside_what_needs_no_understanding(client: httpx.Client) -> None:
    page = client.get("/adapters/judge@v1").text
    assert "longer wins" in page
    assert "55 %" in page
    assert "Refused: unseen types" in page


def test_people_are_counted_and_their_agreement_is_shown(client: httpx.Client) -> None:
    page = client.get("/preferences").text
    assert "Cohen&#39;s kappa of meg and owen" in page or "Cohen's kappa of meg and owen" in page
    found = client.get("/api/preferences").json()
    assert [(one["name"], one["judged"]) for one in found["annotators"]] == [("meg", 3), ("owen", 3)]
    assert found["counts"]["kind"]["person"] == 6


@pytest.mark.parametrize("name", ["judged@v9", "judged", "..%2f..%2fetc@v1", "A@v1"])
def test_what_is_not_there_is_not_found(client: httpx.Client, name: str) -> None:
    assert client.get(f"/adapters/{name}").status_code == 404


def test_without_a_room_the_pages_say_what_to_type(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    with dashboard(tmp_path / "runs") as url:
        assert "python -m alignment sft" in visitor.get(f"{url}/adapters").text
        assert "python -m alignment pairs" in visitor.get(f"{url}/preferences").text
