"""Faults inside one service, as data: resource, code and data faults. Read `faults` for what the fields mean."""

from __future__ import annotations

from chaos.faults import INNER, Fault, Strike

_MEMORY = (
    "heap {high} % used after full collection, paused {long} ms",
    "collector stopped all threads {long} ms and freed only {n} MB",
    "allocation of {n} MB refused, resident set at limit {limit} MB",
    "killed by kernel at {limit} MB, exit code 137, restart {k}",
    "old generation at {high} %, {n} collections within the last minute",
)
_REGRESSION = (
    "since build {ver} {n} of {n2} inputs give a negative {field}",
    "index {n} out of range in split step of build {ver}",
    "null {field} crashes build {ver}, line {n2} of planner code",
    "build {ver} rounds {n} values of {field} to 0, old build kept them",
    "unhandled case partial in new build {ver}, {n} inputs affected",
    "build {ver} drops {field} from {n} of {n2} outputs",
)
_SCHEMA = (
    "build {ver} writes {field} as object, it was a number",
    "{field} renamed to {field2} in payload version {k}, sent since {clock}",
    "now sends {field} as text in cents, contract {k} says decimal",
    "payload version {k} active since {clock}: {field} moved under details",
    "migration {rev} turned {field} from integer into uuid in all answers",
)
_POOL = (
    "all {cap} connections to {peer} taken, {n2} requests wait",
    "waited {long} ms for a free connection to {peer}, none came back",
    "connections to {peer}: active {cap} of {cap}, idle 0, waiting {n2}",
    "connection to {peer} borrowed {n2} s ago not given back, {cap} of {cap} out",
    "no idle connection to {peer} for {n2} s, max is {cap}",
)
_DISK = (
    "volume /data {high} % used, {few} MB left, writes refused",
    "append to segment {big} failed: 0 bytes free on /data",
    "journal now read only, {few} MB free, reserve is {limit} MB",
    "flush of {n} pages failed, device has no free blocks",
    "compaction stopped: needs {limit} MB, volume has {few} MB",
)

