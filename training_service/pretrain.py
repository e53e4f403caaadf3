"""Make `tiny-investigator` from nothing: scenarios, demonstrations, vocabulary, imitation, measurement, model
card.

    python -m training_service pretrain

Each stage leaves a file in the work folder and is skipped when its file is there, and training continues from
its newest checkpoint, so the command can be killed and called again at any time. The warm start imitates a
deliberately mediocre scripted investigator; reinforcement learning teaches the rest.

Not here: GRPO (`training`), the vocabulary (`vocabulary`), what a document is (`corpus`).
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from core.episode_store.episodes import read_episodes
from core.policies.registry import policy_flag

DEFAULT_OUT = Path(__file__).parent / "weights" / "tiny-investigator"
LAYERS, WIDTH, HEADS, INNER, ROPE_THETA = 4, 256, 4, 704, 1e5


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add every flag of the command."""
    parser.add_argument(
        "--work",
        type=Path,
        default=Path("runs/pretrain"),
        help="work folder, reused when called again (default runs/pretrain)",
    )
    parser.add_argument(
        "--out", type=Path, default=DEFAULT_OUT, help="folder the finished model is written to"
    )
    parser.add_argument(
        "--count",
        type=int,
        default=4000,
        help="scenarios to generate, none of them shipped (default 4000)",
    )
    parser.add_argument("--k", type=int, default=4, help="demonstrations per scenario (default 4)")
    policy_flag(parser, "whom to imitate", default="script:demonstrator")
    parser.add_argument("--tokens", type=float, default=22e6, help="training tokens in all (default 22e6)")
    parser.add_argument(
        "--repeats", type=float, default=4e5, help="of these first, on repeating random strings (default 4e5)"
    )
    parser.add_argument(
        "--drills", type=float, default=0.5, help="share of documents that are copy drills (default 0.5)"
    )
    parser.add_argument(
        "--disguised",
        type=float,
        default=0.3,
        help="share of episodes whose blamed row gets strange words (default 0.3)",
    )
    parser.add_argument(
        "--batch-tokens", type=int, default=4096, help="tokens per optimiser step (default 4096)"
    )
    parser.add_argument(
        "--learning-rate",
        type=float,
        default=2e-3,
        help="peak learning rate of Muon; AdamW has half of it (default 2e-3)",
    )
    parser.add_argument(
        "--sharpen",
        type=float,
        default=1 / 0.7,
        help="factor on the published model's logits (default 1/0.7)",
    )
    parser.add_argument(
        "--questions", type=int, default=256, help="reports the card counts copied ids in (default 256)"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (default: torch's own choice)")


def _run(*command: str) -> None:
    print("+", " ".join(command), flush=True)
    subprocess.run([sys.executable, *command], check=True)


def demonstrations(args: argparse.Namespace) -> Path:
    """Generate scenarios and let the scripted policy investigate them; returns the folder of stored episodes."""
    work: Path = args.work
    scenarios, episodes = work / "scenarios", work / "episodes"
    if not (scenarios / "scenarios.jsonl").exists():
        _run(
            "-m",
            "chaos",
            "generate",
            "--split",
            "pretrain",
            "--count",
            str(args.count),
            "--seed",
            str(args.seed),
            "--out",
            str(scenarios),
        )
    if not (episodes / "summary.json").exists():
        _run(
            "-m", "evaluation", "run", "--policy", args.policy, "--split", str(scenarios), "--k", str(args.k),
            "--out", str(episodes), "--rules", "embedded", "--no-explain",
        )  # fmt: skip
    return episodes


def conversations(episodes: Path) -> list[list[dict[str, Any]]]:
    """The messages of every stored episode."""
    found = [
        list(episode.messages)
        for path in sorted(episodes.glob("episodes*.jsonl"))
        for episode in read_episodes(path)
    ]
    if not found:
        raise SystemExit(f"{episodes}: no episodes; delete this folder and run again")
    return found


def tool_results(episodes: Sequence[list[dict[str, Any]]]) -> list[list[str]]:
    """What the tools printed in each episode that used any."""
    found = [
        [message["content"] for message in messages if message["role"] == "tool"] for messages in episodes
    ]
    return [results for results in found if results]


def prepare(args: argparse.Namespace) -> Path:
    """Tokenise demonstrations and drills into `tokens.npz` (arrays tokens, weights, ends) beside the
    tokenizer.
    """
    import numpy as np

    from training_service.corpus import disguised, documents, drill, echo, vocabulary_of
    from training_service.vocabulary import build_tokenizer, load_tokenizer

    packed = Path(args.work / "tokens.npz")
    if packed.exists():
        return packed
    episodes = conversations(demonstrations(args))
    rng = random.Random(args.seed)
    rng.shuffle(episodes)
    results = tool_results(episodes)
    words = vocabulary_of(results)
    wanted = int(len(episodes) * args.drills / (1 - args.drills) * 1.2)  # drills are shorter than episodes
    kinds = (drill, echo)
    drills = [found for n in range(wanted) if (found := kinds[n % 2](rng.choice(results), words, rng))]
    folder = args.work / "tokenizer"
    if not (folder / "tokenizer.json").exists():
        sample = [
            json.dumps(messages, ensure_ascii=False).replace('\\"', '"').replace("\\n", "\n")
            for messages in episodes[:4000] + drills[:2000]
        ]
        build_tokenizer(sample).save_pretrained(folder)
    tokenizer = load_tokenizer(folder)
    mixed = [
        (rng.random() < args.disguised and disguised(episode, words, rng)) or episode for episode in episodes
    ] + drills
    rng.shuffle(mixed)
    done = list(documents(mixed, tokenizer))
    partial = packed.with_suffix(".partial.npz")
    np.savez(
        partial,
        tokens=np.concatenate([d.tokens for d in done]),
        weights=np.concatenate([d.weights for d in done]),
        ends=np.cumsum([len(d.tokens) for d in done]),
    )
    partial.rename(packed)
    print(
        f"{len(episodes)} episodes and {len(drills)} drills, {sum(len(d.tokens) for d in done):,} tokens",
        flush=True,
    )
    return packed


def padded(length: int) -> int:
    """Next multiple of 32: the fewer shapes there are, the more of the kernels and memory of former steps can
    be used again.
    """
    return -(-length // 32) * 32


def batches(sizes: Sequence[int], batch_tokens: int, rng: random.Random) -> Iterator[list[int]]:
    """Endless batches of document numbers: shuffled, alike in length within a batch, at most `batch_tokens`
    each when padded.
    """
    while True:
        order = sorted(range(len(sizes)), key=lambda number: (padded(sizes[number]), rng.random()))
        epoch: list[list[int]] = [[]]
        longest = 0
        for number in order:
            longest = max(longest, padded(sizes[number]))
            if epoch[-1] and (len(epoch[-1]) + 1) * longest > batch_tokens:
                epoch.append([])
                longest = padded(sizes[number])
            epoch[-1].append(number)
        rng.shuffle(epoch)
        yield from epoch


class Packed:
    """Documents read back from `tokens.npz`, as padded batches."""

    def __init__(self, path: Path, pad: int) -> None:
        import numpy as np

        data = np.load(path)
        self._tokens, self._weights, self._ends, self._pad = (
            data["tokens"],
            data["weights"],
            data["ends"],
            pad,
        )
        self._starts = np.concatenate([[0], self._ends[:-1]])
        self.sizes: list[int] = (self._ends - self._starts).tolist()

    def batch(self, numbers: Sequence[int]) -> tuple[Any, Any]:
        """Token ids and target weights of some documents, both (documents, longest); padding weighs nothing."""
        import torch

        shape = (len(numbers), padded(max(self.sizes[number] for number in numbers)))
        ids, weights = torch.full(shape, self._pad), torch.zeros(shape)
        for row, number in enumerate(numbers):
            part = slice(self._starts[number], self._ends[number])
            ids[row, : self.sizes[number]] = torch.from_numpy(self._tokens[part].astype("int64"))
            weights[row, : self.sizes[number]] = torch.from_numpy(self._weights[part].astype("float32"))
        return ids, weights


def repeats(pairs: Any, rng: random.Random, rows: int = 16) -> tuple[Any, Any]:
    """Random strings, each said several times over: ids and target weights, both (rows, length); the first
    saying is no target.

    The period differs from batch to batch, so that only looking for the same string helps, not counting back.
    """
    import torch

    dice = torch.Generator().manual_seed(rng.randrange(2**31))
    period = rng.randrange(6, 32)
    once = torch.stack([pairs[torch.randperm(len(pairs), generator=dice)[:period]] for _ in range(rows)])
    ids = once.repeat(1, max(2, 64 // period + 1))
    weights = torch.ones(ids.shape)
    weights[:, :period] = 1e-6
    return ids, weights


def network(tokenizer: Any) -> dict[str, Any]:
    """Keyword arguments of the LlamaConfig of the small model."""
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": WIDTH,
        "intermediate_size": INNER,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS,
        "attention_bias": True,
        "rope_parameters": {"rope_type": "default", "rope_theta": ROPE_THETA},
        "max_position_embeddings": tokenizer.model_max_length,
        "tie_word_embeddings": True,
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }


def train(args: argparse.Namespace, packed: Path) -> Any:
    """Imitation with Muon for matrices and AdamW for the rest, from the last checkpoint if there is one;
    returns the model.
    """
    import torch
    from tqdm import tqdm
    from transformers import LlamaConfig, LlamaForCausalLM

    from training_service.copy_circuit import install
    from training_service.vocabulary import load_tokenizer

    if args.threads:
        torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    tokenizer = load_tokenizer(args.work / "tokenizer")
    model = LlamaForCausalLM(LlamaConfig(**network(tokenizer)))
    install(model, args.seed)
    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
    chosen = {id(p) for p in matrices}
    others = [p for p in model.parameters() if id(p) not in chosen]
    optimizers = [
        torch.optim.Muon(matrices, lr=args.learning_rate, adjust_lr_fn="match_rms_adamw", weight_decay=0.0),
        torch.optim.AdamW(others, lr=args.learning_rate, betas=(0.9, 0.98), weight_decay=0.0),
    ]
    data = Packed(packed, int(tokenizer.pad_token_id))
    seen, step, checkpoint = 0, 0, Path(args.work) / "checkpoint.pt"
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        seen, step = state["seen"], state["step"]
    total, dice = int(args.tokens), random.Random(args.seed)
    pairs = torch.tensor(tokenizer.convert_tokens_to_ids([f"{value:02x}" for value in range(256)]))
    stream = batches(data.sizes, args.batch_tokens, dice)
    for _ in range(state["batches"] if step else 0):
        next(stream)
    read = state["batches"] if step else 0
    bar = tqdm(total=total, initial=seen, unit="tok", unit_scale=True, desc="pretrain", mininterval=5)
    average = None
    while seen < total:
        if seen < args.repeats:
            ids, mask = repeats(pairs, random.Random(step))
        else:
            ids, mask = data.batch(next(stream))
            read += 1
        rate = min(1.0, (step + 1) / 30) * max(0.02, 1 - seen / total)
        for optimizer, peak in zip(optimizers, (args.learning_rate, args.learning_rate / 2), strict=True):
            for group in optimizer.param_groups:
                group["lr"] = peak * rate
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = model(input_ids=ids[:, :-1], use_cache=False).logits
        losses = torch.nn.functional.cross_entropy(
            logits.float().flatten(0, 1), ids[:, 1:].flatten(), reduction="none"
        )
        target = mask[:, 1:].flatten()
        loss = (losses * target).sum() / target.sum()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        said = losses.detach()[target == 1.0].mean().item()
        average = said if average is None else 0.98 * average + 0.02 * said
        seen, step = seen + int((mask > 0).sum()), step + 1
        bar.update(seen - bar.n)
        bar.set_postfix(loss=f"{average:.3f}")
        if step % 100 == 0 or seen >= total:
            partial = checkpoint.with_suffix(".partial")
            states = [optimizer.state_dict() for optimizer in optimizers]
            torch.save(
                {
                    "model": model.state_dict(),
                    "optimizers": states,
                    "seen": seen,
                    "step": step,
                    "batches": read,
                },
                partial,
            )
            partial.rename(checkpoint)
            with (args.work / "pretrain.jsonl").open("a", encoding="utf-8") as log:
                log.write(json.dumps({"step": step, "tokens": seen, "loss": average}) + "\n")
    bar.close()
    return model


def command(args: argparse.Namespace) -> int:
    """Run every stage that is not done yet."""
    args.work.mkdir(parents=True, exist_ok=True)
    model = train(args, prepare(args))

    from training_service.model_card import publish
    from training_service.vocabulary import load_tokenizer

    publish(
        args,
        model,
        load_tokenizer(args.work / "tokenizer"),
        tool_results(conversations(args.work / "episodes")),
    )
    return 0
