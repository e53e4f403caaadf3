"""The systems that can break: services with roles, and the call trees of what users and jobs do with them.

`data/systems.txt` holds blocks that start with `# name`, optionally `(held out)`: such a system occurs only
in the unseen part of the test split. Then come `role: service service ...` lines, and flows: `> what the user
does`, followed by the call tree, one call a line, indented by two spaces, `service operation`. The service
words are internal keys; a scenario shows drawn names instead (`world`). `grow` puts several blocks together
to one larger system and adds what runs without a user: a prober and jobs.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from typing import Literal

from chaos.faults import DATA

ROLES = ("edge", "service", "worker", "store", "cache", "queue", "gateway", "job")
"""edge: takes users' requests. gateway: talks to a third party outside the system. job: starts work by
itself. The rest mean what they say.
"""
Kind = Literal["user", "drill", "job"]


@dataclass(frozen=True)
class Call:
    """One call of a flow: `service` runs `operation`, and makes the `children` calls in order."""

    service: str
    operation: str
    children: list[Call] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Node:
    """A call with its place in its flow: `index` counts depth first."""

    index: int
    call: Call
    parent: Node | None
    children: list[Node] = field(default_factory=list)

    @cached_property
    def service(self) -> str:
        """The key of the service that is called."""
        return self.call.service


@dataclass(frozen=True)
class Flow:
    """What a user does, and the call tree behind it. A drill is a prober's copy of a user's flow."""

    purpose: str
    root: Call
    kind: Kind = "user"

    @cached_property
    def nodes(self) -> list[Node]:
        """Every call of the flow, depth first; the root comes first."""
        found: list[Node] = []

        def walk(call: Call, parent: Node | None) -> None:
            node = Node(len(found), call, parent)
            found.append(node)
            if parent:
                parent.children.append(node)
            for child in call.children:
                walk(child, node)

        walk(self.root, None)
        return found

    @cached_property
    def edges(self) -> frozenset[tuple[str, str]]:
        """Every (caller, callee) in it."""
        return frozenset((node.parent.service, node.service) for node in self.nodes if node.parent)

    @cached_property
    def services(self) -> frozenset[str]:
        """Every service in it."""
        return frozenset(node.service for node in self.nodes)


@dataclass(frozen=True)
class Topology:
    """A system: `roles` maps service keys to roles, in the order of the text."""

    name: str
    held_out: bool
    roles: dict[str, str]
    flows: list[Flow]

    @cached_property
    def edges(self) -> list[tuple[str, str]]:
        """Every caller → callee pair once, in order of first appearance."""
        pairs = [
            (node.parent.service, node.service)
            for flow in self.flows
            for node in flow.nodes
            if node.parent is not None
        ]
        return list(dict.fromkeys(pairs))

    @cached_property
    def depths(self) -> dict[str, int]:
        """How many calls lie between the user and each service, at the most; jobs and
        what only they call lack.
        """
        found: dict[str, int] = {}
        for flow in self.flows:
            for node in flow.nodes if flow.kind == "user" else ():
                depth, above = 0, node.parent
                while above:
                    depth, above = depth + 1, above.parent
                found[node.service] = max(depth, found.get(node.service, 0))
        return found


# ---------------------------------------------------------------------------------------- reading the systems


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
    return parse((DATA / "systems.txt").read_text(encoding="utf-8"))


# --------------------------------------------------------------------------------------------- larger systems

PARTS = ((1, 0.88), (2, 0.07), (3, 0.03), (4, 0.02))
"""How many blocks a system is made of, and how often. Four blocks have 30 to 50 services."""
MOST_DRILLS = 4


def grow(bases: Sequence[Topology], rng: random.Random) -> Topology:
    """One system made of the given blocks, with a prober and one to three jobs."""
    roles: dict[str, str] = {}
    flows: list[Flow] = []
    for number, base in enumerate(bases):
        keys = {key: f"{key}{number}" if key in roles else key for key in base.roles}
        roles.update({keys[key]: role for key, role in base.roles.items()})
        flows += [replace(flow, root=_renamed(flow.root, keys)) for flow in base.flows]
    users = list(flows)
    for flow in rng.sample(users, min(len(users), MOST_DRILLS)):
        flows.append(Flow(flow.purpose, Call("prober", f"check {flow.root.operation}", [flow.root]), "drill"))
    roles["prober"] = "job"
    for number in range(1 + min(2, len(users) // 4)):
        roles[f"job{number}"] = "job"
        flows.append(_job(f"job{number}", users, rng))
    return Topology("+".join(base.name for base in bases), bases[0].held_out, roles, flows)


def _renamed(call: Call, keys: dict[str, str]) -> Call:
    return Call(keys[call.service], call.operation, [_renamed(child, keys) for child in call.children])


def _job(name: str, users: Sequence[Flow], rng: random.Random) -> Flow:
    """A job that does what two inner services do for users."""
    inner = [node.call for flow in users for node in flow.nodes[1:] if node.children]
    chosen = rng.sample(inner, min(len(inner), 2))
    return Flow("a background run", Call(name, "run", chosen), "job")
