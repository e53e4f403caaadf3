"""What services write: routine lines, what victims say about their peers, and harmless noise. Data, with one
small filler.

A victim's line names the peer it concerns: that is the thread an investigator follows. Decisive lines are in
`catalogue`.
"""

from __future__ import annotations

ROUTINE: dict[str, tuple[str, ...]] = {
    "edge": ("answered {code} in {ms} ms", "session {hex} continued", "request accepted, {k} headers"),
    "service": (
        "{op} done in {ms} ms",
        "{op} for customer {n} finished",
        "answer sent, {n} bytes",
        "input checked, {k} fields",
    ),
    "worker": ("message {hex} handled in {ms} ms", "job {hex} done, {k} steps", "acknowledged {k} messages"),
    "store": ("{k} rows in {ms} ms", "committed {k} rows", "statement {hex} took {ms} ms"),
    "cache": ("served {n} of {n2} keys", "lookup took {k} ms", "kept {n} new keys"),
    "queue": ("message {hex} accepted", "message {hex} delivered after {ms} ms", "{k} messages waiting"),
    "gateway": ("partner answered in {ms} ms", "outside call {hex} finished", "signed request {hex} sent"),
}
JOBS = (
    "health check passed in {k} ms",
    "sent {n} metrics",
    "heartbeat {hex} ok",
    "cleaned {k} old sessions",
    "clock offset {k} ms",
)

FAILED = (
    "call to {peer} failed: {reason}",
    "{peer} did not answer: {reason}",
    "request to {peer} given up: {reason}",
    "no usable reply from {peer}: {reason}",
)
DELIVERY = ("delivery to {peer} failed: {reason}", "message not taken by {peer}: {reason}")
RETRIED = ("call to {peer} failed, trying again: {reason}", "second try for {peer} after {reason}")
FALLBACK = (
    "answering without {peer}: {reason}",
    "old copy used instead of {peer}: {reason}",
    "part from {peer} left out: {reason}",
)
SLOW = ("{peer} took {ms} ms, usual is {k} ms", "slow answer from {peer}: {ms} ms")
CIRCUIT = ("circuit to {peer} open after {k} failures", "stopped calling {peer} for {n} s after {k} failures")
EDGE_FAILED = (
    "answered {code} after {ms} ms",
    "user got {code} after {ms} ms",
    "request ended with {code}, {ms} ms",
)
CANCELLED = ("request of {peer} cancelled after {ms} ms", "{peer} hung up before the answer, {ms} ms")
REFUSED = (
    "refused request from {peer}: {field} not acceptable",
    "bad input from {peer}: {field} missing in {k} parts",
    "request from {peer} failed validation, {k} problems",
)
UNREADABLE = (
    "cannot read answer of {peer}: {field} not understood",
    "answer of {peer} failed parsing at byte {n}",
    "reply from {peer} dropped: {field} has unexpected form",
)
MISSED = (
    "{n2} of 100 lookups at {peer} missed",
    "{peer} had nothing for {n2} of 100 keys",
    "{n2} misses in a row at {peer}",
)
FLOODED: dict[str, tuple[str, ...]] = {
    "": (
        "inbound rate from {peer} {k} times the usual",
        "{n2} % of requests come from {peer}",
        "work queue at {big}, mostly calls from {peer}",
    ),
    "connection_pool_exhausted": (
        "no session free, {n2} % held by {peer}",
        "session table full, {n} sessions belong to {peer}",
    ),
    "lock_contention": (
        "statement waits for rows locked by {peer}, {long} ms",
        "{n} statements wait for a transaction of {peer}",
    ),
}

MISHAPS = (
    "mail to customer {n} came back, mailbox unknown",
    "login refused for user {big}, wrong password {k} times",
    "picture {hex} could not be resized, format unknown",
    "cleanup of /tmp skipped {k} files, permission denied",
    "report {rev} produced with {k} empty pages",
    "phone number of customer {n} not valid, message skipped",
    "customer {n} sent empty form, {k} fields missing",
    "debug endpoint called from {host}, denied",
    "upload {hex} aborted by user after {n} KB",
    "cookie of session {hex} could not be decoded",
    "export {rev} stopped by operator at {n} %",
    "coupon {hex} not known, order goes on without",
    "address of customer {n} could not be matched",
    "metrics push failed after {ms} ms, {k} samples dropped",
    "feed of exchange rates is {n} min old",
    "thumbnail job {hex} crashed once, started again",
    "sandbox key used {k} times, refused",
    "spell check for text {big} failed, shown as is",
)
"""Unrelated troubles, at any level."""
ODDITIES = (
    "token of session {hex} too old, asked to sign in again",
    "slow query {ms} ms, {n} rows",
    "clock moved back {k} ms by time daemon",
    "instance {k} drained for maintenance, {few} remain",
    "autoscaler added {few} instances, target load {calm} %",
    "unknown header x-{hex} ignored in {n} requests",
    "translation for text {big} missing, default used",
    "secret rotated, version {n} in use",
    "thread pool resized from {k} to {n}",
    "deprecated option fast_start used in line {n}",
    "duplicate request {hex} ignored",
    "license check took {ms} ms, answer kept for {n} min",
    "audit entry {hex} written twice",
    "backup {rev} took {n} min, usual is {k}",
    "unit conversion rounded {k} values",
)
"""Things worth a note, never an ERROR; the catalogue's mild lines come on top."""
TRANSIENT = (
    "call to {peer} needed a second try, {short} ms lost",
    "one slow answer from {peer}, {ms} ms, then normal",
)

TROUBLE: dict[str, tuple[str, ...]] = {
    "error": (
        "{Flow} fails for many users",
        "customers report error pages when {flow}",
        "{Flow} often ends with an error page",
        "support has {n} complaints about {flow}: it does not work",
        "{Flow} does not go through for part of the users",
    ),
    "slow": (
        "{Flow} takes far too long",
        "users wait very long when {flow}",
        "{Flow} hangs, then ends with an error",
        "support has {n} complaints about {flow}: the page keeps loading",
    ),
    "partial": (
        "{Flow} works, but parts of the page are missing",
        "users see incomplete pages when {flow}",
        "{Flow} shows old or missing data",
    ),
}
REPORTS = (
    "{trouble}.",
    "Please look into this: {trouble}.",
    "{trouble}. Nobody here changed anything on purpose.",
    "Page for on-call: {trouble}.",
)
ENTRANCE = (" Users come in through {edge}.", " The entry service is {edge}.", " Alarm raised on {edge}.")
HINTS = ("{at}", "{at}", "{at} or a bit later", "{at} or a bit earlier")
"""Read after the word about."""
