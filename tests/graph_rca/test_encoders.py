"""The encoder of log lines: it learns from masked templates, goes on after a kill, and
numpy reads what torch wrote.
"""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from core.sentence_encoder import Encoder
from project_types import ConfigurationError
from tests.builders.generated import one

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("torch_geometric") is None, reason="needs the extra graph"),
]
LINES = [f"{verb} {noun} of Service {how}" for verb in ("opened", "closed", "lost", "retried", "refused")
         for noun in ("connection", "session", "lease", "queue", "lock", "file", "page")
         for how in ("after # ms", "in time", "at #", "twice", "by hand", "again", "too late")]  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder that saw a scenario and a text of 245 lines for two epochs."""
    from graph_rca.__main__ import main

    folder = tmp_path_factory.mktemp("encoder")
    (folder / "scenario-1.json").write_text(one(1, "disk_full").model_dump_json(), encoding="utf-8")
    (folder / "lines.txt").write_text("\n".join(LINES), encoding="utf-8")
    asked = ["encoder", str(folder), "--text", str(folder / "lines.txt"), "--out", str(folder / "out")]
    assert main([*asked, "--epochs", "2"]) == 0
    return folder / "out"


def test_an_encoder_comes_with_a_card_and_learns(trained: Path) -> None:
    card = json.loads((trained / "card.json").read_text(encoding="utf-8"))
    first, last = card["epochs"]
    assert last["train_loss"] < first["train_loss"]
    assert card["templates"]["text"] == len(LINES)
    assert card["templates"]["scenarios"] > 50
    assert sorted(path.name for path in trained.iterdir()) == [
        "card.json", "config.json", "model.safetensors", "tokenizer.json",
    ]  # fmt: skip


def test_numpy_reads_what_torch_trained(tmp_path: Path) -> None:
    import torch

    from graph_rca.encoder_training import MaskedTemplates, Shape, tokenizer_of, write

    tokenizer = tokenizer_of(LINES, Shape())
    shape = Shape(vocabulary=tokenizer.get_vocab_size(), hidden=32, layers=2)
    model = MaskedTemplates(shape).eval()
    ids = tokenizer.encode(LINES[0]).ids
    with torch.no_grad():
        expected = model.hidden(torch.tensor([ids]))[0].mean(0)
    write(tmp_path, model, tokenizer)
    read = Encoder(tmp_path).encode([LINES[0]])[0]
    np.testing.assert_allclose(read, expected / expected.norm(), atol=1e-5)


def test_a_killed_training_goes_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    import torch

    from graph_rca.encoder_training import Epoch, Plan, Shape, bert_tensors, tokenizer_of, train

    class Killed(Exception):
        """Stands for the kill."""

    def kill(_: Epoch) -> None:
        if not (tmp_path / "state").exists():
            return
        raise Killed

    tokenizer = tokenizer_of(LINES, Shape())
    ids = [found.ids for found in tokenizer.encode_batch(LINES)]
    shape, plan = Shape(vocabulary=tokenizer.get_vocab_size(), hidden=16, layers=1), Plan(epochs=3)
    whole = train(ids[10:], ids[:10], shape, plan)
    with pytest.raises(Killed):
        train(ids[10:], ids[:10], shape, plan, resume=tmp_path / "state", tell=kill)
    again = train(ids[10:], ids[:10], shape, plan, resume=tmp_path / "state")
    assert [found.number for found in again.epochs] == [1, 2, 3]
    both = zip(bert_tensors(whole.model).values(), bert_tensors(again.model).values(), strict=True)
    assert all(torch.equal(first, second) for first, second in both)


def test_a_fifth_of_the_words_is_masked_and_no_mark_of_the_tokenizer() -> None:
    import torch

    from graph_rca.encoder_training import MASK, masked

    ids = torch.tensor([[2, *range(5, 105), 3]] * 50)
    seen, wanted = masked(ids, 200, torch.Generator().manual_seed(1))
    chosen = wanted >= 0
    assert not chosen[:, [0, -1]].any()
    assert 0.17 < chosen.double().mean() < 0.23
    assert torch.equal(wanted[chosen], ids[chosen])
    assert torch.equal(seen[~chosen], ids[~chosen])
    assert 0.75 < (seen[chosen] == MASK).double().mean() < 0.85


def test_too_few_templates_are_refused(tmp_path: Path) -> None:
    from graph_rca.__main__ import main

    (tmp_path / "scenario-1.json").write_text(
        one(1, "disk_full").model_copy(update={"logs": ()}).model_dump_json(), encoding="utf-8"
    )
    assert main(["encoder", str(tmp_path), "--out", str(tmp_path / "out")]) == 2


@pytest.mark.parametrize("name", ["bert", "minilm,bert"])
def test_an_encoder_that_does_not_exist_is_refused(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from graph_rca.__main__ import main

    assert main(["encode", "train", "--encoder", name, "--out", str(tmp_path / "x.npz")]) == 2
    assert "bert is not known; known are none, minilm, templates" in capsys.readouterr().err


def test_a_network_reads_the_vectors_that_it_learnt_from(tmp_path: Path) -> None:
    from graph_rca.dataset import labelled, load, save
    from graph_rca.model import Settings
    from graph_rca.rank import ranked
    from graph_rca.train import Plan, train
    from graph_rca.weights import Member, load_ensemble, save_ensemble

    scenario = one(1, "disk_full")
    item = labelled(scenario, encoders=["templates"])
    assert item is not None
    save([item], tmp_path / "one.npz")
    kept = load(tmp_path / "one.npz")
    vectors = kept[0].graph.vectors["templates"]
    assert vectors.shape == (len(scenario.services), 64)
    assert np.abs(vectors).sum() > 0
    done = train(kept, kept, Settings("own", encoder="templates", vectors=2), Plan(epochs=1))
    weights = tmp_path / "own.safetensors"
    save_ensemble([Member(done.model, done.projection)], weights, {})
    ensemble = load_ensemble(weights)
    assert ensemble.encoders == {"templates"}
    assert ranked(scenario.incident, ensemble).probabilities.sum() == pytest.approx(1)
    with pytest.raises(ConfigurationError, match="no vectors of minilm"):
        train(kept, kept, Settings("own", encoder="minilm", vectors=2), Plan(epochs=1))


def test_a_network_refuses_another_encoder(tmp_path: Path) -> None:
    from graph_rca.model import Ranker, Settings
    from graph_rca.weights import Member, load_ensemble, save_ensemble

    weights = tmp_path / "own.safetensors"
    save_ensemble([Member(Ranker(Settings("own")))], weights, {"encoders": {"templates": "0" * 64}})
    with pytest.raises(ConfigurationError, match="learnt with another encoder 'templates'"):
        load_ensemble(weights)
