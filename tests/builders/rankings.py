"""A finding of the graph ranker, for tests that show one."""

from __future__ import annotations

from datetime import UTC, datetime

from graph_rca.findings import Arrow, Because, Drawing, Finding, Node, Suspect
from project_types import Evidence

HOSTILE = '<script>alert(1)</script>"'


def finding(incident: str, first: str = "db") -> Finding:
    """db stopped in the second of three moments; cart, which calls it, in the third."""
    nodes = (
        Node(service=first, x=230, y=40, probability=0.9, rank=1),
        Node(service="cart", x=20, y=40, probability=0.1, rank=2),
    )
    arrows = (Arrow(x1=170, y1=58, x2=230, y2=58, on_path=True),)
    times, scores = ("14:00:05", "14:00:15", "14:00:25"), ((0.0, 9.0, 9.0), (0.0, 0.5, 8.0))
    cited = (Evidence(kind="metric", id="db/cpu"),)
    why = Because(without="metrics", drop=0.6, text="cpu fell from 40 to 0", evidence=cited)
    call = Because(without="call cart -> db", drop=0.1, text="80 % of these calls fail", attention=0.25)
    return Finding(
        incident=incident, title=HOSTILE, at=datetime(2026, 3, 4, 14, 1, tzinfo=UTC), noticed="14:00:15", ranker="gat",
        milliseconds=31, missing=("no logs",), path=(first, "cart"),
        services=(Suspect(service=first, probability=0.9, reasons=(why, call)), Suspect(service="cart", probability=0.1)),
        drawing=Drawing(width=420, height=120, nodes=nodes, arrows=arrows, times=times, scores=scores),
    )  # fmt: skip
