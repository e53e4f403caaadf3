"""The systems that can break: services with roles, and the call trees of what users do with them.

A block starts with `# name`, optionally `(held out)`: such a topology occurs only in the unseen part of the
test split. Then come `role: service service ...` lines, and flows: `> what the user does`, followed by the
call tree, one call a line, indented by two spaces, `service operation`. The service words here are internal
keys; a scenario shows drawn names instead (`world`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

from chaos.systems import TEXT

ROLES = ("edge", "service", "worker", "store", "cache", "queue", "gateway")
"""edge: takes users' requests. gateway: talks to a third party outside the system. The rest mean what they
say.
"""


@dataclass(frozen=True)
class Call:
    """One call of a flow: `service` runs `operation`, and makes the `children` calls in order."""

    service: str
    operation: str
    children: list[Call] = field(default_factory=list)


@dataclass(frozen=True)
class Flow:
    """What a user does, and the call tree behind it."""

    purpose: str
    root: Call


@dataclass(frozen=True)
class Topology:
    """A system: `roles` maps service keys to roles, in the order of the text."""

    name: str
    held_out: bool
    roles: dict[str, str]
    flows: list[Flow]

    def edges(self) -> list[tuple[str, str]]:
        """Every caller → callee pair once, in order of first appearance."""
        return list(
            dict.fromkeys(
                (caller.service, callee.service) for flow in self.flows for caller, callee in pairs(flow.root)
            )
        )


def pairs(call: Call) -> list[tuple[Call, Call]]:
    """Every (caller, callee) below `call`, depth first."""
    return [pair for child in call.children for pair in ((call, child), *pairs(child))]


def parse(text: str) -> dict[str, Topology]:
    """Read topologies from text. Raises ValueError naming the line that breaks the format."""
    found: dict[str, Topology] = {}
    current: Topology | None = None
    stack: list[Call] = []
    for line in (line for line in text.splitlines() if line.strip()):
        if line.startswith("# "):
            name = line[2:].split(" (")[0].strip()
            current = found[name] = Topology(name, "(held out)" in line, {}, [])
            continue
        if current is None:
            raise ValueError(f"topology text: {line!r} comes before the first '# name' line")
        if line.startswith("> "):
            current.flows.append(Flow(line[2:].strip(), Call("", "")))
            stack = []
        elif ":" in line and not current.flows:
            role, services = line.split(":")
            if role not in ROLES:
                raise ValueError(f"topology text: {line!r}: role must be one of {', '.join(ROLES)}")
            current.roles.update(dict.fromkeys(services.split(), role))
        else:
            _add_call(current, stack, line)
    return found


def _add_call(topology: Topology, stack: list[Call], line: str) -> None:
    depth = (len(line) - len(line.lstrip())) // 2
    service, operation = line.strip().split(" ", 1)
    if service not in topology.roles or depth > len(stack):
        raise ValueError(f"topology text, {topology.name}: {line!r}: unknown service or indented too far")
    call = Call(service, operation)
    if depth == 0:
        topology.flows[-1] = Flow(topology.flows[-1].purpose, call)
    else:
        stack[depth - 1].children.append(call)
    stack[depth:] = [call]


@cache
def topologies() -> dict[str, Topology]:
    """All shipped topologies by name."""
    return parse(TEXT)
