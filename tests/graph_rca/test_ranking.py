"""Networks know no order, weights that are not those of their card are refused, and a
page shows names as text.
"""

from __future__ import annotations

import json
import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from graph_rca.graph import as_data, build
from project_types import ConfigurationError
from tests.builders.generated import one

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("torch_geometric") is None, reason="needs the extra graph"),
]


def test_every_network_gives_the_same_scores_in_another_order() -> None:
    import torch

    from graph_rca.batches import batch_of
    from graph_rca.model import KINDS, Ranker, Settings

    incident = one(3, "disk_full").incident
    names = incident.services[::-1]
    first, second = build(incident), build(incident.model_copy(update={"services": names}))
    for kind in KINDS:
        torch.manual_seed(0)
        model = Ranker(Settings(kind)).eval()
        with torch.no_grad():
            scores, again = model(batch_of([first])), model(batch_of([second]))
        np.testing.assert_allclose(scores.numpy(), again.numpy()[::-1], rtol=1e-3, atol=1e-4)
        assert scores.std() > 0


def test_the_graph_of_an_incident_is_data_of_torch_geometric() -> None:
    scenario = one(3, "disk_full")
    graph = build(scenario.incident)
    data = as_data(graph, scenario.ground_truth.service)
    assert data.validate()
    assert data.num_nodes == len(scenario.services)
    assert data.edge_attr.shape == graph.edge_features.shape
    assert graph.services[int(data.y)] == scenario.ground_truth.service


def test_damaged_weights_are_refused(tmp_path: Path) -> None:
    from graph_rca.weights import SHIPPED, load_ensemble

    copy = tmp_path / "ranker.safetensors"
    shutil.copy(SHIPPED, copy)
    shutil.copy(SHIPPED.with_suffix(".json"), copy.with_suffix(".json"))
    content = bytearray(copy.read_bytes())
    content[-1] ^= 1
    copy.write_bytes(content)
    with pytest.raises(ConfigurationError, match="not those of their card"):
        load_ensemble(copy)
    assert SHIPPED.stat().st_size < 5_000_000


def test_a_ranking_has_reasons_with_evidence_and_a_page_without_markup_of_its_data(tmp_path: Path) -> None:
    from graph_rca.__main__ import main

    scenario = one(3, "disk_full")
    path, page = tmp_path / "incident-a.json", tmp_path / "page.html"
    hostile = scenario.incident.model_copy(update={"description": "<script>alert(1)</script>"})
    path.write_text(hostile.model_dump_json(), encoding="utf-8")
    assert main(["rank", str(path), "--page", str(page)]) == 0
    text = page.read_text(encoding="utf-8")
    assert "&lt;script&gt;alert(1)" in text
    assert "<script>alert" not in text
    assert main(["watch", "--folder", str(tmp_path), "--once", "--findings", str(tmp_path / "found")]) == 1
    finding = json.loads((tmp_path / "found" / f"{scenario.id}.finding.json").read_text(encoding="utf-8"))
    assert [one["service"] for one in finding["services"]]
    assert sum(one["probability"] for one in finding["services"]) == pytest.approx(1.0, abs=0.05)
    assert any(reason["evidence"] for one in finding["services"] for reason in one["reasons"])


def test_where_a_ranking_is_written_is_made_or_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from graph_rca.__main__ import main

    path = tmp_path / "incident-a.json"
    path.write_text(one(3, "disk_full").incident.model_dump_json(), encoding="utf-8")
    assert main(["rank", str(path), "--page", str(tmp_path / "new" / "page.html")]) == 0
    assert (tmp_path / "new" / "page.html").is_file()
    assert main(["rank", str(path), "--page", str(path / "page.html")]) == 2
    assert "page.html: cannot be written" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["rank", str(path), "--findings", str(path)])
    assert "is a file; name a folder" in capsys.readouterr().err


def test_a_prometheus_that_is_down_is_said(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    from graph_rca.__main__ import main

    asked = ["watch", "--prometheus", "http://127.0.0.1:9", "--once", "--findings", str(tmp_path)]
    assert main(asked) == 1
    assert "cannot see" in capsys.readouterr().err
