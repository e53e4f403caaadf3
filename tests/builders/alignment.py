"""A folder of the alignment room as people leave it: adapters that were gated, and
pairs that two of them judged.
"""

from __future__ import annotations

from pathlib import Path

from alignment.adapters import Registry
from alignment.annotation import Annotation
from alignment.gates import Gate
from alignment.generator import generate
from alignment.measurements import Gated, Verdict, keep
from alignment.pairs import from_cases
from alignment.preferences import write
from core.intervals import share_of

HOSTILE = "<script>alert(1)</script>"


def write_room(folder: Path) -> Path:
    """Write `judged@v1` in production, `judged@v2` refused, `judge@v1` with slices, and
    judgements of meg and owen.
    """
    registry = Registry(folder / "adapters")
    source = folder / "trained"
    source.mkdir(parents=True)
    (source / "state.json").write_text("{}")
    facts = {"base_model": "random", "base_sha256": "ab" * 32, "settings": {"beta": 0.1, "note": HOSTILE}}
    for name, kind, value in (("judged", "dpo", 0.8), ("judged", "dpo", 0.2), ("judge", "reward", 0.0)):
        card = registry.add(source, name, facts | {"kind": kind, "metrics": {"loss": 0.25}})
        if kind == "dpo":
            gate = Gate("correctness", value, 0.5, at_most=False)
            keep(registry, card.full_name, Gated(against="warm@v1", gates=(gate,)))
    slices = {
        "all": {"model": share_of(36, 40), "longer wins": share_of(20, 40)},
        "unseen types": {"model": share_of(11, 20), "longer wins": share_of(10, 20)},
    }
    refusals = ("unseen types: accuracy 0.55 is below 0.70",)
    keep(registry, "judge@v1", Verdict(accuracy=slices, calibration=0.12, refusals=refusals))
    registry.promote("judged@v1", by="meg")
    _judge(folder)
    return folder


def _judge(folder: Path) -> None:
    write(folder / "pairs.jsonl", from_cases(generate("train", 4)))
    annotation = Annotation(folder)
    for by in ("meg", "owen"):
        for _ in range(3):
            if (shown := annotation.next(by)) is not None:
                annotation.judge(by, shown.pair.id, "left" if by == "meg" else "tie", shown.turned)
