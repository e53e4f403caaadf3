"""Scenario files become a database: whole or not at all, only what changed, and
only what an agent may see.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import build_logs
from build_logs import build, is_stale, main
from core.log_stores.growing import growing_store
from core.log_stores.tables import block
from log_search_tools import log_tools
from project_types import DatabaseError, EpisodeConfig, LogRecord, ScenarioError
from tests.builders.scenarios import row, scenario, span, write
from tests.test_log_search_tools import ask

ROOT = Path(__file__).parent.parent


def rows(database: Path, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute(query, parameters).fetchall()


def ids_found(database: Path, words: str) -> set[str]:
    query = "SELECT id FROM logs WHERE row IN (SELECT rowid FROM log_words WHERE log_words MATCH ?)"
    return {found[0] for found in rows(database, query, words)}


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Two split folders with three scenarios of two lines each."""
    for split, name in (("train", "one"), ("train", "two"), ("test", "three")):
        write(
            tmp_path / "files" / split,
            scenario(name, [row(f"{name}1", message=f"the {name} failed"), row(f"{name}2")]),
        )
    return tmp_path / "files"


@pytest.fixture
def built(files: Path, tmp_path: Path) -> Path:
    """Their database."""
    build(files, tmp_path / "logs.db")
    return tmp_path / "logs.db"


def test_a_root_with_split_folders_and_a_folder_of_files_are_both_read(files: Path, tmp_path: Path) -> None:
    both = build(files, tmp_path / "a.db")
    assert (both.built, both.unchanged, both.removed, both.rows) == (3, 0, 0, 6)
    assert build(files / "train", tmp_path / "b.db").built == 2


def test_the_rows_of_a_scenario_are_contiguous_and_in_time_order(tmp_path: Path) -> None:
    for name in ("one", "two"):
        lines = [
            row("b" * 4, "14:05:00"),
            row("a" * 4, "13:59:00"),
            row("c" * 4, f"{'2025-03-04'}T15:00:00+01:00"),
        ]
        write(tmp_path / "files", scenario(name, lines))
    build(tmp_path / "files", tmp_path / "logs.db")
    found = rows(tmp_path / "logs.db", "SELECT first_row, last_row FROM scenarios ORDER BY number")
    assert found == [(block(1), block(1) + 2), (block(2), block(2) + 2)]
    assert [r[0] for r in rows(tmp_path / "logs.db", "SELECT id FROM logs ORDER BY row")] == [
        "aaaa",
        "cccc",
        "bbbb",
    ] * 2


def test_the_database_holds_nothing_an_agent_may_not_see(tmp_path: Path) -> None:
    content = scenario(
        "one", [row("aaaa1111")], description="DESCRIPTION-WORD", expected_root_cause="CAUSE-WORD"
    )
    content["ground_truth"]["fault_type"] = "FAULT-WORD"
    content["gold_report"]["root_cause"] = "GOLD-WORD"
    wrong = {"report": {"root_cause": "DISTRACTOR-WORD", "suspected_service": "x"}, "reason": "REASON-WORD"}
    content |= {"distractors": [wrong], "provenance": {"generator": "GENERATOR-WORD", "seed": 7}}
    write(tmp_path / "files", content)
    build(tmp_path / "files", tmp_path / "logs.db")
    assert b"-WORD" not in (tmp_path / "logs.db").read_bytes()
    assert b"all is well" in (tmp_path / "logs.db").read_bytes()


def test_spans_metrics_and_edges_are_stored(tmp_path: Path) -> None:
    metric = {"service": "orders", "name": "cpu", "points": [["2025-03-04T14:00:00Z", 0.5]]}
    edge = {"caller": "gateway", "callee": "orders"}
    write(
        tmp_path / "files",
        scenario(
            "one", [row("aaaa")], spans=[span("s1"), span("s2", "s1")], metrics=[metric], topology=[edge]
        ),
    )
    build(tmp_path / "files", tmp_path / "logs.db")
    assert rows(tmp_path / "logs.db", "SELECT span_id, parent_span_id, duration_ms FROM spans") == [
        ("s1", None, 100),
        ("s2", "s1", 100),
    ]
    assert rows(tmp_path / "logs.db", "SELECT points FROM metrics") == [("[[1741096800000, 0.5]]",)]
    assert rows(tmp_path / "logs.db", "SELECT caller, callee FROM edges") == [("gateway", "orders")]


