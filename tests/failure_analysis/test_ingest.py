"""Logs and JUnit files of any origin are taken in, once, whatever their size and whoever wrote them."""

from __future__ import annotations

import os
import tracemalloc
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from xml.sax.saxutils import quoteattr

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failure_analysis.logs.analyzer import NO_MODEL, LogAnalyzer
from failure_analysis.logs.ingest import Ingested, ingest
from failure_analysis.logs.junit import JUnitTrouble, failed_cases
from failure_analysis.records import ExperimentType, FailureCategory, Severity, StoreError
from failure_analysis.store import FailureStore

PYTEST = """<?xml version="1.0" encoding="utf-8"?><testsuites name="pytest tests">
<testsuite name="pytest" errors="1" tests="4" timestamp="2026-01-01T10:00:00.5+01:00">
<testcase classname="tests.test_cart" name="test_total[a &amp; b]"><failure message="assert 41 == 42">def test_total():
&gt;   assert 41 == 42
E   assert 41 == 42
tests/test_cart.py:18: AssertionError</failure><system-out>started
</system-out></testcase>
<testcase classname="tests.test_cart" name="test_ok" time="0.01"/>
<testcase classname="tests.test_cart" name="test_skipped"><skipped message="no GPU"/></testcase>
<testcase classname="" name="tests.test_new"><error message="collection failure">tests/test_new.py:3: in &lt;module&gt;
    import orjson
E   ModuleNotFoundError: No module named 'orjson'</error></testcase>
</testsuite></testsuites>"""
SUREFIRE = """<testsuite name="com.shop.CartTest" tests="2" failures="0" errors="1">
<testcase name="adds" classname="com.shop.CartTest" time="0.1"><error type="java.lang.NullPointerException"><![CDATA[
java.lang.NullPointerException: order is null
	at com.shop.Cart.add(Cart.java:44)]]></error></testcase>
<testcase name="waits" classname="com.shop.CartTest" time="3"><flakyFailure message="connection reset">once</flakyFailure>
</testcase>
</testsuite>"""


@pytest.fixture
def store(tmp_path: Path) -> FailureStore:
    return FailureStore(tmp_path / "failures.db")


def take(store: FailureStore, *files: Path | str, **options: str) -> Ingested:
    return ingest([str(file) for file in files], store, LogAnalyzer(NO_MODEL), **options)


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_failed_cases_of_a_pytest_file_are_taken_in_and_explained(
    tmp_path: Path, store: FailureStore
) -> None:
    done = take(store, written(tmp_path / "junit.xml", PYTEST))
    assert (done.total, done.notes) == (2, ())
    by_name = {row.name: row for row in store.experiments().rows}
    cart, new = by_name["tests.test_cart::test_total[a & b]"], by_name["tests.test_new"]
    assert cart.type is ExperimentType.CI_TEST
    assert (cart.at.hour, cart.run) == (9, "junit.xml")
    assert cart.failure is not None
    assert new.failure is not None
    assert (cart.failure.analysis.failure_category, cart.failure.analysis.severity) == (
        FailureCategory.LOGIC_ERROR,
        Severity.MEDIUM,
    )
    assert cart.failure.analysis.root_cause == "assert 41 == 42"
    assert cart.failure.analysis.fix_suggestion.endswith("(at tests/test_cart.py:18)")
    assert "started" in cart.failure.excerpt
    assert (new.failure.analysis.failure_category, new.failure.analysis.severity) == (
        FailureCategory.IMPORT_ERROR,
        Severity.HIGH,
    )
    assert "orjson" in new.failure.analysis.fix_suggestion


def test_other_dialects_and_flaky_tests_are_understood(tmp_path: Path, store: FailureStore) -> None:
    take(store, written(tmp_path / "TEST-Cart.xml", SUREFIRE))
    by_name = {row.name: row.failure for row in store.experiments().rows}
    adds, waits = by_name["com.shop.CartTest::adds"], by_name["com.shop.CartTest::waits"]
    assert adds is not None
    assert waits is not None
    assert adds.analysis.failure_category is FailureCategory.RUNTIME_ERROR
    assert waits.analysis.severity is Severity.LOW


