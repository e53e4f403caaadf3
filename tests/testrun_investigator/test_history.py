"""A finding cites rows that exist, is found again by what it is about, and is checked before it is reused."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.log_stores.growing import GrowingStore, growing_store
from project_types import LogRecord
from testrun_investigator.history import FindingError, History, check, fingerprint
from tests.builders.scenarios import row


def store_of(*texts: str, run: str = "run-1") -> GrowingStore:
    store = growing_store(None, run)
    store.ingest(
        LogRecord.model_validate(row(f"{run[-1]}{number:05x}", f"14:00:{number:02d}", text, level="ERROR"))
        for number, text in enumerate(texts)
    )
    return store


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path / "cache/findings.db")


DISK = (
    "commitlog: No space left on device, 12 segments",
    "Shutting down due to I/O errors 28",
    "peer 7 is down",
)


def test_a_finding_is_kept_with_its_rows_and_read_by_another_process(
    history: History, tmp_path: Path
) -> None:
    saved = history.save(
        store_of(*DISK), "run-1", " The disk was full. ", "db-1", ["100000", "1000"[:4] + "01"]
    )
    again = History(tmp_path / "cache/findings.db").of_run("run-1")
    assert again == [saved]
    assert [one.text for one in saved.evidence] == list(DISK[:2])
    assert saved.cause == "The disk was full."
    assert history.get(saved.id) == saved
    assert history.get("nope") is None


@pytest.mark.parametrize(
    ("cause", "service", "ids", "words"),
    [
        ("x", "db-1", ["ffffff"], "is not in the logs"),
        ("x", "db-1", ["1000"], "stands for 3 rows"),
        ("x", "db-1", ["' OR 1=1 --"], "is not in the logs"),
        ("x", "db-1", [], "log_ids: is empty"),
        (" ", "db-1", ["100000"], "cause: is empty"),
    ],
)
def test_a_finding_without_proof_is_refused(
    history: History, cause: str, service: str, ids: list[str], words: str
) -> None:
    with pytest.raises(FindingError, match=words):
        history.save(store_of(*DISK), "run-1", cause, service, ids)
    assert history.all() == []


def test_not_to_know_needs_no_proof(history: History) -> None:
    assert history.save(store_of(*DISK), "run-1", "Two stories fit.", "Unknown", []).evidence == ()


def test_a_finding_of_a_similar_run_is_offered_with_the_reason(history: History) -> None:
    history.save(store_of(*DISK), "run-1", "The disk was full of snapshots.", "db-1", ["100000"])
    history.save(
        store_of("certificate has expired", run="run-2"), "run-2", "TLS expired.", "db-2", ["200000"]
    )
    today = store_of("commitlog: No space left on device, 7 segments", "peer 9 is down", run="run-3")
    (first, *rest) = history.similar("no space on the disk", fingerprint(today), but="run-3")
    assert (first.finding.run_id, rest) == ("run-1", [])
    assert "kinds of error lines are the same" in first.why
    assert "disk" in first.why
    assert [one.finding.run_id for one in history.similar("expired certificate")] == ["run-2"]
    assert history.similar("no space on the disk", but="run-1") == []
    assert history.similar("") == []


def test_a_finding_is_checked_against_the_data(history: History) -> None:
    saved = history.save(store_of(*DISK), "run-1", "Disk.", "db-1", ["100000"])
    assert check(saved, store_of(*DISK)) == "holds"
    assert check(saved, store_of("something else")) == "rows differ"
    assert check(saved, growing_store(None, "run-1")) == "rows are gone"
    assert check(saved, None) == "not checked"


def test_secrets_in_a_row_are_not_kept(history: History) -> None:
    store = store_of("login with password=hunter2hunter2 failed")
    saved = history.save(store, "run-1", "token=abcdefgh12345678 leaked", "db-1", ["100000"])
    assert "hunter2" not in saved.model_dump_json()
    assert "abcdefgh" not in saved.model_dump_json()
    assert check(saved, store) == "holds"


def test_a_folder_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(FindingError, match="TESTRUN_CACHE_DIR"):
        History(tmp_path / "file/findings.db").save(store_of(*DISK), "run-1", "x", "db", ["100000"])