def test_attributes_are_part_of_the_line(tmp_path: Path) -> None:
    write(
        tmp_path / "files",
        scenario("one", [row("aaaa", message="slow", attributes={"pod": "orders-7", "ms": 31})]),
    )
    build(tmp_path / "files", tmp_path / "logs.db")
    assert rows(tmp_path / "logs.db", "SELECT text FROM logs") == [("slow pod=orders-7 ms=31",)]


# ------------------------------------------------------------------------------------------------ incremental


def test_a_second_build_changes_nothing(files: Path, built: Path) -> None:
    before = built.stat()
    again = build(files, built)
    assert (again.built, again.unchanged, again.removed, again.rows) == (0, 3, 0, 6)
    assert (built.stat().st_ino, built.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_an_edited_file_is_the_only_one_built_again(files: Path, built: Path) -> None:
    untouched = "SELECT * FROM logs WHERE id NOT LIKE 'two%'"
    before = rows(built, untouched)
    write(files / "train", scenario("two", [row("two1", message="the deadlock"), row("two2"), row("two3")]))
    again = build(files, built)
    assert (again.built, again.unchanged, again.removed, again.rows) == (1, 2, 0, 7)
    assert rows(built, untouched) == before
    assert ids_found(built, "failed") == {"one1", "three1"}
    assert ids_found(built, "deadlock") == {"two1"}


def test_an_unchanged_file_is_not_parsed_again(files: Path, built: Path) -> None:
    digest = rows(built, "SELECT digest FROM scenarios WHERE id = 'one'")[0][0]
    (files / "train" / "scenario-one.json").write_text("this is no JSON")
    broken = build_logs._digest(files / "train" / "scenario-one.json")
    with closing(sqlite3.connect(built)) as connection:
        connection.execute("UPDATE scenarios SET digest = ? WHERE id = 'one'", (broken,))
        connection.commit()
    assert digest != broken
    write(files / "train", scenario("four", [row("four1")]))
    assert build(files, built).built == 1


def test_a_removed_file_leaves_the_database_and_its_index(files: Path, built: Path) -> None:
    (files / "train" / "scenario-two.json").unlink()
    again = build(files, built)
    assert (again.built, again.unchanged, again.removed, again.rows) == (0, 2, 1, 4)
    assert ids_found(built, "failed") == {"one1", "three1"}


def test_a_moved_file_is_removed_and_built(files: Path, built: Path) -> None:
    (files / "train" / "scenario-two.json").rename(files / "test" / "scenario-two.json")
    again = build(files, built)
    assert (again.built, again.unchanged, again.removed, again.rows) == (1, 2, 1, 6)


def test_after_any_edits_the_database_equals_a_fresh_one(files: Path, built: Path, tmp_path: Path) -> None:
    for turn in range(5):
        write(
            files / "train", scenario("two", [row(f"two{turn}", message=f"turn{turn} failed"), row("same")])
        )
        write(files / "test", scenario(f"new{turn}", [row(f"new{turn}", message="new failed")]))
        build(files, built)
    build(files, tmp_path / "fresh.db")
    content = (
        "SELECT scenarios.id, logs.id, text, kind FROM logs JOIN scenarios ON number = scenario ORDER BY 1, 2"
    )
    assert rows(built, content) == rows(tmp_path / "fresh.db", content)
    assert ids_found(built, "failed") == ids_found(tmp_path / "fresh.db", "failed")
    assert ids_found(built, "turn3") == set()


def test_staleness_is_seen_whatever_changed(files: Path, built: Path, tmp_path: Path) -> None:
    assert not is_stale(files, built)
    assert is_stale(files, tmp_path / "missing.db")
    assert is_stale(files / "train", built)
    write(files / "train", scenario("two", [row("edited")]))
    assert is_stale(files, built)
    build(files, built)
    assert not is_stale(files, built)
    (files / "test" / "scenario-three.json").unlink()
    assert is_stale(files, built)


@pytest.mark.parametrize(
    "content", [b"", b"not a database", b"SQLite format 3\0" + b"x" * 5000], ids=["empty", "text", "torn"]
)
def test_a_file_that_is_no_database_is_stale_and_built_over(
    files: Path, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "logs.db").write_bytes(content)
    assert is_stale(files, tmp_path / "logs.db")
    assert build(files, tmp_path / "logs.db").built == 3
    assert not is_stale(files, tmp_path / "logs.db")


def test_a_database_of_another_version_is_built_from_nothing(files: Path, built: Path) -> None:
    with closing(sqlite3.connect(built)) as connection:
        connection.execute("PRAGMA user_version=999")
        connection.commit()
    assert is_stale(files, built)
    assert build(files, built).built == 3


@pytest.mark.parametrize("cut", [False, True], ids=["overwritten", "cut off"])
def test_a_damaged_database_is_stale_and_built_from_nothing(files: Path, tmp_path: Path, cut: bool) -> None:
    database = tmp_path / "logs.db"
    for name in range(40):
        write(
            files / "train",
            scenario(f"more{name}", [row(f"{n:04x}", message=f"word{n} " * 20) for n in range(40)]),
        )
    build(files, database)
    content = database.read_bytes()
    middle = len(content) // 8192 * 4096
    database.write_bytes(
        content[:middle] if cut else content[: 2 * 4096] + b"\xff" * (middle - 2 * 4096) + content[middle:]
    )
    with closing(sqlite3.connect(database)) as connection, pytest.raises(sqlite3.DatabaseError):
        connection.execute("SELECT * FROM logs").fetchall()
    assert is_stale(files, database)
    assert build(files, database).built == 43
    assert rows(database, "PRAGMA integrity_check") == [("ok",)]


# -------------------------------------------------------------------------------------------------- bad files

BAD = {
    "no JSON": ("{", ["scenario-bad.json", "(whole file)"]),
    "a missing field": (json.dumps({"id": "x"}), ["field description", "required"]),
    "a time without an offset": (
        json.dumps(scenario("x", [row("a", "2025-03-04T14:00:00")])),
        ["field logs.0.timestamp", "timezone"],
    ),
    "two lines with one id": (json.dumps(scenario("x", [row("a"), row("a")])), ["make every id unique"]),
    "an unknown field": (json.dumps(scenario("x", [row("a", lvl="INFO")])), ["field logs.0.lvl"]),
    "evidence that is not there": (
        json.dumps(
            scenario(
                "x",
                [row("a")],
                ground_truth={"service": "orders", "fault_type": "f", "evidence_log_ids": ["zz"]},
            )
        ),
        ["ground_truth.evidence_log_ids", "zz"],
    ),
    "half a surrogate pair": (json.dumps(scenario("x", [row("a", message="\ud800")])), ["scenario-bad.json"]),
}


@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, (text, _) in BAD.items()])
def test_a_bad_file_names_itself_and_leaves_the_database_as_it_was(
    files: Path, built: Path, text: str
) -> None:
    before = built.read_bytes()
    expected = next(words for known, words in BAD.values() if known == text)
    (files / "train" / "scenario-bad.json").write_text(text)
    with pytest.raises(ScenarioError) as refused:
        build(files, built)
    assert all(word in str(refused.value) for word in ["scenario-bad.json", *expected])
    assert built.read_bytes() == before
    assert not list(built.parent.glob("*.building"))


