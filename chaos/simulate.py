"""Runs requests through a world while a fault acts, and records spans and log rows: cause and effect, no
scripting of symptoms.

A request walks its call tree. The fault changes what happens at the culprit or on its calls; deadlines,
retries and fallbacks carry the effect to the callers, and each service logs what it sees. Decisive lines,
noise and ids are added later (`noise`, `compose`). Times are milliseconds from the start of the window.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field

from chaos import phrases
from chaos.faults import Fault, Strike, Values
from chaos.topologies import Call, Flow
from chaos.world import World


@dataclass(slots=True, eq=False)
class SpanRow:
    """One operation inside a request. `parent` is None for the root."""

    service: str
    operation: str
    start_ms: float
    parent: SpanRow | None
    duration_ms: float = 0.0
    status: str = "ok"


@dataclass(slots=True, eq=False)
class Request:
    """One user action: its spans, and whether the fault touched it."""

    flow: Flow
    at_ms: float
    spans: list[SpanRow] = field(default_factory=list)
    affected: bool = False
    failed: bool = False
    degraded: bool = False


@dataclass(slots=True, eq=False)
class Row:
    """One log row. `kind` says why it exists: routine, symptom, decisive, herring, decoy."""

    at_ms: float
    service: str
    level: str
    message: str
    kind: str
    request: Request | None = None
    span: SpanRow | None = None


@dataclass(frozen=True)
class Reply:
    """What a caller sees of one call."""

    ms: float
    status: str = "ok"
    reason: str = ""


@dataclass(frozen=True)
class Plan:
    """The fault of this scenario: who is struck, when, and how hard. `peer` is the other service concerned."""

    fault: Fault
    strike: Strike
    culprit: str
    peer: str
    values: Values
    onset_ms: float
    share: float
    """Share of the requests that reach the fault and are hit by it."""
    late_ms: tuple[float, float]
    """How much later slowed work ends."""
    ends_ok: bool
    """Abandoned callees finish their span as ok (their own view) instead of timeout (their caller's view)."""
    inferred: bool
    """Callers record a failed span for a callee that they could not reach."""
    victims: tuple[str, ...] = ()
    """Stores behind a cold cache."""


class Simulation:
    """One run; `rows` and `requests` grow as requests are sent through."""

    def __init__(self, world: World, plan: Plan, rng: random.Random, chatter: float) -> None:
        self.world, self.plan, self.rng, self.chatter = world, plan, rng, chatter
        self.rows: list[Row] = []
        self.requests: list[Request] = []
        self.failures: Counter[tuple[str, str]] = Counter()
        self.notes: Counter[str] = Counter()
        self.fill = Values(rng)
        self.fails_fast = rng.random() < 0.5

    def send(self, flow: Flow, at_ms: float) -> None:
        """Run one request."""
        request = Request(flow, at_ms)
        reply = self._serve(flow.root, at_ms, None, request)
        request.failed = reply.status != "ok"
        self.requests.append(request)

    # ---------------------------------------------------------------------------------------------- one
    # operation

    def _serve(self, node: Call, at: float, parent: SpanRow | None, request: Request) -> Reply:
        habit, role = self.world.habits[node.service], self.world.role(node.service)
        span = SpanRow(node.service, node.operation, at, parent)
        request.spans.append(span)
        elapsed = habit.base_ms * self.rng.lognormvariate(0.0, 0.35)
        late, reason = self._struck(node, at, request, span)
        elapsed += late
        if not reason:
            for child in node.children:
                reply = self._call(node, child, at + elapsed, span, request)
                elapsed += reply.ms
                if reply.status != "ok":
                    reason = (
                        "status 504"
                        if reply.status == "timeout"
                        else self.rng.choice(("status 500", "status 502"))
                    )
                    break
        span.duration_ms, span.status = elapsed, "error" if reason else "ok"
        if role == "edge" and reason:
            code = reason.removeprefix("status ")
            self._say(
                phrases.EDGE_FAILED,
                at + elapsed,
                node.service,
                "ERROR",
                request,
                span,
                code=code,
                ms=round(elapsed),
            )
        elif not reason and self.rng.random() < self.chatter:
            self._routine(node, at + elapsed, request, span)
        return Reply(elapsed, span.status, reason)

    def _struck(self, node: Call, at: float, request: Request, span: SpanRow) -> tuple[float, str]:
        """What the fault adds while `node` works: (delay in ms, reason of its failure or '')."""
        plan = self.plan
        how = plan.strike.mechanism
        sufferer = (
            node.service == plan.culprit
            if how in ("slow_self", "fail_self")
            else (
                (how == "flood" and node.service == plan.peer)
                or (how == "cold_cache" and node.service in plan.victims)
            )
        )
        if not sufferer or not self._hit(at):
            return 0.0, ""
        request.affected = True
        if how == "fail_self":
            return self.rng.uniform(0, 300), self.rng.choice(("status 500", "status 503"))
        if how == "slow_self":
            return self.rng.uniform(*plan.late_ms), ""
        about = plan.culprit if how == "flood" else self._caller(span)
        if about != node.service and self._often(node.service, 5):
            wordings = phrases.FLOODED.get(plan.fault.name, phrases.FLOODED[""])
            self._say(wordings, at, node.service, self._soft(), request, span, peer=self.world.names[about])
        if how == "flood" and self.fails_fast:
            return self.rng.uniform(5, 200), plan.strike.reason
        return self.rng.uniform(*plan.late_ms), ""

    def _caller(self, span: SpanRow) -> str:
        return span.parent.service if span.parent else span.service

    # ------------------------------------------------------------------------------------------------- one
    # call

    def _call(self, node: Call, child: Call, at: float, span: SpanRow, request: Request) -> Reply:
        policy = self.world.policies[node.service, child.service]
        spent, reply = 0.0, Reply(0.0)
        tries = self._tries(node, child, at, policy.tries)
        for number in range(tries):
            reply = self._try(node, child, at + spent, span, request)
            if reply.ms > policy.deadline_ms:
                if request.spans[-1] is not span and not self.plan.ends_ok:
                    self._mark_timeout(child, span, request)
                reply = Reply(policy.deadline_ms, "timeout", f"deadline {policy.deadline_ms} ms exceeded")
            spent += reply.ms
            if reply.status == "ok":
                if reply.ms > 900:
                    self._about(
                        phrases.SLOW, node, child, at + spent, "WARN", request, span, ms=round(reply.ms)
                    )
                return Reply(spent)
            if number + 1 < tries and self._often(f"{node.service} retries", 20):
                self._about(
                    phrases.RETRIED, node, child, at + spent, "WARN", request, span, reason=reply.reason
                )
        return self._failed(node, child, at, span, request, Reply(spent, reply.status, reply.reason))

    def _tries(self, node: Call, child: Call, at: float, usual: int) -> int:
        plan = self.plan
        wild = plan.fault.name == "retry_storm" and (node.service, child.service) == (plan.culprit, plan.peer)
        return 4 if wild and at >= plan.onset_ms else usual

    def _failed(
        self, node: Call, child: Call, at: float, span: SpanRow, request: Request, reply: Reply
    ) -> Reply:
        end = at + reply.ms
        if self.world.policies[node.service, child.service].fallback:
            request.degraded = True
            self._about(phrases.FALLBACK, node, child, end, "WARN", request, span, reason=reply.reason)
            return Reply(reply.ms)
        wordings = phrases.DELIVERY if self.world.role(node.service) == "queue" else phrases.FAILED
        level = self.world.habits[node.service].failure_level
        if reply.reason != "unreadable":
            self._about(wordings, node, child, end, level, request, span, reason=reply.reason)
        self.failures[node.service, child.service] += 1
        if self.failures[node.service, child.service] == 4 and self.world.habits[node.service].style % 3:
            self._about(phrases.CIRCUIT, node, child, end + 3, "WARN", request, span)
        return reply

    def _try(self, node: Call, child: Call, at: float, span: SpanRow, request: Request) -> Reply:
        """One attempt, with what the fault does to this call."""
        plan, how = self.plan, self.plan.strike.mechanism
        if (
            how == "cold_cache"
            and child.service == plan.culprit
            and self._hit(at)
            and self._often(node.service, 4)
        ):
            self._about(phrases.MISSED, node, child, at + 4, self._soft(), request, span)
        to_culprit = child.service == plan.culprit and how in ("unreached", "bad_response")
        to_peer = (node.service, child.service) == (plan.culprit, plan.peer) and how in (
            "caller_edge",
            "caller_deadline",
            "slow_link",
            "bad_request",
        )
        if not (to_culprit or to_peer) or not self._hit(at):
            return self._serve(child, at, span, request)
        request.affected = True
        if how in ("unreached", "caller_edge"):
            took = self.rng.uniform(2, 160)
            if plan.inferred:
                request.spans.append(SpanRow(child.service, child.operation, at, span, took, "error"))
            return Reply(took, "error", plan.strike.reason)
        if how == "bad_request":
            return self._refuse(node, child, at, span, request)
        reply = self._serve(child, at, span, request)
        if reply.status != "ok":
            return reply
        if how == "slow_link":
            return Reply(reply.ms + self.rng.uniform(*plan.late_ms))
        if how == "bad_response":
            about = {"field": plan.values["field"]}
            self._about(
                phrases.UNREADABLE,
                node,
                child,
                at + reply.ms,
                self.world.habits[node.service].failure_level,
                request,
                span,
                **about,
            )
            return Reply(reply.ms, "error", "unreadable")
        return self._abandon(node, child, at, request)

    def _refuse(self, node: Call, child: Call, at: float, span: SpanRow, request: Request) -> Reply:
        """The callee rejects what the culprit sent."""
        took = self.rng.uniform(2, 40)
        refused = SpanRow(child.service, child.operation, at, span, took, "error")
        request.spans.append(refused)
        about = {"peer": self.world.names[node.service], "field": self.plan.values["field"]}
        self._say(
            phrases.REFUSED,
            at + took,
            child.service,
            self.world.habits[child.service].failure_level,
            request,
            refused,
            **about,
        )
        return Reply(took, "error", "status 400")

    def _abandon(self, node: Call, child: Call, at: float, request: Request) -> Reply:
        """The culprit stops waiting long before the callee's usual latency has passed."""
        deadline = int(str(self.plan.values["deadline"]))
        callee = next(span for span in reversed(request.spans) if span.service == child.service)
        callee.duration_ms += deadline + self.rng.uniform(60, 400)
        if not self.plan.ends_ok:
            callee.status = "error"
        if self._often(child.service, 4):
            about = {"peer": self.world.names[node.service], "ms": deadline}
            self._say(phrases.CANCELLED, at + deadline, child.service, self._soft(), request, callee, **about)
        return Reply(deadline, "timeout", f"deadline {deadline} ms exceeded")

    def _mark_timeout(self, child: Call, span: SpanRow, request: Request) -> None:
        for late in reversed(request.spans):
            if late.parent is span and late.service == child.service:
                late.status = "timeout" if late.status == "ok" else late.status
                return

    # ------------------------------------------------------------------------------------------------- what
    # is said

    def _hit(self, at: float) -> bool:
        return at >= self.plan.onset_ms and self.rng.random() < self.plan.share

    def _often(self, who: str, most: int) -> bool:
        """Whether `who` makes its note again: the first `most` times."""
        self.notes[who] += 1
        return self.notes[who] <= most

    def _soft(self) -> str:
        return "INFO" if self.rng.random() < 0.25 else "WARN"

    def _about(
        self,
        wordings: tuple[str, ...],
        node: Call,
        child: Call,
        at: float,
        level: str,
        request: Request,
        span: SpanRow,
        **known: object,
    ) -> None:
        self._say(
            wordings, at, node.service, level, request, span, peer=self.world.names[child.service], **known
        )

    def _say(
        self,
        wordings: tuple[str, ...],
        at: float,
        service: str,
        level: str,
        request: Request,
        span: SpanRow,
        **known: object,
    ) -> None:
        wording = wordings[self.world.habits[service].style % len(wordings)]
        message = wording.format_map(Values(self.rng, **known))
        self.rows.append(Row(at, service, level, message, "symptom", request, span))

    def _routine(self, node: Call, at: float, request: Request, span: SpanRow) -> None:
        wordings = phrases.ROUTINE[self.world.role(node.service)]
        style = self.world.habits[node.service].style
        wording = wordings[(style + (self.rng.random() < 0.3)) % len(wordings)]
        known = {
            "op": node.operation.split("/")[0].strip(),
            "ms": max(1, round(span.duration_ms)),
            "code": 200,
            "peer": "",
        }
        message = wording.format_map(Values(self.rng, **known))
        self.rows.append(Row(at, node.service, "INFO", message, "routine", request, span))
