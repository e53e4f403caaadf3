"""Who calls whom, from every source; a bad line is named."""

from __future__ import annotations

import json
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graph_rca.__main__ import main
from graph_rca.topology import Call, TopologyError, from_prometheus, from_sockets, from_spans, of_both_halves
from graph_rca.topology_command import moment
from project_types import Span
from testrun_investigator.local_prometheus import served

AT = datetime(2026, 3, 4, 14, 0, tzinfo=UTC)


def span(number: int, parent: int | None, service: str, status: str = "ok") -> Span:
    return Span.model_validate({
        "trace_id": "t1", "span_id": f"s{number}", "parent_span_id": None if parent is None else f"s{parent}",
        "service": service, "operation": "work", "start": AT + timedelta(seconds=number), "duration_ms": 10.0 * number,
        "status": status,
    })  # fmt: skip


def test_spans_give_calls_with_rate_errors_and_latency() -> None:
    spans = [span(1, None, "shop"), span(2, 1, "cart"), span(3, 1, "cart", "error"), span(4, 3, "db")]
    graph = from_spans(spans, [("db", "disk")])
    assert graph.services == ["cart", "db", "disk", "shop"]
    assert {(one.caller, one.callee): one.error_share for one in graph.calls} == {
        ("shop", "cart"): 0.5, ("cart", "db"): 0.0, ("db", "disk"): None,
    }  # fmt: skip


def test_a_busier_or_more_failing_call_weighs_more() -> None:
    assert Call("a", "b", 1.0, 0.5).weight > Call("a", "b", 1.0, 0.0).weight > Call("a", "b", 0.1, 0.0).weight
    assert 0 <= Call("a", "b").weight <= Call("a", "b", 1e9, 1.0).weight <= 1


def test_socket_records_name_the_workloads_of_pods(tmp_path: Path) -> None:
    records = [
        {
            "source": "cart-6d5f7c9b4-x2x4z",
            "destination": "db-0",
            "port": 5432,
            "rtt_ms": 0.4,
            "retransmits": 2,
        },
        {
            "source": "cart-6d5f7c9b4-q8q9z",
            "destination": "db-1",
            "port": 5432,
            "rtt_ms": 0.8,
            "retransmits": 1,
        },
    ]
    path = tmp_path / "sockets.jsonl"
    path.write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    assert from_sockets(path).calls == [Call("cart", "db", None, None, 0.8, 3)]


@settings(max_examples=12, deadline=None)
@given(line=st.text(min_size=1).filter(lambda text: text.strip() and len(text.splitlines()) == 1))
def test_a_line_that_is_no_record_is_named(line: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("sockets") / "sockets.jsonl"
    path.write_text(f'{{"source": "a", "destination": "b"}}\n{line}\n', encoding="utf-8")
    with pytest.raises(TopologyError, match=r":2: is no socket record"):
        from_sockets(path)


def test_a_time_goes_with_a_server_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "sockets.jsonl"
    path.write_text('{"source": "a", "destination": "b"}\n', encoding="utf-8")
    with pytest.raises(SystemExit):
        main(["topology", "--sockets", str(path), "--at", "2026-03-04T14:05:00Z"])
    assert "goes with --prometheus" in capsys.readouterr().err
    assert main(["topology", "--sockets", str(path)]) == 0
    assert "a -> b" in capsys.readouterr().out


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(TopologyError, match="add Z"):
        moment("2026-03-04T14:05:00")


FORMS: dict[str, tuple[str, str, dict[str, float]]] = {
    "istio": ("source_workload", "destination_workload", {
        'istio_requests_total{%s,response_code="200"}': 54, 'istio_requests_total{%s,response_code="503"}': 6,
        "istio_request_duration_milliseconds_sum{%s}": 1200,
    }),
    "opentelemetry": ("client", "server", {
        "traces_service_graph_request_total{%s}": 60, "traces_service_graph_request_failed_total{%s}": 6,
        "traces_service_graph_request_server_seconds_sum{%s}": 1.2,
    }),
}  # fmt: skip
"""By who counts: names of the ends of a call, and what is counted a minute: 60 calls of
20 ms, every tenth fails.
"""


def backfilled(folder: Path, form: str) -> Path:
    """Write ten minutes of counters of shop calling cart, as blocks of a Prometheus."""
    caller, callee, counters = FORMS[form]
    lines = []
    for name, per_minute in counters.items():
        series = name % f'{caller}="shop",{callee}="cart"'
        lines += [
            f"{series} {per_minute * minute} {AT.timestamp() + 60 * minute:.0f}" for minute in range(11)
        ]
    text = folder / "metrics.txt"
    text.write_text("\n".join([*lines, "# EOF\n"]), encoding="utf-8")
    command = ["promtool", "tsdb", "create-blocks-from", "openmetrics", str(text), str(folder / "data")]
    subprocess.run(command, check=True, capture_output=True)
    return folder / "data"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("promtool") is None, reason="needs Debian's package prometheus")
@pytest.mark.parametrize("form", FORMS)
def test_a_real_prometheus_gives_calls_of_the_time_that_is_asked_for(form: str, tmp_path: Path) -> None:
    end = AT + timedelta(minutes=10)
    with served(backfilled(tmp_path, form)) as url:
        graph = from_prometheus(url, end)
        ended = of_both_halves(url, end + timedelta(minutes=10), 600)
        with pytest.raises(TopologyError, match="holds neither"):
            from_prometheus(url, AT + timedelta(days=1))
        with pytest.raises(TopologyError, match="holds neither"):
            of_both_halves(url, AT + timedelta(days=1), 600)
    (call,) = graph.calls
    assert (call.caller, call.callee) == ("shop", "cart")
    assert call.per_s == pytest.approx(1.0, rel=0.1)
    assert call.error_share == pytest.approx(0.1, rel=0.1)
    assert call.latency_ms == pytest.approx(20, rel=0.1)
    (silent,) = ended.calls  # was called in the first ten minutes, and not in the last ones
    assert silent.per_s == 0.0
    assert silent.before
    assert list(silent.before) == pytest.approx([1.0, 0.1, 20.0], rel=0.1)
