"""The registry: versions never change, damage and foreign bases are refused, and a rollback
gives back the same bytes.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from alignment.__main__ import main
from alignment.adapters import PRODUCTION, Card, Registry, difference
from alignment.gates import Gate
from alignment.measurements import Gated, Verdict, gated, judged, keep
from alignment.overview import shown
from core.files import held
from core.intervals import Interval
from project_types import ConfigurationError

ROOT = Path(__file__).parents[2]
BASE = "ab" * 32
FACTS: dict[str, Any] = {"base_model": "random", "base_sha256": BASE, "kind": "dpo"}
PASSED = [Gate("correctness", 0.9, 0.5, at_most=False)]
REFUSED = [Gate("repetition", 0.9, 0.1, at_most=True)]


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "adapters")


def add(registry: Registry, weights: bytes = b"weights", name: str = "judged", **facts: Any) -> Card:
    source = registry.folder.parent / "trained"
    source.mkdir(exist_ok=True)
    (source / "adapter_model.safetensors").write_bytes(weights)
    (source / "state.json").write_text("{}")
    return registry.add(source, name, FACTS | facts)


def test_a_name_gets_versions(registry: Registry) -> None:
    assert [add(registry).full_name, add(registry).full_name] == ["judged@v1", "judged@v2"]
    assert registry.card("judged").version == 2, "a bare name is its newest version"
    assert registry.card("judged@v1").version == 1


@pytest.mark.parametrize("name", ["Judged", "a/b", "../x", "production", "", "x" * 65])
def test_a_name_that_cannot_be_used_is_refused(registry: Registry, name: str) -> None:
    with pytest.raises(ConfigurationError, match="use lower case letters"):
        add(registry, name=name)


def test_an_adapter_that_is_not_there_says_what_is(registry: Registry) -> None:
    add(registry)
    with pytest.raises(ConfigurationError, match=r"no adapter 'other'; it has: judged@v1"):
        registry.card("other")


def test_an_adapter_is_loaded_for_its_own_base_only(registry: Registry) -> None:
    add(registry)
    assert (registry.checked("judged@v1", BASE) / "adapter_model.safetensors").read_bytes() == b"weights"
    with pytest.raises(ConfigurationError, match="was trained on other weights"):
        registry.checked("judged@v1", "cd" * 32)


def flip(place: Path) -> None:
    (place / "adapter_model.safetensors").write_bytes(b"weightt")


DAMAGE: dict[str, Callable[[Path], Any]] = {
    "a flipped byte": flip,
    "a lost file": lambda place: (place / "state.json").unlink(),
    "a new file": lambda place: (place / "more.txt").write_text("x"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_refused(registry: Registry, damage: str) -> None:
    add(registry)
    DAMAGE[damage](registry.folder / "judged" / "v1")
    with pytest.raises(ConfigurationError, match="is not what was registered"):
        registry.checked("judged@v1", BASE)


def test_a_rollback_gives_back_the_same_bytes_within_a_second_and_is_logged(registry: Registry) -> None:
    add(registry, b"first"), add(registry, b"second")
    registry.promote("judged@v1", "meg")
    before = registry.checked(PRODUCTION, BASE).joinpath("adapter_model.safetensors").read_bytes()
    registry.promote("judged@v2", "meg")
    began = time.process_time()  # of the clock on the wall, others take their part
    assert registry.rollback("owen") == "judged@v1"
    assert time.process_time() - began < 1
    assert registry.checked(PRODUCTION, BASE).joinpath("adapter_model.safetensors").read_bytes() == before
    rows = [(row["action"], row["from"], row["to"], row["by"]) for row in registry.log()]
    assert rows[-1] == ("rollback", "judged@v2", "judged@v1", "owen")
    with pytest.raises(ConfigurationError, match="no earlier version"):
        registry.rollback()


def test_what_is_in_production_is_not_removed(registry: Registry) -> None:
    add(registry), add(registry)
    registry.promote("judged@v1")
    with pytest.raises(ConfigurationError, match="is in production"):
        registry.remove(PRODUCTION)
    registry.remove("judged@v2")
    assert [card.full_name for card in registry.cards()] == ["judged@v1"]
    assert add(registry).full_name == "judged@v3"


def test_one_process_changes_the_registry_at_a_time(registry: Registry) -> None:
    add(registry)
    with held(registry.folder / ".lock"), pytest.raises(ConfigurationError, match="another process"):
        registry.promote("judged@v1")


def test_a_row_of_the_log_that_was_cut_hides_no_other(registry: Registry) -> None:
    add(registry), add(registry)
    registry.promote("judged@v1")
    with (registry.folder / "log.jsonl").open("a") as log:
        log.write('{"at": "2026-')
    assert [row["to"] for row in registry.log()] == ["judged@v1"]
    registry.promote("judged@v2")
    assert [row["to"] for row in registry.log()] == ["judged@v1", "judged@v2"]


def test_two_cards_are_compared_line_by_line(registry: Registry) -> None:
    one = add(registry, settings={"beta": 0.1})
    other = add(registry, b"other", settings={"beta": 0.2}, start="warm@v1")
    lines = difference(one, other)
    assert "settings.beta: 0.1 -> 0.2" in lines
    assert "start:  -> warm@v1" in lines
    assert any(line.startswith("files.adapter_model.safetensors") for line in lines)


# ------------------------------------------------------------------------------------------------ the command


def run(registry: Registry, *arguments: str) -> int:
    return main(["adapters", *arguments, "--adapters", str(registry.folder)])


def test_only_an_adapter_that_passed_its_gates_is_promoted(
    registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    card = add(registry)
    assert run(registry, "promote", "judged@v1") == 2
    assert "was never gated; run: python -m alignment gate judged@v1" in capsys.readouterr().err
    keep(registry, card.full_name, Gated(gates=tuple(REFUSED)))
    assert run(registry, "promote", "judged@v1") == 2
    keep(registry, card.full_name, Gated(gates=tuple(PASSED)))
    assert run(registry, "promote", "judged@v1", "--by", "meg") == 0
    assert run(registry, "list") == 0
    out = capsys.readouterr().out
    assert "judged@v1" in out
    assert "passed  production" in out
    assert run(registry, "log") == 0
    assert "meg" in capsys.readouterr().out


def test_show_and_diff_and_remove_say_what_they_need(
    registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    add(registry), add(registry)
    assert run(registry, "show", "judged@v1") == 0
    assert '"base_sha256"' in capsys.readouterr().out
    assert run(registry, "diff", "judged@v1") == 2
    assert "diff takes two adapters" in capsys.readouterr().err
    assert run(registry, "diff", "judged@v1", "judged@v2") == 0
    assert run(registry, "remove", "judged@v1") == 0


def test_a_number_that_was_removed_is_never_given_again(registry: Registry) -> None:
    card = add(registry)
    keep(registry, card.full_name, Gated(gates=tuple(PASSED)))
    registry.remove(card.full_name)
    again = add(registry)
    assert again.full_name == "judged@v2"
    assert again.full_name not in gated(registry), "what was measured of the old one says nothing about it"


def test_what_was_measured_of_a_reward_model_is_read_back(registry: Registry) -> None:
    name = add(registry).full_name
    sure = Interval(0.9, 0.8, 0.95, 40)
    verdict = Verdict(accuracy={"all": {"model": sure}}, calibration=0.1, refusals=("too few pairs",))
    keep(registry, name, verdict)
    assert judged(registry) == {name: verdict}
    (one,) = shown(registry)
    assert (one.state, one.verdict) == ("refused", verdict)


@pytest.mark.parametrize(
    "module", ["adapter_commands", "data_commands", "evaluate_command", "triage_command"]
)
def test_what_needs_no_model_loads_no_torch(module: str) -> None:
    loads = f"import sys, alignment.{module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", loads], cwd=ROOT).returncode == 0
