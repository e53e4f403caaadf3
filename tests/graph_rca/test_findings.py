"""A finding has a file of its own, and is known by what it says, whatever its file is called."""

from __future__ import annotations

from pathlib import Path

from graph_rca.findings import finding_path, findings_in
from tests.builders.rankings import finding


def test_incidents_whose_ids_differ_only_by_a_slash_keep_both_findings(tmp_path: Path) -> None:
    ids = ("a/b", "a-b", "a/b/c", "a/b-c", "a-b-c")
    for incident in ids:
        finding_path(tmp_path, incident).write_text(finding(incident).model_dump_json(), encoding="utf-8")
    found, broken = findings_in(tmp_path)
    assert sorted(one.incident for one in found) == sorted(ids)
    assert broken == []


def test_an_id_without_a_slash_is_its_file_s_name(tmp_path: Path) -> None:
    assert finding_path(tmp_path, "a-b").name == "a-b.finding.json"


def test_a_finding_under_the_name_that_slashes_used_to_get_is_still_read(tmp_path: Path) -> None:
    (tmp_path / "a-b.finding.json").write_text(finding("a/b").model_dump_json(), encoding="utf-8")
    (one,) = findings_in(tmp_path)[0]
    assert one == finding("a/b")
