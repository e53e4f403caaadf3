"""Argus is read in one deadline, says what is missing, and agrees with the official client."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest

from project_types import ConfigurationError
from testrun_investigator.argus import Argus, ArgusError, ArgusSettings, run_id_of
from testrun_investigator.argus_run import ArgusRun
from testrun_investigator.demo_runs.packing import TEST_ID
from testrun_investigator.demo_runs.stand_in import TOKEN, Answer, Asked, StandIn, trouble
from tests.builders.served_time import served_time
from tests.testrun_investigator.conftest import RUN_ID


async def read(settings: ArgusSettings, run_id: str = RUN_ID, **options: float) -> ArgusRun:
    async with Argus(settings) as argus:
        return await argus.run(run_id, **options)  # type: ignore[arg-type]


async def test_a_run_is_read_with_everything_about_it(argus_settings: ArgusSettings) -> None:
    run = await read(argus_settings)
    assert (run.id, run.status, run.scylla_version) == (RUN_ID, "failed", "2026.2.1")
    assert [nemesis.name for nemesis in run.nemesis_data] == ["StopStartMonkey", "NoCorruptRepairMonkey"]
    assert run.event_counts["ERROR"] == len([event for event in run.events if event.severity == "ERROR"]) > 3
    assert {link.name.partition("-")[0] for link in run.logs} >= {"sct", "db", "loader"}
    assert run.start_time is not None
    assert run.end_time is not None
    assert run.missing == ()
    assert len(run.allocated_resources) == 8
    assert "write latency" in run.results[0]


async def test_the_official_client_gets_the_same_answers(
    argus_settings: ArgusSettings, tmp_path: Path
) -> None:
    from argus.client.sct.client import ArgusSCTClient

    ours = await read(argus_settings, events=1000)

    def theirs() -> dict[str, object]:
        client = ArgusSCTClient(
            run_id=UUID(RUN_ID),
            auth_token=TOKEN,
            base_url=argus_settings.base,
            log_dir=tmp_path,
            use_tunnel=False,
        )
        with client:
            events = client.get(
                "/sct/$id/events/$severity/get", {"id": RUN_ID, "severity": "ERROR"}, {"limit": 1000}
            )
            client.check_response(events)
            nemeses = client.get("/sct/$id/nemesis/get", {"id": RUN_ID})
            return {
                "run": client.get_run(),
                "status": client.get_status(),
                "resources": client.get_resources(),
                "events": events.json()["response"],
                "nemeses": nemeses.json()["response"],
            }

    got = await asyncio.to_thread(theirs)
    run: dict[str, object] = got["run"]  # type: ignore[assignment]
    for name in ("id", "test_id", "status", "scylla_version", "build_id", "branch_name"):
        assert run[name] == getattr(ours, name)
    assert got["status"].value == ours.status  # type: ignore[attr-defined]
    assert [one["name"] for one in got["resources"]] == [one.name for one in ours.allocated_resources]  # type: ignore[attr-defined]
    assert [one["event_id"] for one in got["events"]] == [  # type: ignore[attr-defined]
        one.event_id for one in ours.events if one.severity == "ERROR"
    ]
    assert [one["name"] for one in got["nemeses"]] == [one.name for one in ours.nemesis_data]  # type: ignore[attr-defined]
    assert [list(link) for link in ours.logs] == run["logs"]


async def test_the_official_client_and_ours_are_refused_alike(
    argus_settings: ArgusSettings, tmp_path: Path
) -> None:
    from argus.client.base import ArgusClientError
    from argus.client.sct.client import ArgusSCTClient

    def theirs() -> str:
        client = ArgusSCTClient(UUID(RUN_ID), "wrong", argus_settings.base, tmp_path, use_tunnel=False)
        with client, pytest.raises(ArgusClientError) as refused:
            client.get_status()
        return str(refused.value.args[1])

    with pytest.raises(ArgusError, match="User not found for supplied token"):
        await read(argus_settings._replace(token="wrong"))
    assert await asyncio.to_thread(theirs) == "User not found for supplied token"


async def test_an_unknown_run_is_said_to_be_unknown(argus_settings: ArgusSettings) -> None:
    with pytest.raises(ArgusError, match="does not know it"):
        await read(argus_settings, "00000000-0000-4000-8000-000000000000")


@pytest.mark.parametrize("run_id", ["", "x", "../../etc/passwd", "1/../../users", "a" * 300])
async def test_what_is_no_uuid_never_reaches_a_url(
    argus_settings: ArgusSettings, argus_server: StandIn, run_id: str
) -> None:
    argus_server.before = lambda asked: pytest.fail(f"asked {asked.path}")
    with pytest.raises(ArgusError, match="is no UUID"):
        await read(argus_settings, run_id)


def test_a_run_id_has_one_spelling() -> None:
    assert run_id_of(f" {RUN_ID.upper()} ") == RUN_ID


def spoilt(part: str, answer: Callable[[], Answer]) -> Callable[[Asked], Answer | None]:
    return lambda asked: answer() if part in asked.path else None


@pytest.mark.parametrize(
    ("part", "answer", "words"),
    [
        ("/comments", lambda: Answer(500, b"oops", "text/plain"), "comments: .*HTTP 500"),
        ("/nemesis/get", lambda: trouble("DBError", "Cluster seems down"), "nemesis_data: .*Cluster seems down"),
        ("/count", lambda: Answer(200, b"<html>sign in</html>", "text/html"), "event_counts: .*no JSON"),
        ("/fetch_results", lambda: Answer(302, b"", "text/html", {"Location": "/login"}), "results: .*CF_ACCESS"),
        ("/ERROR/get", lambda: Answer(200, b'{"status": "ok"', headers={"Content-Length": "99"}), "events: .*cannot be read"),
        ("/comments", lambda: Answer(200, b'{"status": "ok", "response": [7]}'), "comments: .*another shape"),
        ("/comments", lambda: Answer(200, b"[]"), "comments: .*no Argus envelope"),
    ],
)  # fmt: skip
async def test_a_part_that_fails_is_named_and_the_rest_is_there(
    argus_settings: ArgusSettings,
    argus_server: StandIn,
    part: str,
    answer: Callable[[], Answer],
    words: str,
) -> None:
    argus_server.before = spoilt(part, answer)
    run = await read(argus_settings)
    assert len(run.missing) == 1
    assert re.match(words, run.missing[0])
    assert run.status == "failed"


async def test_a_part_that_hangs_does_not_hold_up_the_rest(
    argus_settings: ArgusSettings, argus_server: StandIn
) -> None:
    release = threading.Event()

    def hang(asked: Asked) -> Answer | None:
        if "/events/" in asked.path:
            release.wait()
        return None

    argus_server.before = hang
    try:
        async with served_time() as clock:
            run = await read(argus_settings, deadline_s=1.0)
    finally:
        release.set()
    assert clock.seconds < 5, "Argus hangs until it is released"
    assert sorted(part.partition(":")[0] for part in run.missing) == ["event_counts", "events"]
    assert run.nemesis_data


async def test_an_argus_that_hangs_is_given_up_at_the_deadline(
    argus_settings: ArgusSettings, argus_server: StandIn
) -> None:
    release = threading.Event()

    def hang(asked: Asked) -> Answer | None:
        release.wait()
        return None

    argus_server.before = hang
    try:
        with pytest.raises(ArgusError, match="did not answer in time"):
            await read(argus_settings, deadline_s=0.1)
    finally:
        release.set()


async def test_an_error_never_repeats_a_secret(argus_settings: ArgusSettings, argus_server: StandIn) -> None:
    argus_server.before = lambda asked: trouble(
        "Error", "denied for Authorization: token s3cr3t-t0ken-value-123"
    )
    with pytest.raises(ArgusError) as refused:
        await read(argus_settings)
    assert "s3cr3t" not in str(refused.value)


async def test_links_are_shown_without_what_makes_them_open(
    argus_settings: ArgusSettings, argus_server: StandIn, runs: Path
) -> None:
    facts = json.loads((runs / RUN_ID / "argus.json").read_text())["run"]
    facts["logs"] = [["a.tar.zst", "https://bucket.example.com/a.tar.zst?X-Amz-Signature=secret"]]
    body = json.dumps({"status": "ok", "response": facts}).encode()
    argus_server.before = lambda asked: Answer(200, body) if asked.path.endswith(f"tests/{RUN_ID}") else None
    run = await read(argus_settings)
    assert run.redacted_links[0].url == "https://bucket.example.com/a.tar.zst"


async def test_the_access_headers_of_cloudflare_are_sent(
    argus_settings: ArgusSettings, argus_server: StandIn
) -> None:
    seen: list[str] = []

    def look(asked: Asked) -> Answer | None:
        seen.append(asked.headers.get("cf-access-client-id", ""))
        return None

    argus_server.before = look
    await read(argus_settings._replace(cf_access_client_id="id", cf_access_client_secret="secret"))
    assert set(seen) == {"id"}


async def test_the_runs_of_a_test_come_newest_first(argus_settings: ArgusSettings) -> None:
    async with Argus(argus_settings) as argus:
        runs = await argus.runs_of(TEST_ID)
    assert len(runs) == 2
    assert runs[0].start_time is not None
    assert runs[1].start_time is not None
    assert runs[0].start_time > runs[1].start_time


@pytest.mark.parametrize(
    ("settings", "words"),
    [(ArgusSettings(), "ARGUS_URL"), (ArgusSettings(url="https://argus.example.com"), "ARGUS_TOKEN")],
)
def test_missing_settings_say_what_to_set(settings: ArgusSettings, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        Argus(settings)