def test_two_files_with_one_id_name_each_other(files: Path, built: Path) -> None:
    write(files / "val", scenario("one", [row("other")]), "scenario-again.json")
    with pytest.raises(
        ScenarioError,
        match=r"val/scenario-again\.json: field id: 'one' is also the id of train/scenario-one\.json",
    ):
        build(files, built)


def test_swapping_the_ids_of_two_files_is_no_conflict(files: Path, built: Path) -> None:
    one, two = (files / "train" / f"scenario-{name}.json" for name in ("one", "two"))
    one_text = one.read_text()
    one.write_text(two.read_text())
    two.write_text(one_text)
    assert build(files, built).rows == 6


def test_a_folder_without_scenarios_says_so(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="give --scenarios the folder"):
        build(tmp_path, tmp_path / "logs.db")
    assert not (tmp_path / "logs.db").exists()


# ------------------------------------------------------------------------------------- interruption and locks

PAUSING_BUILD = """
import sys
from pathlib import Path
import build_logs
def stop_in_the_middle(files, progress):
    for place, file in enumerate(files):
        if place == 2:
            print("in the middle", flush=True)
            sys.stdin.readline()
        yield file
build_logs._shown = stop_in_the_middle
print(build_logs.build(Path(sys.argv[1]), Path(sys.argv[2])).built, flush=True)
"""