def test_the_same_file_twice_is_stored_once_and_a_later_run_groups_with_it(
    tmp_path: Path, store: FailureStore
) -> None:
    take(store, written(tmp_path / "junit.xml", PYTEST))
    os.utime(tmp_path / "junit.xml", (1, 1))
    again = take(store, tmp_path / "junit.xml")
    assert (again.total, again.known) == (2, 2)
    assert store.experiments().total == 2
    take(store, written(tmp_path / "later.xml", PYTEST.replace("T10:00", "T12:00").replace("41", "40")))
    page = store.experiments()
    assert page.total == 4
    assert len({row.failure.signature for row in page.rows if row.failure}) == 2


def test_a_log_is_explained_from_its_end_whatever_its_size(tmp_path: Path, store: FailureStore) -> None:
    path = tmp_path / "service.log"
    with path.open("wb") as file:
        file.truncate(1 << 30)  # a hole of 1 GiB
        file.seek(0, 2)
        file.write(b"\nstep 3\nOSError: [Errno 28] No space left on device: password=hunter2hunter2\n")
    tracemalloc.start()
    done = take(store, path, log_type="training_run")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20 << 20
    failure = done.experiments[0].failure
    assert failure is not None
    assert (failure.analysis.failure_category, failure.analysis.severity) == (
        FailureCategory.RESOURCE_ERROR,
        Severity.CRITICAL,
    )
    assert failure.error_message.startswith("OSError: [Errno 28]")
    assert "hunter2" not in failure.model_dump_json()
    assert b"hunter2" not in store.path.read_bytes()


def test_a_log_without_a_failure_is_said_and_not_stored_unless_an_error_is_given(
    tmp_path: Path, store: FailureStore
) -> None:
    path = written(tmp_path / "quiet.log", "all went well\n")
    done = take(store, path)
    assert done.total == 0
    assert "no failure found" in done.notes[0]
    assert take(store, path, error="it was wrong all the same").total == 1


def test_files_that_cannot_be_read_are_said_and_the_others_are_taken_in(
    tmp_path: Path, store: FailureStore
) -> None:
    good = written(tmp_path / "junit.xml", PYTEST)
    done = take(store, tmp_path / "nothing.log", tmp_path, good)
    assert done.total == 2
    assert len(done.notes) == 2
    with pytest.raises(StoreError, match="check the path"):
        take(store, tmp_path / "nothing.log")


def test_bytes_of_any_kind_are_a_log(tmp_path: Path, store: FailureStore) -> None:
    path = tmp_path / "core.bin"
    path.write_bytes(os.urandom(20_000) + b"\nfatal error: it broke\x00\x1b[2J\n")
    assert take(store, path).total == 1
    assert all("\x1b" not in text.read_text() for text in (tmp_path / "failures").iterdir())


# ------------------------------------------------------------------------------------------------ hostile XML


