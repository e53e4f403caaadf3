"""Ask a server of logs or metrics over HTTP: one JSON answer, bounded in time and
size, with errors that teach.

Only the address that was typed is asked. What is printed of it never holds its user or its query.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from core.downloads import shown_url
from importers.clocks import SECOND_NS, moment
from importers.counting import ImportTrouble
from importers.draft import Draft, Output
from importers.json_elements import Element
from importers.options import Options
from importers.reading import Source, SourceFile

MOST_BYTES = 256 << 20
TIMEOUT_S = 60.0


_IS_FILE = re.compile(r"/query_range\?|\.(?:json|gz|zst|xz|tar|tgz)(?:\?|$)")
_KIND, _RESULT, _ERROR = ("data", "resultType"), ("data", "result"), ("error",)


class Refused(ImportTrouble):
    """The server answered with an error; `said` is its text."""

    def __init__(self, text: str, said: str) -> None:
        super().__init__(text)
        self.said = said


def ask(base_url: str, path: str, parameters: Mapping[str, str | int]) -> Any:
    """Return the JSON that a GET answers.

    Raises:
        Refused: the server answered with an error.
        ImportTrouble: it cannot be reached, or its answer is too large or no JSON.
    """
    import httpx

    url = base_url.rstrip("/") + path
    shown = shown_url(url)
    try:
        with (
            httpx.Client(timeout=TIMEOUT_S, trust_env=False) as client,
            client.stream("GET", url, params=dict(parameters)) as answer,
        ):
            body = bytearray()
            for piece in answer.iter_bytes():
                body += piece
                if len(body) > MOST_BYTES:
                    raise ImportTrouble(
                        f"{shown}: answers more than {MOST_BYTES >> 20} MB; ask for less time"
                    )
    except httpx.HTTPError as trouble:
        raise ImportTrouble(
            f"{shown}: cannot be reached ({type(trouble).__name__}: {trouble}); check the URL"
        ) from trouble
    said = bytes(body).decode("utf-8", "replace")
    if answer.status_code != 200:
        raise Refused(f"{shown}: answered HTTP {answer.status_code}: {said[:300]}", said)
    try:
        return json.loads(said)
    except (ValueError, RecursionError) as trouble:
        raise ImportTrouble(f"{shown}: the answer is no JSON; is it the server's own address?") from trouble


def no_answer_of(server: str, url: str) -> ImportTrouble:
    """Return the error for an answer that this kind of server would not give."""
    return ImportTrouble(f"{shown_url(url)}: this is no answer of {server}; give the server's own address")


def window(options: Options) -> tuple[int, int]:
    """Return start and end in nanoseconds. Raises ImportTrouble when one is missing or no time."""
    ends = {"--start": options.start, "--end": options.end}
    found: dict[str, int] = {}
    for flag, text in ends.items():
        at_ns = moment(text)
        if text and at_ns is None and "T" in text:
            at_ns = moment(f"{text}:00")  # 2026-03-04T14:05
        if at_ns is None:
            raise ImportTrouble(
                f"{flag} {text or 'is missing'}: give a time, e.g. {flag} 2026-03-04T14:00:00Z"
            )
        found[flag] = at_ns
    if found["--start"] >= found["--end"]:
        raise ImportTrouble("--start is not before --end; swap them")
    return found["--start"], found["--end"]


def seconds_text(at_ns: int) -> str:
    """Write a moment as RFC 3339 in whole seconds."""
    return datetime.fromtimestamp(at_ns // SECOND_NS, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


# ------------------------------------------------------------------- what Loki and Prometheus have in common


def read_or_ask(
    name: str,
    source: Source,
    output: Output,
    options: Options,
    *,
    read_file: Callable[[Source, SourceFile, Draft, Options], None],
    ask_server: Callable[[str, Draft, Options], None],
) -> None:
    """Write one incident: what the server at a URL answers, or the answers that files hold.

    A URL that holds a whole question, or ends as a file does, is a file to download.
    """
    with output.incident(f"{name} {source.where} {options.query} {options.start}") as draft:
        if source.is_url and not _IS_FILE.search(source.where):
            ask_server(source.where, draft, options)
            return
        for file in source.files():
            draft.next_file()
            read_file(source, file, draft, options)


def results(
    source: Source, file: SourceFile, server: str, check_type: Callable[[Any, str], None]
) -> Iterator[Element]:
    """Yield the parts of a file's `data.result`, after `check_type` saw what kind of result it is."""
    found = False
    for element in source.elements(file, [_KIND, _RESULT, _ERROR]):
        if element.path == _ERROR:
            said = str(element.value)[:300]
            raise ImportTrouble(
                f"{file.name}:{element.line}: holds a refusal of {server} ({said}); mend the query and ask again"
            )
        found = True
        if element.path == _KIND:
            check_type(element.value, file.name)
        else:
            yield element
    if not found:
        source.counts.drop(f"file without data.result of {server}")
