"""Faults between services, as data: network, configuration and dependency faults. Read `faults` for the
fields.
"""

from __future__ import annotations

from chaos.faults import CALLEES, Fault, Strike

_LINK = (
    "{mid} % of segments to {peer} sent again, round trip {long} ms",
    "round trip to {peer} {long} ms, was {k} ms an hour ago",
    "interface eth1 dropped {big} packets in 60 s, errors on receive",
    "socket to {peer}: {n} resends in a row, window down to {k} KB",
    "link probe to {peer}: loss {mid} %, jitter {ms} ms",
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
_PARTNER = (
    "partner {partner} answered 503 to {n} of {n2} requests",
    "status page of {partner}: major outage since {clock}, region {k}",
    "{partner} hung up before reply, {n} times in 60 s",
    "partner {partner} refuses our account, code 403, {n} calls",
    "no reply from {partner} within {long} ms, {n} in a row",
)

FAULTS = (
    Fault(
        "network_latency",
        (
            Strike(
                "slow_link",
                ("service", "worker", "edge"),
                _LINK,
                "packets to {peer} are lost or delayed on the link and calls over it become slow",
            ),
            Strike(
                "slow_self",
                CALLEES,
                _LINK,
                "packets are lost or delayed on its network link and its answers become slow",
            ),
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
        "external_api_down",
        (
            Strike(
                "fail_self", ("gateway",), _PARTNER, "the third party {partner} fails or refuses", weight=0.7
            ),
            Strike(
                "slow_self", ("gateway",), _PARTNER, "the third party {partner} no longer answers", weight=1.5
            ),
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
)
