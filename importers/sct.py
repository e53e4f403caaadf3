"""Logs of a Scylla Cluster Tests run, as its archives pack them.

How a file is known and its lines are read is `core.sct_logs`, which the Test Run Investigator uses too. Files
that repeat another, hold configuration or credentials, or are no logs are left out with the reason. A service
is the node that wrote a row.
"""

from __future__ import annotations

from collections import Counter

from core.log_stores.scenario_rows import microseconds
from core.sct_logs import Row, rows, stream_of
from importers.draft import Output
from importers.options import Options
from importers.reading import Source
from importers.rows import LogRow

_REPAIRED = {"repaired_clocks": "clock with two zones", "without_clock": "row without a clock placed behind the one before",
             "unparsed": "line of another form kept as it is"}  # fmt: skip


def read(source: Source, output: Output, options: Options) -> None:
    """Write one incident of all files."""
    counts: Counter[str] = Counter()
    with output.incident(f"sct {source.where}") as draft:
        for file in source.files():
            stream, why = stream_of(file.name)
            if stream is None:
                source.counts.drop(f"file: {why}")
                continue
            draft.next_file()
            for row in rows(draft.id, file.name, stream, source.lines(file), counts):
                draft.log(_log_row(row))
    source.counts.joined += counts["joined"]
    for name, why in _REPAIRED.items():
        if counts[name]:
            source.counts.repair(why, counts[name])


def _log_row(row: Row) -> LogRow:
    at_ns = None if row.at is None else microseconds(row.at) * 1000
    return LogRow(at_ns, row.service, row.level, row.text, row.trace_id, None, row.attributes)
