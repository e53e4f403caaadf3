"""What assistants do becomes episodes: one for each client and run."""

from __future__ import annotations

from pathlib import Path

from core.episode_store.episodes import read_episodes
from project_types import Episode
from testrun_investigator.sessions import McpSessions
from tests.testrun_investigator.conftest import RUN_ID

RUN = {"run_id": RUN_ID}
FOUND = {**RUN, "cause": "The disk was full.", "service": "n4", "log_ids": ["ab12"]}


def stored(folder: Path) -> list[Episode]:
    return list(read_episodes(folder / "episodes.jsonl"))


def test_two_clients_that_look_at_one_run_have_an_episode_each(tmp_path: Path) -> None:
    sessions = McpSessions(tmp_path, "opening")
    for client in ("one", "two"):
        sessions.called("search_logs", RUN, "a row log ab12", False, client)
        sessions.called("get_investigation_instructions", {"topic": client}, "a page", False, client)
    sessions.called("save_finding", FOUND, "kept", False, "one")
    sessions.close()
    first, second = stored(tmp_path)
    assert (str(first.outcome.ending), str(second.outcome.ending)) == ("answered", "out_of_turns")
    assert (first.outcome.tool_calls, second.outcome.tool_calls) == (3, 2)
    assert first.outcome.cited_seen == 1


def test_a_session_that_is_idle_is_stored_while_the_server_goes_on(tmp_path: Path) -> None:
    sessions = McpSessions(tmp_path, "opening", idle_s=0.0)
    sessions.called("search_logs", RUN, "a row", False)
    sessions.called("list_findings", {}, "none", False, "another client that names no run")
    assert [one.outcome.tool_calls for one in stored(tmp_path)] == [1]


def test_calls_that_name_no_run_and_follow_none_are_no_episode(tmp_path: Path) -> None:
    sessions = McpSessions(tmp_path, "opening")
    sessions.called("list_findings", {}, "none", False)
    sessions.close()
    assert not (tmp_path / "episodes.jsonl").exists()