def start_pausing_build(files: Path, database: Path) -> subprocess.Popen[str]:
    """A build in its own process that waits for a line on its input after two scenarios."""
    command = [sys.executable, "-c", PAUSING_BUILD, str(files), str(database)]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "in the middle\n"
    return process


def test_a_killed_build_leaves_the_old_database_and_the_next_one_goes_through(
    files: Path, built: Path
) -> None:
    before = built.read_bytes()
    for name in range(8):
        write(files / "train", scenario(f"more{name}", [row(f"more{name}")]))
    process = start_pausing_build(files, built)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert built.read_bytes() == before
    assert build(files, built).rows == 14
    assert not list(built.parent.glob("*.building"))


def test_a_second_builder_waits_for_the_first_and_finds_its_work_done(files: Path, tmp_path: Path) -> None:
    first = start_pausing_build(files, tmp_path / "logs.db")
    second = subprocess.Popen(
        [sys.executable, "build_logs.py", "--scenarios", files, "--database", tmp_path / "logs.db"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert first.communicate("go on\n")[0] == "3\n"
    assert "0 built, 3 unchanged" in second.communicate()[0]


def test_a_builder_that_may_not_wait_says_who_to_wait_for(files: Path, tmp_path: Path) -> None:
    first = start_pausing_build(files, tmp_path / "logs.db")
    try:
        with pytest.raises(DatabaseError, match=r"no other build_logs\.py is running"):
            build(files, tmp_path / "logs.db", wait_s=0.1)
    finally:
        first.communicate("go on\n")


def test_a_reader_of_the_old_database_keeps_reading_it_while_it_is_replaced(files: Path, built: Path) -> None:
    with closing(sqlite3.connect(f"{built.as_uri()}?mode=ro&immutable=1", uri=True)) as reader:
        assert reader.execute("SELECT count(*) FROM logs").fetchone() == (6,)
        os.link(built, built.with_name("old.db"))
        before = built.read_bytes()
        write(files / "train", scenario("four", [row("four1")]))
        build(files, built)
        assert built.with_name("old.db").read_bytes() == before
        assert reader.execute("SELECT count(*) FROM logs").fetchone() == (6,)
    assert rows(built, "SELECT count(*) FROM logs") == [(7,)]


# ------------------------------------------------------------------------------------------- the command line


def test_the_command_builds_and_checks(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--scenarios", str(files), "--database", str(tmp_path / "logs.db")]
    assert main([*flags, "--check"]) == 1
    assert f"run: python build_logs.py --scenarios {files}" in capsys.readouterr().out
    assert main(flags) == 0
    assert "3 built, 0 unchanged, 0 removed; 6 log lines" in capsys.readouterr().out
    assert main([*flags, "--check"]) == 0


def test_the_command_reports_a_bad_file_with_exit_code_2(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (files / "train" / "scenario-one.json").write_text("{")
    assert main(["--scenarios", str(files), "--database", str(tmp_path / "logs.db")]) == 2
    assert "scenario-one.json" in capsys.readouterr().err


# ----------------------------------------------------------------------------------- incidents and odd clocks


def incident(**data: Any) -> dict[str, Any]:
    return {"id": "inc", "description": "slow", "time_hint": "14:00", "services": ["orders"]} | data


@pytest.mark.parametrize(
    "data",
    [
        {"logs": [row("a1")]},
        {"spans": [span("s1")]},
        {"metrics": [{"service": "orders", "name": "cpu", "points": [["2025-03-04T14:00:00Z", 1]]}]},
        {
            "events": [
                {"id": "e1", "timestamp": None, "service": "orders", "object": "Pod/o", "reason": "Killed"}
            ]
        },
        {"logs": [row("a1", level="UNKNOWN") | {"timestamp": None}]},
    ],
    ids=["logs", "spans", "metrics", "events", "no clock"],
)
def test_an_incident_without_its_answer_is_built_beside_scenarios(
    tmp_path: Path, data: dict[str, Any]
) -> None:
    write(tmp_path / "files", scenario("one", [row("a1")]))
    write(tmp_path / "files" / "live", incident(**data), "incident-inc.json")
    assert build(tmp_path / "files", tmp_path / "logs.db").built == 2
    found = rows(tmp_path / "logs.db", "SELECT id FROM scenarios ORDER BY id")
    assert found == [("inc",), ("one",)]
    for tool in log_tools(tmp_path / "logs.db", "inc", EpisodeConfig(tools="full")):
        if tool.name == "search_logs":
            assert ask(tool).text


def test_clocks_far_from_the_rest_are_reported_and_decide_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [row(f"a{n}", f"14:0{n}:00", "x" * (n + 1)) for n in range(9)]
    odd = [row("z1", "1754-08-30T22:43:41Z", "unset"), row("z2", "0001-01-01T00:00:00Z", "zero")]
    write(tmp_path / "files", scenario("one", [*lines, *odd]))
    assert main(["--scenarios", str(tmp_path / "files"), "--database", str(tmp_path / "logs.db")]) == 0
    assert "one: 2 lines with a clock far from the rest" in capsys.readouterr().out
    search = log_tools(tmp_path / "logs.db", "one", EpisodeConfig())[0]
    assert ask(search, start_time="14:07").log_ids == {"a7", "a8"}
    assert "1754-08-30T22:43:41 INFO orders unset log z1" in ask(search, keywords="unset").text
    again = build(tmp_path / "files", tmp_path / "logs.db")
    assert (again.built, again.far_clocks) == (0, {"one": 2})


def test_a_build_never_deletes_what_came_from_elsewhere(files: Path, tmp_path: Path) -> None:
    growing_store(tmp_path / "logs.db", "nightly-7").ingest([LogRecord.model_validate(row("a1"))])
    with pytest.raises(DatabaseError, match="holds nightly-7, which came from no scenario file"):
        build(files, tmp_path / "logs.db")
    assert rows(tmp_path / "logs.db", "SELECT count(*) FROM logs") == [(1,)]


def test_nanoseconds_order_lines_that_share_a_microsecond(tmp_path: Path) -> None:
    lines = [row(f"a{n}", f"2025-03-04T14:00:00.00000{n}Z") for n in (1, 0)]
    lines += [row(f"b{9 - n}", f"2025-03-04T14:00:00.00000000{9 - n}Z") for n in range(4)]
    write(tmp_path / "files", scenario("one", lines))
    build(tmp_path / "files", tmp_path / "logs.db")
    found = [id for (id,) in rows(tmp_path / "logs.db", "SELECT id FROM logs ORDER BY row")]
    assert found == ["a0", "b6", "b7", "b8", "b9", "a1"]