FAULTS = (
    Fault(
        "memory_pressure",
        (
            Strike(
                "slow_self",
                ("service", "worker", "cache", "gateway"),
                _MEMORY,
                "the process runs out of memory and stalls in long garbage collections",
            ),
            Strike(
                "unreached",
                INNER,
                _MEMORY,
                "the process runs out of memory and is killed and restarted again and again",
                "connection closed",
            ),
        ),
        "raise the memory limit of {svc} and take a heap dump",
        (
            "heap {calm} % used after collection, paused {short} ms",
            "minor collection freed {n2} MB in {n} ms",
        ),
    ),
    Fault(
        "connection_pool_exhausted",
        (
            Strike(
                "slow_self",
                INNER,
                _POOL,
                "every connection of the pool to {peer} is in use and requests wait for one",
                peer_roles=("store", "service", "cache"),
            ),
            Strike(
                "fail_self",
                INNER,
                _POOL,
                "every connection of the pool to {peer} is in use and requests give up waiting",
                peer_roles=("store", "service", "cache"),
                weight=0.6,
            ),
            Strike(
                "flood",
                INNER,
                (
                    "export job keeps {cap} sessions at {peer} open, none closed for {n} min",
                    "opened session {cap} of {cap} at {peer}, {n} of them idle in transaction",
                    "nightly export started late at {clock}, holds {cap} sessions at {peer}",
                    "leaked {cap} sessions at {peer} since build {ver}, close is never called",
                ),
                "a job holds all connections of {peer} open, so that nobody else gets one",
                "no free session",
                ("store",),
                0.8,
            ),
        ),
        "restart {svc} and cap its open connections",
        (
            "connections to store: active {k} of {n2}, idle {n}",
            "pool grew to {n} connections, {k} waiting for {short} ms",
        ),
    ),
    Fault(
        "disk_full",
        (
            Strike(
                "fail_self",
                ("store", "queue"),
                _DISK,
                "the data volume has no space left and writes fail",
                weight=0.8,
            ),
            Strike(
                "unreached",
                ("store", "queue", "worker"),
                _DISK,
                "the data volume has no space left and the process refuses work",
                "refused: read only",
            ),
        ),
        "free space on the volume of {svc} and grow it",
        ("volume /data {calm} % used, {big} MB left", "rotated {k} old log files, {ms} MB freed"),
    ),
    Fault(
        "cpu_throttled",
        (
            Strike(
                "slow_self",
                ("service", "worker", "cache", "gateway"),
                (
                    "scheduler paused us {long} ms, quota of {few} cores used up",
                    "cgroup periods cut short: {n} of {n2}, waiting {long} ms",
                    "run queue {n2} long on {few} cores, steal {mid} %",
                    "ran {n} ms of each 100 ms slice, then parked",
                    "limit {few} cores since config {rev}, load needs {n}",
                ),
                "the CPU quota is used up and the scheduler pauses the process",
            ),
        ),
        "raise the CPU quota of {svc}",
        ("load average {k} on 16 cores", "batch used {n} % of one core for {k} s"),
    ),
    Fault(
        "code_regression",
        (
            Strike(
                "fail_self",
                INNER,
                _REGRESSION,
                "release {ver} handles some inputs wrongly and fails",
                weight=0.7,
            ),
            Strike(
                "bad_request",
                INNER,
                _REGRESSION,
                "release {ver} handles some inputs wrongly and sends {peer} broken requests",
            ),
            Strike(
                "bad_response",
                INNER,
                _REGRESSION,
                "release {ver} handles some inputs wrongly and gives broken answers",
            ),
        ),
        "roll {svc} back to the previous release",
        (
            "build {ver} started, {k} of {k} instances healthy",
            "build {ver} rolled out to {n2} % without complaints",
        ),
    ),
    Fault(
        "lock_contention",
        (
            Strike(
                "slow_self",
                ("service", "worker", "store"),
                (
                    "{n} threads wait for {lock}, held by thread {k} since {long} ms",
                    "blocked {long} ms before {lock} monitor, {n} more threads in line",
                    "{lock} mutex held {long} ms by thread {k}, {n} requests behind it",
                    "writer keeps {lock} to itself {long} ms, {n} readers blocked",
                    "thread dump: {n} of {n2} threads blocked on monitor {lock}",
                ),
                "requests queue behind the lock {lock}, which is held for too long",
            ),
            Strike(
                "flood",
                INNER,
                (
                    "batch {rev} updates all rows of {table} at {peer} in one transaction",
                    "transaction {big} keeps {table} at {peer} locked since {n} min",
                    "cleanup holds exclusive lock on {table} at {peer}, {n2} % done",
                    "one transaction touched {big} rows of {table} at {peer}, not committed",
                ),
                "a long transaction keeps rows at {peer} locked and everybody else waits",
                "lock not granted",
                ("store",),
                0.8,
            ),
        ),
        "stop the holder of the lock in {svc}",
        ("waited {short} ms to enter {lock}", "vacuum of {table} done in {ms} ms"),
    ),
    Fault(
        "retry_storm",
        (
            Strike(
                "flood",
                ("service", "worker", "edge"),
                (
                    "try {n} for same request to {peer}, pause 0 ms between tries",
                    "sent {big} calls to {peer} for {n} requests in 60 s",
                    "client {peer}: tries unlimited, pause 0 ms since build {ver}",
                    "calling {peer} again at once, try {n}, no delay configured",
                    "{n} tries per request to {peer}, backoff factor is 0",
                ),
                "the client retries calls to {peer} without backoff and multiplies its load",
                "overloaded",
            ),
        ),
        "limit the tries of {svc} and add a pause between them",
        ("second try to reach zone b passed after {short} ms", "{k} requests needed a second try"),
    ),
    Fault(
        "schema_mismatch",
        (
            Strike(
                "bad_response",
                ("service", "worker"),
                _SCHEMA,
                "the field {field} was changed and consumers still read it the old way",
                weight=2.0,
            ),
            Strike(
                "bad_request",
                INNER,
                _SCHEMA,
                "the field {field} was changed and {peer} still reads it the old way",
            ),
        ),
        "send the field the old way from {svc} until its readers follow",
        ("contract test {rev} passed, {n} fields", "ignored unknown field note in {k} payloads"),
    ),
    Fault(
        "corrupt_record",
        (
            Strike(
                "bad_response",
                ("store", "cache", "queue"),
                (
                    "checksum of block {big} differs: stored {hex}, computed {hex2}",
                    "page {big} of {table} has bad magic bytes, {n} rows unreadable",
                    "{n} rows in segment {big} end early after unclean stop",
                    "replica copy of row {big} holds {n2} zero bytes, parity wrong",
                    "scrub found {n} damaged rows in {table}, first at offset {big}",
                ),
                "stored records in {table} are damaged and break whoever reads them",
            ),
        ),
        "restore the damaged rows of {svc} from backup",
        ("scrub of {big} blocks found nothing", "backup {rev} verified in {n} s"),
    ),
    Fault(
        "missing_index",
        (
            Strike(
                "slow_self",
                ("store",),
                (
                    "query on {table} reads {big}000 rows, plan: full scan",
                    "migration {rev} dropped {table}_by_owner at {clock}, {k} plans differ",
                    "plan for {table} went from seek to scan, {long} ms",
                    "{n} sequential scans of {table} in 60 s, was 0",
                    "sorted {big}000 rows of {table} on disk, {long} ms",
                ),
                "a migration dropped an index and queries on {table} scan the whole table",
            ),
        ),
        "create the index of {svc} again",
        ("statistics of {table} refreshed in {ms} ms", "plan cache holds {n2} plans"),
    ),
)
