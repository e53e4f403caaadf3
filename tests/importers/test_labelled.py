"""Labelled data sets become scenarios whose truth the judge accepts, and whose label no agent can see."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from importers.counting import ImportTrouble
from importers.labels import KINDS, kind_of
from make_judge_model import load_judge
from project_types import Incident, Scenario
from tests.importers.imported import Imported, imported, write

JUDGE = load_judge("offline")
INJECTED = 1772633110
"""2026-03-04 14:05:10 UTC."""


def csv(head: str, *rows: str) -> str:
    return "\n".join((head, *rows)) + "\n"


# --------------------------------------------------------------------------------------------------- Nezha

CART = "ts-cart-service-6d5f7c9b4-x2x4z"


def nezha_log(at: str, message: str) -> str:
    cell = json.dumps({"log": message + "\n", "stream": "stdout"}).replace('"', '""')
    return f'2026-03-04T{at}Z,1,10.0.0.1,{CART},server,{"ab" * 16},{"cd" * 8},"{cell}"'


NEZHA: dict[str, str | bytes] = {
    "rca_data/2026-03-04/2026-03-04-fault_list.json": json.dumps(
        {"14": [{"inject_time": "2026-03-04 14:05:10", "inject_timestamp": "1", "inject_pod": CART,
                 "inject_type": "cpu_contention"}]}
    ),
    "rca_data/2026-03-04/log/14_05_log.csv": csv(
        "Timestamp,TimeUnixNano,Node,PodName,Container,TraceID,SpanID,Log",
        nezha_log("14:04:40.000000001", "22:04:40.000 INFO  c.Cart#1 TraceID: x SpanID: y [add][1 item]"),
    ),
    "rca_data/2026-03-04/log/14_06_log.csv": csv(
        "Timestamp,TimeUnixNano,Node,PodName,Container,TraceID,SpanID,Log",
        nezha_log("14:05:50", "22:05:50.000 ERROR c.Cart#1 [add][no stock]"),
    ),
    "rca_data/2026-03-04/trace/14_05_trace.csv": csv(
        "TraceID,SpanID,ParentID,PodName,OperationName,StartTimeUnixNano,EndTimeUnixNano,Duration",
        f"{'ab' * 16},{'cd' * 8},root,{CART},/cart,1772633080000000000,1772633080250000000,250",
    ),
    f"rca_data/2026-03-04/metric/{CART}_metric.csv": csv(
        "Time,TimeStamp,PodName,CpuUsage(m)",
        f"2026-03-04 14:04:10.5 +0000 UTC m=+1.4,1,{CART},7.5",
        f"2026-03-04 09:04:10.5 +0000 UTC m=+1.4,1,{CART},9.5",
    ),
}  # fmt: skip

# ------------------------------------------------------------------------------------------------- RCAEval

RCAEVAL_FILES: dict[str, str | bytes] = {
    "inject_time.txt": f"{INJECTED}\n",
    "logs.csv": csv(
        "time,timestamp,container_name,message,level,req_path,error",
        f"x,{INJECTED - 60}123456789,carts,POST /carts 200,INFO,/carts,",
        f"x,{INJECTED + 60}123456789,carts,POST /carts 500,ERROR,/carts,java.net.ConnectException",
    ),
    "traces.csv": csv(
        "time,traceID,spanID,serviceName,methodName,operationName,startTimeMillis,startTime,duration,statusCode,parentSpanID",
        f"x,9f1c,a1,carts,,Cart/Get,1,{INJECTED}123456,1532,0,",
        f"x,9f1c,a2,carts-db,,find,1,{INJECTED}123500,900,13,a1",
    ),
    "metrics.csv": csv(
        "time,time,carts_cpu,carts_latency-90,front-end_pod_mem,carts-db_cpu",
        f"{INJECTED - 1},1,0.5,17,3,",
        f"{INJECTED},1,0.9,18,3,0.1",
    ),
}
RCAEVAL = {
    "re2ss_carts_cpu_1": {f"re2ss_carts_cpu_1/{name}": content for name, content in RCAEVAL_FILES.items()},
    "RE2-SS/carts_cpu/1": {f"RE2-SS/carts_cpu/1/{name}": content for name, content in RCAEVAL_FILES.items()},
}

# ------------------------------------------------------------------------------------------------- OpenRCA

BEGINS = 1772633110  # 14:05:10 UTC is 22:05:10 there, in the half hour from 14:00
OPENRCA: dict[str, str | bytes] = {
    "Bank/record.csv": csv("level,component,timestamp,datetime,reason",
                           f"pod,Redis02,{BEGINS}.0,2026-03-04 22:05:10,high memory usage"),
    "Bank/query.csv": csv("task_index,instruction,scoring_points", 'task_6,"When?","Redis02, high memory usage"'),
    "Bank/telemetry/2026_03_04/log/log_service.csv": csv(
        "log_id,timestamp,cmdb_id,log_name,value",
        f"a,{BEGINS},Redis02,gc,1.234: [GC (Allocation Failure)",
        f"b,{BEGINS - 7200},Redis02,gc,too early"),
    "Bank/telemetry/2026_03_04/trace/trace_span.csv": csv(
        "timestamp,cmdb_id,parent_id,span_id,trace_id,duration",
        f"{BEGINS}123,Tomcat01,None,s1,t1,250", f"{BEGINS}150,Redis02,s1,s2,t1,17"),
    "Bank/telemetry/2026_03_04/metric/metric_container.csv": csv(
        "timestamp,cmdb_id,kpi_name,value", f"{BEGINS},node-6.Redis02,mem_used,93.5"),
    "Bank/telemetry/2026_03_04/metric/metric_app.csv": csv(
        "timestamp,rr,sr,cnt,mrt,tc", f"{BEGINS},100.0,99.5,17,31.2,ServiceTest1"),
}  # fmt: skip


def telling_words(scenario: Scenario) -> str:
    """Everything that an agent may see."""
    return Incident.model_validate(scenario.incident.model_dump()).model_dump_json()


async def check(scenario: Scenario, service: str, fault: str, *hidden: str) -> None:
    """A scenario has its label in the truth alone, and the judge accepts its gold report."""
    assert (scenario.ground_truth.service, scenario.ground_truth.fault_type) == (service, fault)
    shown = telling_words(scenario)
    assert not [word for word in hidden if word in shown or word in scenario.id]
    assert service not in scenario.description
    verdict = await JUDGE.verdict(scenario, scenario.gold_report)
    assert verdict.correct, verdict.reason


def once(name: str, tmp_path: Path, files: dict[str, str | bytes]) -> tuple[Imported, Scenario]:
    found = imported(name, write(tmp_path / "in", files), tmp_path / "out")
    (scenario,) = found.scenarios
    return found, scenario


async def test_a_fault_of_nezha_is_a_scenario(tmp_path: Path) -> None:
    found, scenario = once("nezha", tmp_path, NEZHA)
    await check(scenario, "ts-cart-service", "cpu", "cpu_contention", CART)
    info, error = scenario.logs
    assert (info.level, error.level, info.nanosecond) == ("INFO", "ERROR", 1)
    assert (info.message, error.message) == ("c.Cart#1 [add][1 item]", "c.Cart#1 [add][no stock]")
    assert [(span.service, span.duration_ms, span.parent_span_id) for span in scenario.spans] == [
        ("ts-cart-service", 250, None)
    ]
    assert [series.points[0][1] for series in scenario.metrics] == [7.5]
    assert scenario.baseline is not None
    assert (f"{scenario.baseline.end:%H:%M:%S}", scenario.time_hint) == ("14:05:00", "14:05")
    assert found.counts.rows["log lines"] == 2


@pytest.mark.parametrize("layout", RCAEVAL)
async def test_a_case_of_rcaeval_is_a_scenario_however_it_is_laid_out(tmp_path: Path, layout: str) -> None:
    found, scenario = once("rcaeval", tmp_path, RCAEVAL[layout])
    await check(scenario, "carts", "cpu", "carts_cpu", "re2ss")
    assert [(row.level, row.message) for row in scenario.logs] == [
        ("INFO", "POST /carts 200"), ("ERROR", "POST /carts 500 java.net.ConnectException")]  # fmt: skip
    assert [(span.service, span.status, span.duration_ms) for span in scenario.spans] == [
        ("carts", "ok", 1.532), ("carts-db", "error", 0.9)]  # fmt: skip
    assert {(series.service, series.name) for series in scenario.metrics} == {
        ("carts", "cpu"), ("carts", "latency-90"), ("front-end_pod", "mem"), ("carts-db", "cpu")}  # fmt: skip
    assert not found.counts.notes


async def test_a_case_of_rcaeval_in_parquet_is_the_same(tmp_path: Path) -> None:
    import pyarrow.csv as reader
    import pyarrow.parquet as pq

    files = write(tmp_path / "csv", RCAEVAL["re2ss_carts_cpu_1"])
    for path in list(files.rglob("*.csv")):
        content = path.read_bytes().replace(b"time,time,", b"time,more,")
        pq.write_table(reader.read_csv(io.BytesIO(content)), path.with_suffix(".parquet"))
        path.unlink()
    (scenario,) = imported("rcaeval", files, tmp_path / "out").scenarios
    await check(scenario, "carts", "cpu", "carts_cpu")
    assert [len(part) for part in (scenario.logs, scenario.spans)] == [2, 2]
    assert ("carts", "latency-90") in {(series.service, series.name) for series in scenario.metrics}


async def test_a_record_of_openrca_is_a_scenario_of_its_half_hour(tmp_path: Path) -> None:
    _, scenario = once("openrca", tmp_path, OPENRCA)
    await check(scenario, "Redis02", "memory", "high memory usage", "record")
    assert [row.message for row in scenario.logs] == ["1.234: [GC (Allocation Failure)"]
    assert [(span.service, span.parent_span_id, span.duration_ms) for span in scenario.spans] == [
        ("Tomcat01", None, 250.0), ("Redis02", "s1", 17.0)]  # fmt: skip
    assert {series.id for series in scenario.metrics} == {
        "Redis02/mem_used", "ServiceTest1/rr", "ServiceTest1/sr", "ServiceTest1/cnt", "ServiceTest1/mrt"}  # fmt: skip
    assert scenario.time_hint == "14:00 to 14:30"


def datapack(folder: Path) -> Path:
    """A datapack as rcabench writes it; its name and injection.json are the label."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    pack = folder / "ts-cart-service-network-delay-x7k2p"
    pack.mkdir(parents=True)
    truth: dict[str, Any] = {"fault_type": "NetworkDelay", "ground_truth": {"service": ["ts-cart-service"]},
                             "start_time": "2026-03-04T14:05:10Z"}  # fmt: skip
    (pack / "injection.json").write_text(json.dumps(truth), encoding="utf-8")
    for stretch, at in (("normal", INJECTED - 100), ("abnormal", INJECTED + 100)):
        clock = pa.array([at * 10**9 + 1], pa.timestamp("ns", "UTC"))
        common = {
            "time": clock,
            "service_name": ["ts-cart-service"],
            "trace_id": ["ab" * 16],
            "span_id": ["cd" * 8],
        }
        tables: dict[str, dict[str, Any]] = {
            "logs": common | {"level": ["INFO"], "message": [f"{stretch[:3]} row"], "attr.k8s.pod.name": [CART]},
            "traces": common | {"parent_span_id": [""], "span_name": ["GET /cart"], "attr.status_code": ["Error"],
                                "duration": pa.array([2_500_000], pa.uint64())},
            "metrics": {"time": clock, "metric": ["cpu"], "value": [0.5], "service_name": ["ts-cart-service"],
                        "attr.k8s.pod.name": [CART]},
        }  # fmt: skip
        for name, columns in tables.items():
            pq.write_table(pa.table(columns), pack / f"{stretch}_{name}.parquet")
    return folder


