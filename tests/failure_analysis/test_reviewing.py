"""Before code, a configuration or scenarios run again, it is said what in them has failed before."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from failure_analysis.__main__ import main
from failure_analysis.capture import capture
from failure_analysis.logs.analyzer import NO_MODEL, LogAnalyzer
from failure_analysis.logs.ingest import ingest
from failure_analysis.notes import Notes
from failure_analysis.records import StoreError
from failure_analysis.reviewing import Finding, review
from failure_analysis.store import FailureStore
from tests.builders.played import Stage, evaluation


@pytest.fixture
def store(tmp_path: Path) -> FailureStore:
    return FailureStore(tmp_path / "failures.db")


def failed(store: FailureStore, *errors: str) -> None:
    """Store a failure for each of these texts."""
    for number, error in enumerate(errors):
        path = store.folder / f"log{len(list(store.folder.glob('log*')))}-{number}"
        path.write_text(error)
        ingest([str(path)], store, LogAnalyzer(NO_MODEL))


def reviewed(folder: Path, name: str, text: str, store: FailureStore) -> list[Finding]:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return review(path, store)


def test_a_module_that_was_missing_or_forbidden_is_named_with_its_line(
    tmp_path: Path, store: FailureStore
) -> None:
    failed(
        store,
        "ModuleNotFoundError: No module named 'orjson'",
        "Forbidden import from: torchvision; Forbidden attribute: eval",
    )
    code = "import torch\nimport torchvision\nfrom orjson import dumps\n\nmodel.eval()\n"
    found = {one.about: one.line for one in reviewed(tmp_path, "a.py", code, store)}
    assert found == {"orjson": 3, "torchvision": 2, "eval": 5}


def test_a_file_that_stood_in_a_traceback_is_named_and_its_namesake_is_not(
    tmp_path: Path, store: FailureStore
) -> None:
    failed(store, 'Traceback (most recent call last):\n  File "app/cart.py", line 12, in total\nKeyError: 7')
    (found,) = reviewed(tmp_path, "app/cart.py", "x = 1\n", store)
    assert (found.about, found.line, found.times) == ("cart.py", 12, 1)
    assert reviewed(tmp_path, "shop/cart.py", "x = 1\n", store) == []


def test_code_that_does_not_parse_is_a_finding_of_its_own(tmp_path: Path, store: FailureStore) -> None:
    (found,) = reviewed(tmp_path, "a.py", "def f(:\n", store)
    assert found.about == "syntax"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.yaml", "train:\n  batch_size: 512\n  steps: 10\n"),
        ("a.json", '{"train": {"batch_size": 512}}'),
        ("a.toml", "[train]\nbatch_size = 512\n"),
        ("a.ini", "[train]\nbatch_size = 512\n"),
        ("a.env", "batch_size=512\n"),
    ],
)
def test_a_setting_that_was_refused_is_named_in_every_kind_of_file(
    tmp_path: Path, store: FailureStore, name: str, text: str
) -> None:
    failed(store, "ValueError: batch_size must be at most 256, got 512")
    (found,) = reviewed(tmp_path, name, text, store)
    assert found.about == "batch_size=512"
    assert found.line


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.yaml", "a: b: c"),
        ("a.json", "{,}"),
        ("a.toml", "a ="),
        ("a.yaml", "&a [*a"),
        ("a.ini", "no section"),
    ],
)
def test_a_configuration_that_does_not_parse_is_a_finding(
    tmp_path: Path, store: FailureStore, name: str, text: str
) -> None:
    (found,) = reviewed(tmp_path, name, text, store)
    assert found.about == "syntax"


def test_a_yaml_that_stands_for_billions_of_keys_is_read_up_to_a_bound(
    tmp_path: Path, store: FailureStore
) -> None:
    failed(store, "ValueError: batch_size must be at most 256")
    layers = "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12))
    assert reviewed(tmp_path, "a.yaml", f"a0: &a0 {{lol: 1}}\n{layers}\n", store) == []


def test_what_is_marked_as_fixed_is_named_and_does_not_count(
    tmp_path: Path, store: FailureStore, capsys: pytest.CaptureFixture[str]
) -> None:
    failed(store, "ModuleNotFoundError: No module named 'orjson'")
    code = tmp_path / "a.py"
    code.write_text("import orjson\n")
    asked = ["review", str(code), "--failures", str(store.path)]
    assert main(asked) == 1
    assert "line 1: orjson: ModuleNotFoundError: No module named 'orjson' (1 times" in capsys.readouterr().out
    failure = store.experiments().rows[0].failure
    assert failure is not None
    Notes(tmp_path).add(failure.signature, mark="fixed", fixed_in="requirements 2")
    assert main(asked) == 0
    assert "[fixed in requirements 2]" in capsys.readouterr().out
    assert main([*asked, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["fixed"] == "fixed in requirements 2"


def test_harmless_code_is_not_accused(
    tmp_path: Path, store: FailureStore, capsys: pytest.CaptureFixture[str]
) -> None:
    failed(
        store, "ModuleNotFoundError: No module named 'orjson'", "ValueError: batch_size must be at most 256"
    )
    code = tmp_path / "a.py"
    code.write_text("import json\n\n\ndef total(items):\n    return sum(items)\n")
    assert main(["review", str(code), "--failures", str(store.path)]) == 0
    assert "nothing in it has failed before" in capsys.readouterr().out


def test_a_scenario_whose_fault_is_mostly_not_found_is_named_with_its_share(
    tmp_path: Path, store: FailureStore
) -> None:
    stage = Stage(tmp_path / "stage")
    run = evaluation(tmp_path / "eval", stage, [stage.wrong(number) for number in range(4)])
    capture(run, store, LogAnalyzer(NO_MODEL))
    (folder,) = {path.parent for path in (tmp_path / "stage").rglob("scenario-*.json")}
    (found,) = review(folder, store)
    assert "of 4 stored episodes failed" in found.text
    assert review(next(folder.glob("scenario-*.json")), store) == [found]


def test_what_cannot_be_read_is_an_error(tmp_path: Path, store: FailureStore) -> None:
    with pytest.raises(StoreError, match="check the path"):
        review(tmp_path / "nothing.py", store)
    (tmp_path / "empty").mkdir()
    with pytest.raises(StoreError, match=r"no scenario-\*\.json"):
        review(tmp_path / "empty", store)
