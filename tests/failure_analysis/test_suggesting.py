"""A fix is a patch with which the failing command passes; the repository is only
read and nothing is pushed.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from failure_analysis.__main__ import main
from failure_analysis.logs.analyzer import NO_MODEL, LogAnalyzer
from failure_analysis.records import StoreError
from failure_analysis.suggesting.by_model import Edit, refused
from failure_analysis.suggesting.suggestion import Suggestion, places_in, suggest
from tests.fakes.openai_server import OpenAIServer, say

RUN = f"{sys.executable} -S app.py"
"""Without installed packages, which these programs do not use: Python starts in a third of the time."""


def git(repo: Path, *asked: str) -> str:
    named = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    return subprocess.run(
        ["git", "-C", repo, *named, *asked], check=True, capture_output=True, text=True
    ).stdout.strip()


def repository(folder: Path, **files: str) -> Path:
    """A git repository with these files, committed."""
    repo = folder / "repo"
    repo.mkdir()
    for name, text in files.items():
        (repo / name.replace("__", ".")).write_text(text)
    git(repo, "init", "-q")
    git(repo, "add", ".")
    git(repo, "commit", "-q", "-m", "first")
    return repo


def tried(repo: Path, command: str = RUN) -> Suggestion:
    return suggest(repo, command, LogAnalyzer(NO_MODEL), 60)


@pytest.mark.parametrize(
    ("code", "mended"),
    [
        ("total = 1\nprint(totla)\n", "total = 1\nprint(total)\n"),
        ('"""A page."""\n\nprint(json.dumps(1))\n', '"""A page."""\nimport json\n\nprint(json.dumps(1))\n'),
        ("import os\n\nprint(json.dumps(os.sep))\n", "import json\nimport os\n\nprint(json.dumps(os.sep))\n"),
        ("def f()\n    return 1\n\n\nf()\n", "def f():\n    return 1\n\n\nf()\n"),
        ("x = 1\nif x = 1:\n    pass\n", "x = 1\nif x == 1:\n    pass\n"),
        ("print 'hello'\n", "print('hello')\n"),
        ("import json\n\njson.dmups({})\n", "import json\n\njson.dumps({})\n"),
    ],
    ids=["name", "import", "import-before", "colon", "equals", "print", "attribute"],
)
def test_what_the_message_itself_says_is_tried_and_kept_when_the_command_passes(
    tmp_path: Path, code: str, mended: str
) -> None:
    repo = repository(tmp_path, app__py=code)
    found = tried(repo)
    assert found.mend is not None
    assert found.mend.texts == {"app.py": mended}
    assert (repo / "app.py").read_text() == code, "the repository is only read"
    subprocess.run(["git", "-C", repo, "apply", "-"], input=found.diff.encode(), check=True)
    assert (repo / "app.py").read_text() == mended


@pytest.mark.skipif(not shutil.which("gcc"), reason="needs gcc")
@pytest.mark.parametrize(
    ("code", "mended"),
    [
        ("int count;\nint f(void) {\n  return cuont;\n}\n", "return count;"),
        ("int f(void) {\n  int x = 1\n  return x;\n}\n", "int x = 1;"),
    ],
)
def test_a_compiler_is_understood_as_well(tmp_path: Path, code: str, mended: str) -> None:
    found = tried(repository(tmp_path, app__c=code), "gcc -c app.c -o /dev/null")
    assert found.mend is not None
    assert mended in found.mend.texts["app.c"]


def test_an_edit_with_which_it_still_fails_is_no_fix(tmp_path: Path) -> None:
    found = tried(repository(tmp_path, app__py="total = 1\nprint(totla)\nraise SystemExit(3)\n"))
    assert found.mend is None
    assert found.analysis is not None
    assert found.analysis.root_cause.startswith("NameError")
    assert "it fails all the same" in found.tried[0]


def test_a_command_that_passes_needs_no_fix(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    repo = repository(tmp_path, app__py="print(1)\n")
    assert main(["suggest", "--repo", str(repo), "--rerun", RUN]) == 0
    assert "nothing to mend" in capsys.readouterr().err


def test_a_command_without_end_is_ended(tmp_path: Path) -> None:
    repo = repository(tmp_path, app__py="import time\ntime.sleep(600)\n")
    found = suggest(repo, RUN, LogAnalyzer(NO_MODEL), 1)
    assert found.analysis is not None
    assert found.analysis.failure_category == "timeout"


def test_uncommitted_changes_are_part_of_what_is_tried(tmp_path: Path) -> None:
    repo = repository(tmp_path, app__py="print(1)\n")
    (repo / "app.py").write_text("import helper\n")
    (repo / "helper.py").write_text("count = 1\nprint(conut)\n")
    found = tried(repo)
    assert found.mend is not None
    assert found.mend.texts == {"helper.py": "count = 1\nprint(count)\n"}


def test_a_branch_is_made_without_touching_the_working_tree_and_nothing_is_pushed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    repo = repository(tmp_path, app__py="total = 1\nprint(totla)\n")
    subprocess.run(["git", "init", "-q", "--bare", tmp_path / "remote"], check=True)
    git(repo, "remote", "add", "origin", str(tmp_path / "remote"))
    before = (
        git(repo, "rev-parse", "HEAD"),
        git(repo, "status", "--porcelain"),
        git(repo, "branch", "--show-current"),
    )
    asked = ["suggest", "--repo", str(repo), "--rerun", RUN, "--branch", "mend-it"]
    assert main(asked) == 0
    assert "branch mend-it is at" in capsys.readouterr().out
    assert (
        git(repo, "rev-parse", "HEAD"),
        git(repo, "status", "--porcelain"),
        git(repo, "branch", "--show-current"),
    ) == before
    assert "print(total)" in git(repo, "show", "mend-it:app.py")
    assert git(repo, "rev-parse", "mend-it^") == before[0]
    assert git(tmp_path / "remote", "for-each-ref") == ""
    assert main(asked) == 2
    assert "exists; choose another --branch" in capsys.readouterr().err


def test_a_diff_is_written_where_it_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    repo = repository(tmp_path, app__py="total = 1\nprint(totla)\n")
    assert main(["suggest", "--repo", str(repo), "--rerun", RUN, "--out", str(tmp_path / "fix.diff")]) == 0
    assert "+print(total)" in (tmp_path / "fix.diff").read_text()
    assert main(["suggest", "--repo", str(repo), "--rerun", RUN]) == 0
    assert "+print(total)" in capsys.readouterr().out


def test_what_is_no_repository_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="name a git repository"):
        tried(tmp_path)


def test_only_files_of_the_repository_are_places(tmp_path: Path) -> None:
    output = 'File "/usr/lib/json.py", line 3\nFile "/tmp/suggest-x/app/cart.py", line 7, in f\n../../etc/x.py:1: x\n'
    assert [tuple(place) for place in places_in(output, ["app/cart.py", "README.md"])] == [("app/cart.py", 7)]


# ------------------------------------------------------------------------------------------------- by a model

BROKEN = "def total(prices):\n    return sum(prices) - 1\n\n\nassert total([1, 2]) == 3\n"


def by_model(tmp_path: Path, *edits: dict[str, str]) -> tuple[Suggestion, list[dict[str, object]]]:
    repo = repository(tmp_path, app__py=BROKEN)
    with OpenAIServer([say(json.dumps({"edits": edits, "why": "one too few"}))] * 2) as server:
        analyzer = LogAnalyzer("openai/fake", api_base=server.base_url, api_key="test", timeout_s=20)
        return suggest(repo, RUN, analyzer, 60), server.requests


def test_an_edit_of_a_model_counts_when_the_command_passes_with_it(tmp_path: Path) -> None:
    found, requests = by_model(
        tmp_path, {"file": "app.py", "find": "sum(prices) - 1", "replace": "sum(prices)"}
    )
    assert found.mend is not None
    assert "return sum(prices)\n" in found.mend.texts["app.py"]
    assert "one too few" in found.mend.what
    assert len(requests) == 1


@pytest.mark.parametrize(
    ("edit", "why"),
    [
        ({"file": "app.py", "find": "sum(prices) - 1", "replace": "os.system('x')"}, "it adds"),
        ({"file": "app.py", "find": "assert total([1, 2]) == 3", "replace": "sys.exit(0)"}, "it adds"),
        ({"file": "../app.py", "find": "x", "replace": "y"}, "not among the files"),
        ({"file": "/etc/passwd", "find": "x", "replace": "y"}, "not among the files"),
        ({"file": "app.py", "find": "not there", "replace": "y"}, "exactly once"),
        ({"file": "app.py", "find": "prices", "replace": "y"}, "exactly once"),
        ({"file": "app.py", "find": "sum(prices) - 1", "replace": "\n" * 100}, "more than 40 lines"),
    ],
)
def test_an_edit_that_a_model_must_not_make_is_never_run(
    tmp_path: Path, edit: dict[str, str], why: str
) -> None:
    assert why in refused(Edit.model_validate(edit), {"app.py": BROKEN})
    found, _ = by_model(tmp_path, edit)
    assert found.mend is None
    assert why in found.tried[-1]


def test_a_model_is_shown_no_secret(tmp_path: Path) -> None:
    repo = repository(tmp_path, app__py="password = 'hunter2hunter2xyz'\nassert password == 1\n")
    with OpenAIServer([say("{}")] * 4) as server:
        analyzer = LogAnalyzer("openai/fake", api_base=server.base_url, api_key="test", timeout_s=20)
        assert suggest(repo, RUN, analyzer, 60).mend is None
        assert server.requests
        assert "hunter2" not in json.dumps(server.requests)