async def test_a_datapack_of_rcabench_is_a_scenario_with_its_normal_time_as_baseline(tmp_path: Path) -> None:
    (scenario,) = imported("rcabench", datapack(tmp_path / "in"), tmp_path / "out").scenarios
    await check(scenario, "ts-cart-service", "delay", "NetworkDelay", "network-delay")
    first, _ = scenario.logs
    assert (first.nanosecond, first.trace_id, first.attributes) == (1, "ab" * 16, {"k8s.pod.name": CART})
    assert [(span.duration_ms, span.status, span.parent_span_id) for span in scenario.spans] == [
        (2.5, "error", None)
    ] * 2
    assert [series.name for series in scenario.metrics] == [f"cpu{{k8s.pod.name={CART}}}"]
    assert scenario.baseline is not None
    assert scenario.baseline.start == scenario.baseline.end == first.timestamp


def test_a_data_set_may_come_packed(tmp_path: Path) -> None:
    path = tmp_path / "nezha.tar.xz"
    with tarfile.open(path, "w:xz") as tar:
        tar.add(write(tmp_path / "in", NEZHA) / "rca_data", "rca_data")
    assert len(imported("nezha", path, tmp_path / "out").scenarios) == 1


CASE = "re1ob_a_cpu_1/inject_time.txt"