def test_entities_are_never_expanded(tmp_path: Path, store: FailureStore) -> None:
    laughs = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10))
    bomb = f'<!DOCTYPE x [<!ENTITY a0 "ha">{laughs}<!ENTITY f SYSTEM "file:///etc/passwd">]>'
    case = '<testsuite><testcase name="t"><failure message="&a9;">&f;</failure></testcase></testsuite>'
    done = take(store, written(tmp_path / "junit.xml", f"{bomb}{case}"))
    assert [row.name for row in store.experiments().rows] == ["junit.xml: unreadable"]
    assert "DOCTYPE" in done.notes[0]
    assert "root:" not in store.path.read_bytes().decode("latin-1")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("<testsuite>" + "<a>" * 1000, "nested"),
        ('<testsuite><testcase name="t"', "no XML any more"),
        ("<testsuite><testcase></testsuite>", "no XML any more"),
        ("", "no XML any more"),
        ("Traceback (most recent call last):", "no XML any more"),
    ],
    ids=["deep", "cut", "crossed", "empty", "no-xml"],
)
def test_xml_that_breaks_off_is_said(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(JUnitTrouble, match=why):
        list(failed_cases(written(tmp_path / "junit.xml", text)))


def test_what_came_before_a_mistake_in_the_xml_counts(tmp_path: Path, store: FailureStore) -> None:
    done = take(store, written(tmp_path / "junit.xml", PYTEST[: PYTEST.index('<testcase classname=""') + 20]))
    names = {row.name for row in store.experiments().rows}
    assert names == {"tests.test_cart::test_total[a & b]", "junit.xml: unreadable"}
    assert "read up to there" in done.notes[0]


@pytest.mark.slow
def test_a_tag_of_any_length_takes_bounded_memory(tmp_path: Path, store: FailureStore) -> None:
    path = tmp_path / "junit.xml"
    with path.open("w", encoding="utf-8") as file:
        file.write('<testsuite><testcase name="t"><failure message="')
        for _ in range(60):
            file.write("x" * (1 << 20))
        file.write('"/></testcase></testsuite>')
    tracemalloc.start()
    done = take(store, path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 40 << 20
    assert "one tag takes more than" in done.notes[0]


@pytest.mark.slow
def test_a_failure_text_of_any_length_is_kept_by_its_end(tmp_path: Path, store: FailureStore) -> None:
    path = tmp_path / "junit.xml"
    with path.open("w", encoding="utf-8") as file:
        file.write('<testsuite><testcase name="t"><failure message="it broke">')
        for _ in range(4):
            file.write("a line\n" * 20_000)
        file.write("TimeoutError: the last words</failure></testcase></testsuite>")
    done = take(store, path)
    failure = done.experiments[0].failure
    assert failure is not None
    assert failure.excerpt.rstrip().endswith("the last words")
    assert len(failure.excerpt) <= 3000


@pytest.mark.parametrize("name", ["<script>", "../../x", "\u202ex", "a" * 5000, "'; DROP TABLE experiments"])
def test_a_hostile_test_name_is_only_a_name(tmp_path: Path, store: FailureStore, name: str) -> None:
    xml = f"<testsuite><testcase name={quoteattr(name)}><failure message={quoteattr(name)}/></testcase></testsuite>"
    assert take(store, written(tmp_path / "junit.xml", xml)).total == 1
    assert store.experiments().rows[0].name == name[:500]
    assert {path.name for path in tmp_path.iterdir()} == {"junit.xml", "failures", "failures.db"}


# ------------------------------------------------------------------------------- nothing lost, nothing twice

LICENCE = "<!-- " + "Licensed to whom it may concern. " * 40_000 + "-->"
ONE = '<testsuite name="s"><testcase classname="p.T" name="one"><failure message="boom">x</failure></testcase></testsuite>'


@pytest.mark.parametrize(
    "content",
    [
        ONE.replace("boom", "expected \x1b[32m1\x1b[39m got 2").encode(),
        ONE.replace("boom", "bad &#27;[31mred&#x1b;[0m &#0;").encode(),
        ONE.replace("boom", "nul \0 and bell \a").encode(),
        ONE.replace("boom", "not UTF-8: ").encode() .replace(b"UTF-8: ", b"UTF-8: \xff\xfe\xe9"),
        ('<?xml version="1.0" encoding="UTF-16"?>' + ONE).encode("utf-16"),
        ('<?xml version="1.0" encoding="UTF-16"?>' + ONE).encode("utf-16-be"),
        ('<?xml version="1.0" encoding="UTF-16LE"?>' + ONE).encode("utf-16-le"),
        ('<?xml version="1.0" encoding="ISO-8859-1"?>' + ONE.replace("boom", "gru\u00df")).encode("latin-1"),
        ('<?xml version="1.0" encoding="no-such-thing"?>' + ONE).encode(),
        ("\ufeff" + ONE).encode(),
        ('<?xml version="1.0"?>' + LICENCE[:900_000] + "-->" + ONE).encode(),
        ("\n\n  " + ONE).encode(),
    ],
    ids=["escape", "escape-reference", "control", "bytes", "utf-16", "utf-16-be", "utf-16-le", "latin-1", "encoding", "bom",
         "licence", "space"],
)  # fmt: skip
def test_a_file_that_strict_readers_refuse_loses_no_failure(
    tmp_path: Path, store: FailureStore, content: bytes
) -> None:
    path = tmp_path / "junit.xml"
    path.write_bytes(content)
    done = take(store, path)
    assert [row.name for row in store.experiments().rows] == ["p.T::one"]
    assert done.notes == ()


@pytest.mark.parametrize(
    ("xml", "names"),
    [
        ('<testsuite name="db" errors="1"><error message="setUpClass failed">x</error></testsuite>', ["db"]),
        ('<testsuites><testsuite name="db" errors="1" tests="0"/></testsuites>', ["db"]),
        ('<testsuite failures="3"><testcase name="a"><failure/></testcase></testsuite>', ["(a suite without a name)", "a"]),
        ('<testsuites failures="1"><testsuite failures="1"><testcase name="a"><failure/></testcase></testsuite></testsuites>',
         ["a"]),
        ('<testsuite errors="1" failures="1"><testcase name="a"><failure/><error/></testcase></testsuite>', ["a"]),
        ('<testsuite><testcase name="a"><failure message="it had failed already"><!-- cut', ["a", "junit.xml: unreadable"]),
    ],
    ids=["error-of-a-suite", "only-counted", "counts-more", "sums", "twice-in-one", "cut-inside"],
)  # fmt: skip
def test_what_a_suite_says_of_itself_is_not_lost(
    tmp_path: Path, store: FailureStore, xml: str, names: list[str]
) -> None:
    take(store, written(tmp_path / "junit.xml", xml))
    assert sorted(row.name for row in store.experiments().rows) == names


CASES = st.lists(
    st.tuples(st.sampled_from(["t1", "t2"]), st.sampled_from(["ok", "failure", "error", "skipped"])),
    max_size=5,
)
SUITES = st.lists(st.tuples(st.sampled_from(["s1", "s2"]), CASES), min_size=1, max_size=3)
FILES = st.dictionaries(st.sampled_from(["a/junit.xml", "b/junit.xml", "c.xml"]), SUITES, min_size=1)


def as_xml(suites: list[tuple[str, list[tuple[str, str]]]]) -> str:
    cases = {
        "ok": "",
        "failure": '<failure message="boom"/>',
        "error": "<error>boom</error>",
        "skipped": "<skipped/>",
    }
    texts = [
        f'<testsuite name="{name}">'
        + "".join(f'<testcase name="{case}">{cases[how]}</testcase>' for case, how in found)
        for name, found in suites
    ]
    return "<testsuites>" + "".join(f"{text}</testsuite>" for text in texts) + "</testsuites>"


@given(FILES)
def test_nothing_twice_nothing_lost(files: dict[str, list[tuple[str, list[tuple[str, str]]]]]) -> None:
    with TemporaryDirectory() as folder:
        store = FailureStore(Path(folder) / "failures.db")
        paths = [Path(folder) / name for name in files]
        for path, suites in zip(paths, files.values(), strict=True):
            path.parent.mkdir(exist_ok=True)
            path.write_text(as_xml(suites))
        failed = [
            (name, suite, case)
            for name, suites in files.items()
            for suite, cases in suites
            for case, how in cases
            if how in ("failure", "error")
        ]
        done = take(store, *paths)
        assert (done.total, done.known) == (len(failed), 0)
        stored = store.experiments(limit=1000).rows if failed else ()
        assert Counter((row.run, row.name) for row in stored) == Counter(
            (run, case) for run, _, case in failed
        )
        os.utime(paths[0], (1, 1))
        assert take(store, *paths, paths[0]).known >= len(failed)
        assert (store.experiments(limit=1000).rows if failed else ()) == stored
