"""The fault types a scenario can hold, in words a judge and a reader can use.

How each one acts is `chaos`, how a text names it is `core.judges`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class FaultKind(NamedTuple):
    """What a fault type means, in words a judge and a reader can use."""

    family: str
    meaning: str


FAULT_TYPES: Mapping[str, FaultKind] = {
    "memory_pressure": FaultKind(
        "resource", "the process runs out of memory: long garbage collections, OOM kills"
    ),
    "connection_pool_exhausted": FaultKind(
        "resource", "every pooled connection is in use and callers wait for one"
    ),
    "disk_full": FaultKind("resource", "a volume has no space left and writes fail"),
    "cpu_throttled": FaultKind("resource", "the CPU quota is used up and the scheduler pauses the process"),
    "file_descriptors_exhausted": FaultKind(
        "resource", "no file descriptor is left for another socket or file"
    ),
    "thread_pool_exhausted": FaultKind("resource", "every worker thread is busy and requests queue for one"),
    "slow_disk": FaultKind("resource", "a volume answers reads and writes late"),
    "network_latency": FaultKind(
        "network", "packets are lost or delayed on a link and calls over it become slow"
    ),
    "dns_failure": FaultKind("network", "a host name no longer resolves"),
    "network_partition": FaultKind("network", "a route is gone: the peer is unreachable from one zone"),
    "port_exhaustion": FaultKind("network", "no local port is left for new connections"),
    "network_policy_denied": FaultKind("network", "a firewall rule or network policy drops the traffic"),
    "timeout_too_short": FaultKind(
        "configuration", "a caller's deadline is shorter than the callee's normal latency"
    ),
    "wrong_endpoint": FaultKind("configuration", "a client is configured with a wrong address or port"),
    "rate_limit_too_low": FaultKind(
        "configuration", "a limit below normal traffic makes a service reject good requests"
    ),
    "certificate_expired": FaultKind(
        "configuration", "a TLS certificate was not renewed and handshakes fail"
    ),
    "feature_flag_misfire": FaultKind("configuration", "a flag turned on a path that was not ready"),
    "credentials_rejected": FaultKind(
        "configuration", "a password or token was changed and its user still presents the old one"
    ),
    "code_regression": FaultKind("code", "a released version handles an input wrongly"),
    "lock_contention": FaultKind("code", "requests queue behind one lock held for too long"),
    "retry_storm": FaultKind(
        "code", "a client retries without backoff and multiplies the load on its callee"
    ),
    "process_hang": FaultKind("code", "a process takes requests, answers none and writes nothing more"),
    "performance_regression": FaultKind("code", "a released version needs far longer for the same work"),
    "external_api_down": FaultKind("dependency", "a third party outside the system fails or refuses"),
    "cache_failure": FaultKind(
        "dependency", "a cache is lost or evicts everything and its origin takes all the load"
    ),
    "queue_backlog": FaultKind("dependency", "a consumer falls behind and messages are handled late"),
    "leader_lost": FaultKind("dependency", "a replicated store or queue has no leader and refuses work"),
    "poison_message": FaultKind(
        "dependency", "one message that cannot be handled is redelivered and blocks those behind it"
    ),
    "schema_mismatch": FaultKind(
        "data", "a producer changed a field that its consumers still read the old way"
    ),
    "corrupt_record": FaultKind("data", "damaged stored records break whoever reads them"),
    "missing_index": FaultKind("data", "a migration dropped an index and queries scan whole tables"),
    "replication_lag": FaultKind("data", "a replica that serves reads is far behind"),
    "pod_crash_loop": FaultKind("platform", "a process ends right after each start"),
    "node_pressure": FaultKind("platform", "the node is overloaded by others"),
    "probe_misconfigured": FaultKind(
        "platform", "a wrong health check takes healthy instances out of service"
    ),
    "replicas_too_few": FaultKind("platform", "too few instances run for the normal load"),
    "batch_overload": FaultKind("platform", "a batch job takes all of a store and everybody else waits"),
    "clock_drift": FaultKind("platform", "a clock is wrong and peers refuse what it signs"),
}
"""The fault types a generated scenario can hold. A hand-written scenario may name another one."""
