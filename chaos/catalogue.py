"""The catalogue of faults, as data: every fault type with its strikes, wordings, remedy and harmless look-alikes.

Read `faults` for what the fields mean. `HELD_OUT` types occur only in the unseen part of the test split.
"""

from __future__ import annotations

from chaos.faults import Fault, Strike

HELD_OUT = ("cpu_throttled", "network_partition", "feature_flag_misfire", "queue_backlog", "missing_index")
INNER = ("service", "worker")
CALLEES = ("service", "worker", "store", "cache", "gateway")

_MEMORY = (
    "heap {high} % used after full collection, paused {long} ms",
    "collector stopped all threads {long} ms and freed only {n} MB",
    "allocation of {n} MB refused, resident set at limit {limit} MB",
    "killed by kernel at {limit} MB, exit code 137, restart {k}",
    "old generation at {high} %, {n} collections within the last minute",
)
_LINK = (
    "{mid} % of segments to {peer} sent again, round trip {long} ms",
    "round trip to {peer} {long} ms, was {k} ms an hour ago",
    "interface eth1 dropped {big} packets in 60 s, errors on receive",
    "socket to {peer}: {n} resends in a row, window down to {k} KB",
    "link probe to {peer}: loss {mid} %, jitter {ms} ms",
)
_REGRESSION = (
    "since build {ver} {n} of {n2} inputs give a negative {field}",
    "index {n} out of range in split step of build {ver}",
    "null {field} crashes build {ver}, line {n2} of planner code",
    "build {ver} rounds {n} values of {field} to 0, old build kept them",
    "unhandled case partial in new build {ver}, {n} inputs affected",
    "build {ver} drops {field} from {n} of {n2} outputs",
)
_HANDSHAKE = (
    "renewal of own certificate failed {k} times, last valid minute was {clock}",
    "certificate serial {serial} ended {clock}, {n} handshakes broken off",
    "own tls certificate is {n} minutes past its last valid time",
    "key store holds certificate {serial} valid until {clock}, no newer one found",
    "notAfter {clock} of certificate {serial} has passed, peers close the handshake",
)
_PARTITION = (
    "no route to {peer} from zone b, {n} probes without echo",
    "routes to 10.{k}.0.0/16 withdrawn at {clock}, {n} peers out of reach",
    "gateway of zone c answers host unreachable for {peer}, {n} times",
    "neighbour table lost {peer} at {clock}, {n} packets have nowhere to go",
    "zone a sees {few} of 9 peers, none beyond the border router",
)
_FLAG = (
    "switch {flag} now on for {high} % of requests, path has {few} gaps",
    "branch {flag} entered {big} times since {clock}, was 0 before",
    "{flag} turned on at {clock} by rollout {rev}, handler not complete",
    "variant {flag}=on took {n} of {n2} requests into unfinished code",
    "toggle {flag} flipped to on for all tenants, tested with {k}",
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
_PARTNER = (
    "partner {partner} answered 503 to {n} of {n2} requests",
    "status page of {partner}: major outage since {clock}, region {k}",
    "{partner} hung up before reply, {n} times in 60 s",
    "partner {partner} refuses our account, code 403, {n} calls",
    "no reply from {partner} within {long} ms, {n} in a row",
)

_FAULTS = (
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
        ("heap {calm} % used after collection, paused {short} ms", "minor collection freed {n2} MB in {n} ms"),
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
        ("connections to store: active {k} of {n2}, idle {n}", "pool grew to {n} connections, {k} waiting for {short} ms"),
    ),
    Fault(
        "disk_full",
        (
            Strike("fail_self", ("store", "queue"), _DISK, "the data volume has no space left and writes fail", weight=0.8),
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
        "network_latency",
        (
            Strike(
                "slow_link",
                ("service", "worker", "edge"),
                _LINK,
                "packets to {peer} are lost or delayed on the link and calls over it become slow",
            ),
            Strike("slow_self", CALLEES, _LINK, "packets are lost or delayed on its network link and its answers become slow"),
        ),
        "move {svc} off the bad link and replace the interface",
        ("round trip to zone b {k} ms", "interface eth0 dropped {k} packets in 60 s"),
    ),
    Fault(
        "dns_failure",
        (
            Strike(
                "caller_edge",
                ("service", "worker", "edge", "queue"),
                (
                    "lookup of {peer}.internal returned no address, resolver {host}",
                    "name {peer}.internal not found, NXDOMAIN after {k} tries",
                    "resolver {host} gave nothing for {peer} in {ms} ms",
                    "address list for {peer} is empty since zone reload {clock}",
                    "{peer}.internal has no address record, {k} zones searched",
                ),
                "the host name of {peer} no longer resolves",
                "no connection made",
            ),
        ),
        "repair the resolver of {svc} and pin the address of its peer",
        ("resolver {host} answered in {k} ms, {n} names cached", "zone reload finished, {n2} names"),
    ),
    Fault(
        "network_partition",
        (
            Strike(
                "caller_edge",
                ("service", "worker", "edge"),
                _PARTITION,
                "the route to {peer} is gone and the peer is unreachable from its zone",
                "no connection made",
            ),
            Strike(
                "unreached",
                CALLEES,
                _PARTITION,
                "its route is gone and it is unreachable from the zone of its callers",
                "no connection made",
            ),
        ),
        "restore the route of {svc} or move it to the healthy zone",
        ("border router answers in {k} ms", "zone b has {n} peers"),
    ),
    Fault(
        "timeout_too_short",
        (
            Strike(
                "caller_deadline",
                ("service", "worker", "edge", "queue"),
                (
                    "client {peer}: patience {deadline} ms, median answer needs {ms} ms",
                    "config {rev} sets patience for {peer} to {deadline} ms, was 3000",
                    "stopped listening to {peer} after {deadline} ms, answer came {short} ms later",
                    "{n} calls to {peer} dropped after {deadline} ms each, answers came late",
                    "patience for {peer} cut to {deadline} ms by config {rev}, previously 3000",
                ),
                "the deadline for calls to {peer} is shorter than the peer's normal latency",
            ),
        ),
        "set the deadline of {svc} back to its old value",
        ("client defaults loaded: patience 3000 ms, {k} pools", "config {rev} loaded, {k} values unchanged"),
    ),
    Fault(
        "wrong_endpoint",
        (
            Strike(
                "caller_edge",
                ("service", "worker", "edge", "queue"),
                (
                    "client {peer} points to {host}:{port} since config {rev}",
                    "connect {host}:{port} refused, nothing listens there, expected {peer}",
                    "config {rev} moved {peer} from {host2}:{port} to {host}:{port}",
                    "reply from {host}:{port} is not {peer}, path unknown there",
                    "opened {n} sockets to {host}:{port} for {peer}, each refused",
                ),
                "the client is configured with a wrong address for {peer}",
                "no connection made",
            ),
        ),
        "roll back the address in the configuration of {svc}",
        ("listening on {host}:{port}", "config {rev} loaded, address list has {k} entries"),
    ),
    Fault(
        "rate_limit_too_low",
        (
            Strike(
                "unreached",
                ("service", "worker", "gateway", "store"),
                (
                    "admits {quota} calls a second, {big} arrived, rest turned away",
                    "turned away {n} of {n2} calls from {peer}: quota {quota} a second",
                    "quota for {peer} now {quota} a second by config {rev}, was {usual}",
                    "token bucket empty: size {quota}, demand {n2} a second",
                    "ceiling of {quota} calls a second reached {n} times in 60 s",
                ),
                "a limit of {quota} calls a second, below normal traffic, makes it reject good requests",
                "status 429",
            ),
        ),
        "raise the limit of {svc} above normal traffic",
        ("quota use {calm} % of {big} a second", "limiter table reloaded, {n} entries"),
    ),
    Fault(
        "certificate_expired",
        (
            Strike(
                "unreached",
                CALLEES,
                _HANDSHAKE,
                "the TLS certificate was not renewed and handshakes fail",
                "handshake broken off",
            ),
            Strike(
                "caller_edge",
                ("service", "worker"),
                _HANDSHAKE,
                "the client's TLS certificate was not renewed and {peer} refuses its handshakes",
                "handshake broken off",
            ),
        ),
        "renew the certificate of {svc} and reload it",
        ("certificate {hex} valid for {n2} more days", "key store reloaded, {k} certificates"),
    ),
    Fault(
        "feature_flag_misfire",
        (
            Strike("fail_self", ("service",), _FLAG, "the flag {flag} turned on a path that was not ready"),
            Strike(
                "bad_request",
                ("service",),
                _FLAG,
                "the flag {flag} turned on a path that was not ready and sends {peer} broken requests",
            ),
            Strike(
                "bad_response",
                ("service",),
                _FLAG,
                "the flag {flag} turned on a path that was not ready and gives broken answers",
            ),
        ),
        "turn the flag of {svc} off",
        ("flags refreshed, {n} known", "experiment {hex} closed after {n} days"),
    ),
    Fault(
        "code_regression",
        (
            Strike("fail_self", INNER, _REGRESSION, "release {ver} handles some inputs wrongly and fails", weight=0.7),
            Strike(
                "bad_request", INNER, _REGRESSION, "release {ver} handles some inputs wrongly and sends {peer} broken requests"
            ),
            Strike("bad_response", INNER, _REGRESSION, "release {ver} handles some inputs wrongly and gives broken answers"),
        ),
        "roll {svc} back to the previous release",
        ("build {ver} started, {k} of {k} instances healthy", "build {ver} rolled out to {n2} % without complaints"),
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
        "external_api_down",
        (
            Strike("fail_self", ("gateway",), _PARTNER, "the third party {partner} fails or refuses", weight=0.7),
            Strike("slow_self", ("gateway",), _PARTNER, "the third party {partner} no longer answers", weight=1.5),
        ),
        "switch {svc} to the second provider and call the third party",
        ("partner sandbox answered 503 once", "partner {partner} announces maintenance in {n} days"),
    ),
    Fault(
        "cache_failure",
        (
            Strike(
                "cold_cache",
                ("cache",),
                (
                    "restart lost {big} entries, hits now {low} % of lookups",
                    "evicted {big} keys in 10 s, memory cap {limit} MB reached",
                    "hit share {low} %, was {high} % before {clock}",
                    "node {k} left the ring, {mid} % of slots without owner",
                    "snapshot unreadable, started with 0 of {big} entries",
                ),
                "the cache lost its entries and the store behind it takes all the load",
            ),
        ),
        "warm up {svc} and shield the store behind it",
        ("expired {n2} keys in 60 s", "hit share {high} % over the last hour"),
    ),
    Fault(
        "queue_backlog",
        (
            Strike(
                "slow_self",
                ("worker",),
                (
                    "lag {big} messages and growing, oldest waits {n} min",
                    "took {k} messages a second, {n2} a second arrive",
                    "consumer {few} of {few} busy, {big} messages behind head",
                    "offset {big} behind newest, {n} min to catch up",
                    "picked up message {n} min after it was sent, {big} more wait",
                ),
                "the consumer falls behind and messages are handled late",
            ),
        ),
        "add consumers to {svc}",
        ("lag {k} messages", "offset committed, {k} behind newest"),
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
            Strike("bad_request", INNER, _SCHEMA, "the field {field} was changed and {peer} still reads it the old way"),
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
                    "migration {rev} dropped {table}_by_owner at {clock}, {k} plans changed",
                    "plan for {table} changed from seek to scan, {long} ms",
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

CATALOGUE: dict[str, Fault] = {fault.name: fault for fault in _FAULTS}
"""Every fault type of `project_types.FAULT_TYPES`."""