@pytest.mark.parametrize(
    ("name", "files", "says"),
    [
        ("nezha", {"x.csv": ""}, "holds no DAY-fault_list.json"),
        ("rcaeval", {"x.csv": ""}, "no folder holds inject_time.txt"),
        ("rcaeval", {"one/inject_time.txt": "1772633110"}, "is named neither"),
        ("rcaeval", {CASE: "noon"}, r"inject_time\.txt:1: holds no time"),
        (
            "rcaeval",
            {CASE: "1772633110", "re1ob_a_cpu_1/logs.csv": "a,b\n1,2\n"},
            r"logs\.csv:1: has no column 'timestamp'",
        ),
        ("openrca", {"x.csv": ""}, "holds no record.csv"),
        ("rcabench", {"x.csv": ""}, "no folder holds injection.json"),
        ("rcabench", {"a/injection.json": "{"}, r"injection\.json: is no JSON"),
    ],
)
def test_a_source_of_another_kind_is_refused_with_what_is_missing(
    tmp_path: Path, name: str, files: dict[str, str | bytes], says: str
) -> None:
    with pytest.raises(ImportTrouble, match=says):
        imported(name, write(tmp_path / "in", files), tmp_path / "out")
    assert not list((tmp_path / "out").glob("*"))


@pytest.mark.parametrize(
    ("fault", "kind"),
    [("cpu_contention", "cpu"), ("network_delay", "delay"), ("return", "return"), ("exception", "exception"), ("mem", "memory"),
     ("loss", "loss"), ("disk", "disk"), ("f3", "code"), ("high JVM CPU load", "cpu"), ("JVM Out of Memory (OOM) Heap", "memory"),
     ("network packet loss", "loss"), ("high disk I/O read usage", "disk"), ("db connection limit", "database"),
     ("PodKill", "restart"), ("HTTPResponseDelay", "http"), ("TimeSkew", "time"), ("container process termination", "restart")],
)  # fmt: skip
def test_the_word_of_a_data_set_means_a_kind(fault: str, kind: str) -> None:
    assert kind_of(fault) == kind
    assert kind in KINDS
