"""How fast importers read: rows and spans a second, for every form of log and for traces.

The rows are made up and differ in numbers, ids and clocks. An import reads them from a file, and writes the
file of an incident. Times are CPU seconds of this process, the best of several runs, because a busy machine
would stretch a clock. Not here: how fast a database is built of them (`benchmarks/build.py`), and memory
(`tests/importers/test_memory.py`).
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parent.parent))  # `python benchmarks/importing.py` works too

from importers.command import import_source
from importers.counting import Counts
from importers.draft import Output
from importers.options import Options
from importers.reading import Source

BAR_ROWS_S = 50_000
_START = datetime(2026, 6, 4, 10, tzinfo=UTC)
_MESSAGES = ("served GET /cart/{} in {} ms", "call to ledger failed: deadline {} ms exceeded after {} tries",
             "cache refresh of {} keys took {} ms", "waited {} ms for a connection, {} busy")  # fmt: skip
_LEVELS = ("INFO", "WARN", "ERROR")


class Made(NamedTuple):
    """One row before it is written in some form."""

    at: datetime
    level: str
    message: str
    trace_id: str

    @property
    def clock(self) -> str:
        """Its clock in milliseconds, ISO 8601."""
        return self.at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{self.at.microsecond // 1000:03d}Z"

    @property
    def ns(self) -> int:
        """Its clock in nanoseconds since 1970."""
        return round(self.at.timestamp() * 1000) * 1_000_000


def made(rows: int) -> Iterator[Made]:
    """Yield rows, the same for the same number."""
    rng = random.Random(1)
    for place in range(rows):
        at = _START + timedelta(milliseconds=100 * place)
        message = rng.choice(_MESSAGES).format(rng.randrange(9000), rng.randrange(90))
        yield Made(at, rng.choice(_LEVELS), message, f"{rng.getrandbits(64):016x}")


# --------------------------------------------------------------------------------------------- forms of lines


def _json_line(row: Made) -> str:
    return json.dumps({"timestamp": row.clock, "level": row.level, "service": "cart", "message": row.message,
                       "trace_id": row.trace_id, "thread": "main"})  # fmt: skip


def _logfmt(row: Made) -> str:
    level = row.level.lower()
    return f'time="{row.clock}" level={level} msg="{row.message}" component=cart trace_id={row.trace_id}'


def _docker(row: Made) -> str:
    return json.dumps({"log": f"{row.level} {row.message}\n", "stream": "stdout", "time": row.clock})


LINES: Mapping[str, Callable[[Made], str]] = {
    "plain": lambda row: f"{row.clock} {row.level} [main] com.acme.Cart - {row.message}",
    "JSON lines": _json_line,
    "logfmt": _logfmt,
    "klog": lambda row: f"{row.level[0]}{row.at:%m%d %H:%M:%S.%f}       1 cart.go:17] {row.message}",
    "docker json-file": _docker,
    "kubectl": lambda row: f"{row.clock} {row.level} {row.message}",
    "syslog": lambda row: f"<14>{row.at:%b} {row.at.day:2d} {row.at:%H:%M:%S} host cart[12]: {row.message}",
    "access log": lambda row: (
        f'10.1.2.3 - - [{row.at:%d/%b/%Y:%H:%M:%S} +0000] "GET /cart/{row.trace_id} HTTP/1.1" 200 17 "-" "curl/8"'
    ),
}


# ------------------------------------------------------------------------------------------- other documents

_SPANS = 5
"""Of one trace."""


def _span_ids(row: Made, place: int) -> tuple[str, str, str]:
    """Return the ids of a trace, a span and its parent."""
    own = f"{int(row.trace_id[:8], 16):08x}"
    return row.trace_id * 2, f"{own}{place:08x}", f"{own}{place - 1:08x}" if place % _SPANS else ""


def _otlp_span(row: Made, ids: tuple[str, str, str]) -> dict[str, Any]:
    trace, span, parent = ids
    tag = {"key": "http.method", "value": {"stringValue": "GET"}}
    clocks = {"startTimeUnixNano": str(row.ns), "endTimeUnixNano": str(row.ns + 5_000_000)}
    return {"traceId": trace, "spanId": span, "parentSpanId": parent, "name": "GET /cart", "kind": 2, **clocks,
            "attributes": [tag], "status": {}}  # fmt: skip


def _otlp_log(row: Made, ids: tuple[str, str, str]) -> dict[str, Any]:
    trace, span, _ = ids
    body = {"stringValue": row.message}
    return {"timeUnixNano": str(row.ns), "severityNumber": 9, "body": body, "traceId": trace, "spanId": span}


def _otlp(rows: int) -> Iterator[str]:
    """Write as many spans as log records, 100 of a kind in a line."""
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "cart"}}]}
    both = [(row, _span_ids(row, place)) for place, row in enumerate(made(rows))]
    for start in range(0, rows, 200):
        spans = [_otlp_span(*one) for one in both[start : start + 200 : 2]]
        logs = [_otlp_log(*one) for one in both[start + 1 : start + 200 : 2]]
        yield json.dumps({"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": spans}]}]})
        yield json.dumps({"resourceLogs": [{"resource": resource, "scopeLogs": [{"logRecords": logs}]}]})


def _jaeger(rows: int) -> Iterator[str]:
    traces: dict[str, list[dict[str, Any]]] = {}
    root = next(made(1))
    for place, row in enumerate(made(rows)):
        root = row if place % _SPANS == 0 else root
        trace, span, parent = _span_ids(root, place)
        references = [{"refType": "CHILD_OF", "traceID": trace, "spanID": parent}] if parent else []
        traces.setdefault(trace, []).append(
            {"traceID": trace, "spanID": span, "operationName": "GET /cart", "references": references, "duration": 5000,
             "startTime": row.ns // 1000, "processID": "p1", "logs": [],
             "tags": [{"key": "http.method", "type": "string", "value": "GET"}]})  # fmt: skip
    processes = {"p1": {"serviceName": "cart", "tags": []}}
    data = [{"traceID": trace, "spans": spans, "processes": processes} for trace, spans in traces.items()]
    yield json.dumps({"data": data})


def _loki(rows: int) -> Iterator[str]:
    values = [[str(row.ns), f'level=info msg="{row.message}"'] for row in made(rows)]
    streams = [
        {"stream": {"app": f"cart{start}", "level": "info"}, "values": values[start : start + 1000]}
        for start in range(0, rows, 1000)
    ]
    yield json.dumps({"status": "success", "data": {"resultType": "streams", "result": streams}})


DOCUMENTS: Mapping[str, Callable[[int], Iterator[str]]] = {"otlp": _otlp, "jaeger": _jaeger, "loki": _loki}


# -------------------------------------------------------------------------------------------------- measuring


def measured(importer: str, source: Path, rows: int, repeats: int) -> float:
    """Return rows a second of CPU. Raises ValueError when a row was lost, because
    then it is no measurement.
    """
    best = float("inf")
    for _ in range(repeats):
        counts = Counts()
        with tempfile.TemporaryDirectory(dir=source.parent) as out:
            began = time.process_time()
            import_source(importer, Source(str(source), counts), Output(Path(out), counts), Options())
            best = min(best, time.process_time() - began)
        if counts.rows.total() != rows:
            raise ValueError(f"{source.name}: {counts.rows.total()} rows were kept of {rows}")
    return rows / best


def measure(folder: Path, rows: int, repeats: int) -> float:
    """Print the table; return the rows a second of the slowest form."""
    print(f"{'form':<18} {'rows/s':>10} {'us a row':>9}")
    forms: list[tuple[str, str, Iterator[str]]] = [
        (name, "text", map(form, made(rows))) for name, form in LINES.items()
    ]
    forms += [(name, name, document(rows)) for name, document in DOCUMENTS.items()]
    slowest = float("inf")
    for name, importer, lines in forms:
        source = folder / ("cart.log" if importer == "text" else f"{name}.json")
        source.write_text("\n".join(lines) + "\n", encoding="utf-8")
        found = measured(importer, source, rows, repeats)
        print(f"{name:<18} {found:10,.0f} {1e6 / found:9.1f}", flush=True)
        slowest = min(slowest, found)
    return slowest


def main(argv: Sequence[str] | None = None) -> int:
    """Measure; 1 when the bar is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0], allow_abbrev=False)
    parser.add_argument("--rows", type=int, default=20_000, help="rows of each form, a multiple of 10")
    parser.add_argument("--repeats", type=int, default=3, help="times each form is imported")
    parser.add_argument(
        "--quick", action="store_true", help="small sizes: shows that it runs, not whether the bar holds"
    )
    arguments = parser.parse_args(argv)
    if arguments.quick:
        arguments.rows, arguments.repeats = 500, 1
    with tempfile.TemporaryDirectory(prefix="bench-importing-") as folder:
        ratio = measure(Path(folder), arguments.rows, arguments.repeats) / BAR_ROWS_S
    print(f"ratio={ratio:.2f} bar=1.0")
    return int(ratio < 1)


if __name__ == "__main__":
    sys.exit(main())
