"""A person confirms what it was, training learns from it, and says whether the result is
better before it is used.
"""

from __future__ import annotations

import argparse
import operator
from importlib.util import find_spec
from pathlib import Path

import pytest

from project_types import ConfigurationError, read_scenario
from tests.builders.generated import one

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("torch_geometric") is None, reason="needs the extra graph"),
]


@pytest.fixture(scope="module")
def confirmed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three incidents that a person labelled, two by their real service."""
    from graph_rca.__main__ import main

    folder = tmp_path_factory.mktemp("confirmed")
    for seed in range(3):
        scenario = one(seed, "disk_full")
        path = folder / "live" / f"incident-{seed}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(scenario.incident.model_dump_json(), encoding="utf-8")
        service = scenario.ground_truth.service
        told = ["--service", service, "--fault", "disk full", "--out", str(folder / "labelled")]
        assert main(["confirm", str(path), *told]) == 0
    return folder / "labelled"


def test_a_confirmed_incident_is_a_scenario_with_that_answer(confirmed: Path) -> None:
    paths = sorted(confirmed.glob("scenario-*.json"))
    assert len(paths) == 3
    scenario = read_scenario(paths[0])
    assert scenario.ground_truth.service in scenario.services
    assert scenario.ground_truth.fault_type == "disk"
    assert scenario.provenance.source == "confirmed finding"


def test_a_service_that_is_not_there_cannot_be_confirmed(confirmed: Path, tmp_path: Path) -> None:
    from graph_rca.__main__ import main

    incident = str(confirmed.parent / "live" / "incident-0.json")
    assert main(["confirm", incident, "--service", "nobody", "--out", str(tmp_path)]) == 2


def test_training_says_whether_the_result_is_better(
    confirmed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from graph_rca.__main__ import main
    from graph_rca.dataset import Labelled, labelled, save

    items: list[Labelled] = [found for seed in range(4) if (found := labelled(one(seed, "memory_pressure")))]
    encoded = tmp_path / "few.npz"
    save(items, encoded)
    asked = ["train", str(encoded), "--val", str(encoded), "--out", str(tmp_path / "run"), "--kinds", "own"]
    assert main([*asked, "--epochs", "2", "--from", str(confirmed), "--check", "4"]) == 0
    said = capsys.readouterr().out
    assert "6 incidents to learn from" in said  # four, and two of the three findings
    assert "| findings kept back (n 1) |" in said
    assert "The new model is not better" in said  # two epochs on six incidents cannot beat the shipped one
    assert "to use it" not in said
    assert (tmp_path / "run" / "better.md").is_file()
    assert (tmp_path / "run" / "together.safetensors").is_file()
    # the same folder with other incidents: what is there must not pass for a network that saw them
    assert main([*asked, "--epochs", "2"]) == 2
    assert "own-0.safetensors: was trained otherwise (incidents, encoded differ)" in capsys.readouterr().err
    nothing = tmp_path / "nothing"
    nothing.mkdir()
    assert main([*asked, "--from", str(nothing)]) == 2
    assert "no confirmed finding to learn from" in capsys.readouterr().err


def test_the_state_of_a_training_with_other_incidents_is_refused(tmp_path: Path) -> None:
    from graph_rca.dataset import labelled
    from graph_rca.model import Settings
    from graph_rca.train import Epoch, Plan, train

    def stop(_: Epoch) -> None:
        if state.exists():
            raise KeyboardInterrupt

    item = labelled(one(1, "memory_pressure"))
    assert item
    settings, plan, state = Settings("own"), Plan(epochs=3), tmp_path / "own.state"
    with pytest.raises(KeyboardInterrupt):
        train([item], [item], settings, plan, resume=state, tell=stop)
    with pytest.raises(ConfigurationError, match="with other incidents or flags"):
        train([item, item], [item], settings, plan, resume=state)
    assert len(train([item], [item], settings, plan, resume=state).epochs) == 3


def test_ablations_take_one_thing_away_from_the_graph_network_each() -> None:
    from graph_rca.graph import MODALITIES
    from graph_rca.train_command import variations

    given = argparse.Namespace(
        ablations=True, kinds="own", without="logs", no_attention=True, no_edges=False, seeds=1
    )
    found = [(one.kinds, one.without, one.no_attention, one.no_edges) for one in variations(given)]
    assert found[0] == ("gat", None, False, False)
    assert {without for _, without, _, _ in found} == {None, *MODALITIES}
    assert len(set(found)) == len(found) == 7
    changes = [sum(map(operator.ne, one, found[0])) for one in found]
    assert changes == [0, 1, 1, 1, 1, 1, 1]
    assert variations(argparse.Namespace(ablations=False, kinds="own"))[0].kinds == "own"
