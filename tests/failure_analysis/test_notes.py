"""What people say about a group is kept, survives a damaged database, and goes with
what fails like it later.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from failure_analysis.__main__ import main
from failure_analysis.alerts import Alerts
from failure_analysis.history import before
from failure_analysis.logs.analyzer import NO_MODEL, LogAnalyzer
from failure_analysis.logs.ingest import ingest
from failure_analysis.notes import NOTES, Notes
from failure_analysis.receivers import Webhook
from failure_analysis.records import StoreError
from failure_analysis.repair import set_aside
from failure_analysis.store import FailureStore
from tests.failure_analysis.test_alerts import NOW, Receiver, failed, stored

GROUP = "aa"
FULL = "OSError: [Errno 28] No space left on device: '/data/{}'"


def test_the_last_mark_counts_and_every_comment_stays(tmp_path: Path) -> None:
    notes = Notes(tmp_path)
    assert notes.of(GROUP).mark == "open"
    notes.add(GROUP, author="ann", comment="the batch is too large")
    notes.add(GROUP, author="bob", mark="known")
    notes.add(GROUP, author="ann", mark="fixed", fixed_in="v1.2")
    notes.add("bb", comment="another group")
    said = notes.of(GROUP)
    assert [note.comment for note in said.notes] == ["the batch is too large", "", ""]
    assert (said.mark, said.words()) == ("fixed", "fixed in v1.2")


def test_a_group_that_fails_after_it_was_fixed_has_come_back(tmp_path: Path) -> None:
    note = Notes(tmp_path).add(GROUP, mark="fixed")
    said = Notes(tmp_path).of(GROUP)
    assert not said.came_back(note.at - timedelta(hours=1))
    assert said.came_back(note.at + timedelta(hours=1))


def test_a_comment_holds_no_secret_and_no_line_of_its_own(tmp_path: Path) -> None:
    Notes(tmp_path).add(GROUP, author="ann\nbob", comment='password=hunter2hunter2xyz\n{"signature": "bb"}')
    text = (tmp_path / NOTES).read_text()
    assert "hunter2" not in text
    assert text.count("\n") == 1
    assert Notes(tmp_path).of("bb").notes == ()


def test_nothing_said_is_refused_and_half_a_line_is_passed_over(tmp_path: Path) -> None:
    notes = Notes(tmp_path)
    with pytest.raises(StoreError, match="nothing was said"):
        notes.add(GROUP, comment="  ")
    notes.add(GROUP, comment="kept")
    with (tmp_path / NOTES).open("a") as file:
        file.write('not JSON\n{"signature": "aa", "at"')
    assert [note.comment for note in notes.of(GROUP).notes] == ["kept"]


def test_what_was_said_survives_a_damaged_database(tmp_path: Path) -> None:
    store = stored(tmp_path, [failed("01")])
    Notes(tmp_path).add(GROUP, comment="kept")
    store.path.write_bytes(b"broken")
    set_aside(store.path)
    assert Notes(tmp_path).of(GROUP).notes[0].comment == "kept"


@pytest.mark.parametrize(("mark", "told"), [("known", 0), ("open", 1), ("fixed", 1)])
def test_a_known_group_is_not_told_again(tmp_path: Path, mark: str, told: int) -> None:
    store = stored(tmp_path, [failed("01", GROUP)])
    Notes(tmp_path).add(GROUP, mark=mark)  # type: ignore[arg-type]
    with Receiver() as receiver:
        Alerts(store, Webhook(receiver.url), clock=lambda: NOW).send_new()
    assert len(receiver.got) == told


def log(folder: Path, name: str, text: str) -> str:
    (folder / name).write_text(text)
    return str(folder / name)


def test_a_log_is_told_where_it_failed_like_this_before(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    database = ("--failures", str(tmp_path / "failures.db"))
    assert main(["ingest", log(tmp_path, "monday.log", FULL.format("a")), *database]) == 0
    assert "before:" not in capsys.readouterr().out
    signature = FailureStore(tmp_path / "failures.db").experiments().rows[0].failure
    assert signature is not None
    Notes(tmp_path).add(signature.signature, mark="fixed", fixed_in="v2")
    assert main(["ingest", log(tmp_path, "friday.log", FULL.format("b")), *database]) == 0
    said = capsys.readouterr().out
    assert "before: the same in monday.log on" in said
    assert "fixed in v2" in said
    assert main(["analyze", log(tmp_path, "today.log", FULL.format("c")), *database]) == 0
    alike = json.loads(capsys.readouterr().out)["similar"]
    assert [(one["run"], one["likeness"]) for one in alike] == [("friday.log", 1.0)]


def test_without_a_store_nothing_is_alike(tmp_path: Path) -> None:
    assert before(FailureStore(tmp_path / "failures.db"), FULL) == ()


def test_what_only_shares_a_word_is_not_alike(tmp_path: Path) -> None:
    store = FailureStore(tmp_path / "failures.db")
    ingest([log(tmp_path, "a.log", "ValueError: bad price in row 7")], store, LogAnalyzer(NO_MODEL))
    assert before(store, "TypeError: unsupported operand in total of row") == ()
    assert before(store, "ValueError: bad price in row 99")[0].at <= datetime.now(UTC)
