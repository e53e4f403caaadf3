"""Make a judge: calibrate it on labelled reports, register it when it is good enough, load it by name.

    python make_judge_model.py --model offline
    python make_judge_model.py --model litellm/gpt-4o-mini --name house-judge
    python make_judge_model.py --wandb --base-model OpenPipe/Qwen3-14B-Instruct --name house-judge

`JUDGE_MODEL` then names it. The two judges live in `core.judges.offline` (no key, the default) and
`core.judges.llm`; both are `project_types.Judge`. What makes one good enough is in `core.judges.calibration`.
Not covered: training a judge; what a verdict is worth (`rollout.reward`).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from core import command_line
from core.art_versions import model_names
from core.files import replace_file
from core.judges.calibration import (
    CALIBRATION,
    Calibration,
    calibrate,
    labelled_pairs,
    read_calibration,
    table,
)
from core.judges.flips import flips, told
from core.judges.llm import PROMPT_VERSION, RUBRIC, LLMJudge
from core.judges.offline import OfflineJudge
from core.model_calls import load_litellm
from project_types import ConfigurationError, Frozen, Judge, JudgeError, Report, Scenario

__all__ = [
    "Calibration",
    "LLMJudge",
    "OfflineJudge",
    "calibrate",
    "check_judge",
    "load_judge",
    "main",
    "read_calibration",
]

REGISTRY = Path("judges.json")
CACHE = Path(".cache") / "judge_verdicts.sqlite3"
WANDB_BASE_URL = "https://api.training.wandb.ai/v1"

# ----------------------------------------------------------------------------------------- names and registry


class Registered(Frozen):
    """A judge that passed: how to reach it, and what it scored."""

    model: str
    """'offline', or a litellm name."""
    api_base: str | None = None
    prompt_version: str = PROMPT_VERSION
    calibration: Calibration


def read_registry(path: Path = REGISTRY) -> dict[str, Registered]:
    """Registered judges by name; none when the file does not exist. Raises ConfigurationError when it is
    damaged.
    """
    if not path.exists():
        return {}
    try:
        return {
            name: Registered.model_validate(entry)
            for name, entry in json.loads(path.read_text(encoding="utf-8")).items()
        }
    except (OSError, ValueError, AttributeError) as trouble:
        raise ConfigurationError(
            f"judge registry {path} cannot be read ({str(trouble)[:200]}); delete it and calibrate again"
        ) from trouble


def register(name: str, entry: Registered, path: Path = REGISTRY) -> None:
    """Add or replace one entry; the file is replaced whole, so a reader never sees half of it."""
    entries = {**read_registry(path), name: entry}
    path.parent.mkdir(parents=True, exist_ok=True)
    told = {key: value.model_dump(mode="json") for key, value in entries.items()}
    replace_file(path, json.dumps(told, indent=1).encode())


def load_judge(
    name: str,
    *,
    registry: Path = REGISTRY,
    cache: Path | None = CACHE,
    environ: Mapping[str, str] = os.environ,
) -> Judge:
    """The judge that `JUDGE_MODEL` names: 'offline', a registered name, 'wandb:ENTITY/PROJECT/NAME', or any
    litellm name.

    `JUDGE_API_BASE` and `JUDGE_API_KEY` say where an LLM judge is reached; a registered base URL comes
    second.

    Raises:
        ConfigurationError: nothing goes by that name.
    """
    name = name.strip()
    api_base, api_key = environ.get("JUDGE_API_BASE") or None, environ.get("JUDGE_API_KEY") or None
    if name.casefold() == "offline":
        return OfflineJudge()
    if entry := read_registry(registry).get(name):
        if entry.model == "offline":
            return OfflineJudge()
        model, api_base = entry.model, api_base or entry.api_base
    elif name.startswith(("wandb:", "wandb-artifact:")):
        model = "openai/wandb-artifact:///" + name.split(":", 1)[1].lstrip("/")
        api_base = api_base or WANDB_BASE_URL
    else:
        model = litellm_name(name, registry)
    if "wandb-artifact:" in model:
        api_key = api_key or environ.get("WANDB_API_KEY") or None
    if entry is None or entry.prompt_version != PROMPT_VERSION:
        warnings.warn(
            f"judge {name!r} is not calibrated with this prompt; run: python make_judge_model.py --model {name}",
            stacklevel=2,
        )
    return LLMJudge(model, name=name, api_base=api_base, api_key=api_key, cache=cache)


def litellm_name(name: str, registry: Path) -> str:
    """The name as litellm takes it. Raises ConfigurationError when litellm knows no provider for it."""
    litellm = load_litellm()
    model = name.removeprefix("litellm/")
    try:
        litellm.get_llm_provider(model)
    except litellm.BadRequestError as trouble:
        known = ", ".join(dict.fromkeys(["offline", *read_registry(registry)]))
        raise ConfigurationError(
            f"JUDGE_MODEL={name!r} names no judge; use {known}, or a litellm name such as litellm/openai/gpt-4o-mini"
        ) from trouble
    return model


async def check_judge(judge: Judge) -> None:
    """Ask the judge about a known right and a known wrong report, before any rollout is paid for. Raises
    JudgeError.
    """
    scenario = next(labelled_pairs()).scenario  # no need to read the other 600
    right = await judge.verdict(scenario, scenario.gold_report)
    wrong = await judge.verdict(scenario, scenario.distractors[0].report)
    if not right.correct or wrong.correct:
        missed = (
            f"rejects a right report ({right.reason})"
            if not right.correct
            else f"accepts a wrong report ({wrong.reason})"
        )
        raise JudgeError(
            f"judge {judge.name!r} {missed}; see how it does: python make_judge_model.py --model {judge.name}"
        )


# ---------------------------------------------------------------------------------------------- W&B, if asked


async def register_model(args: argparse.Namespace, environ: Mapping[str, str]) -> LLMJudge:
    """Register the judge as a model of its own through ART's serverless backend.

    Returns:
        The judge that asks this model, where it is served.

    Raises:
        ConfigurationError: the service refuses or cannot be reached.
    """
    load_litellm()  # before ART, which imports litellm and would let it fetch its price list
    import art
    from art.serverless.backend import ServerlessBackend
    from openai import OpenAIError

    key = environ.get("JUDGE_API_KEY") or environ.get("WANDB_API_KEY")
    if not key:
        raise ConfigurationError(
            "--wandb needs a key; set WANDB_API_KEY, or pass --api-key (any text for a local training service)"
        )
    base_url = environ.get("JUDGE_API_BASE") or WANDB_BASE_URL
    backend = ServerlessBackend(api_key=key, base_url=base_url)
    model = art.TrainableModel(
        **model_names(args.name or "judge"),
        project=args.project,
        entity=args.entity,
        base_model=args.base_model,
    )
    try:
        await model.register(backend)
        inference_name = model.get_inference_name()
    except OpenAIError as trouble:
        raise ConfigurationError(
            f"{base_url} did not register the judge ({trouble}); check --base-url and the key"
        ) from trouble
    finally:
        await backend.close()
    print(f"inference name: {inference_name}", file=sys.stderr)
    return LLMJudge(
        f"openai/{inference_name}", name=model.name, api_base=base_url, api_key=key, cache=args.cache
    )


def prepare_wandb() -> None:
    """To be called before anything imports wandb or weave: neither reports its own errors to a third party
    unless the user wants it, and wandb starts no Weave by itself.
    """
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    os.environ.setdefault("WANDB_DISABLE_WEAVE", "true")


def weave_judge(judge: LLMJudge, result: Calibration) -> Any:
    """The judge as a weave Model: its model, prompt and calibration are the fields that weave versions."""
    prepare_wandb()
    import weave

    class JudgeModel(weave.Model):  # type: ignore[misc]
        model: str
        rubric: str
        prompt_version: str
        accuracy: float
        kappa: float

        @weave.op  # type: ignore[untyped-decorator]
        async def predict(self, scenario: dict[str, Any], report: dict[str, Any]) -> dict[str, Any]:
            verdict = await judge.verdict(Scenario.model_validate(scenario), Report.model_validate(report))
            return verdict.model_dump()

    fields = {
        "rubric": RUBRIC,
        "prompt_version": PROMPT_VERSION,
        "accuracy": result.accuracy,
        "kappa": result.kappa,
    }
    return JudgeModel(name=judge.name, model=judge.model, **fields)


def publish(judge: LLMJudge, result: Calibration, project: str) -> str:
    """Publish the judge as a versioned weave object; the reference to it. Needs W&B to be configured."""
    model = weave_judge(judge, result)
    import weave

    if weave.get_client() is None:
        weave.init(project)
    return str(weave.publish(model, name=re.sub(r"[^A-Za-z0-9]+", "-", f"judge-{judge.name}")).uri())


# ---------------------------------------------------------------------------------------------------- command


PROGRAM = "python make_judge_model.py"
EPILOG = """examples:
  python make_judge_model.py --model litellm/openai/gpt-4.1-mini
  python make_judge_model.py --model litellm/openai/gpt-4.1-mini --dry-run

exit codes: 0 registered, 1 refused (see the confusion table), 2 bad use. Afterwards: JUDGE_MODEL=NAME"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = command_line.parser(
        PROGRAM, "Calibrate a judge on labelled reports and register it when it is good enough.", EPILOG
    )
    made.add_argument(
        "--model", help="offline, litellm/NAME, wandb:ENTITY/PROJECT/NAME, or a registered name"
    )
    made.add_argument("--name", help="name to register it by (default: what --model says)")
    made.add_argument(
        "--bar",
        type=_share,
        default=0.95,
        help="accuracy below which the judge is refused (default %(default)s)",
    )
    made.add_argument(
        "--calibration",
        type=Path,
        default=CALIBRATION,
        help="labelled pairs, JSON lines (default %(default)s)",
    )
    made.add_argument(
        "--registry", type=Path, default=REGISTRY, help="file of registered judges (default %(default)s)"
    )
    made.add_argument("--cache", type=Path, default=CACHE, help="verdicts asked before (default %(default)s)")
    made.add_argument(
        "--no-cache", dest="cache", action="store_const", const=None, help="ask every question anew"
    )
    made.add_argument(
        "--base-url",
        help="where the judge is served (default: JUDGE_API_BASE, then what litellm or W&B knows)",
    )
    made.add_argument(
        "--api-key",
        help="key for it, never stored (default: JUDGE_API_KEY, then the provider's own variable)",
    )
    made.add_argument(
        "--flips",
        type=int,
        default=0,
        metavar="N",
        help="ask a model about N pairs in two other ways and count the verdicts that change (default 0)",
    )
    made.add_argument("--json", action="store_true", help="print the calibration as JSON")
    made.add_argument(
        "--dry-run", action="store_true", help="say how many questions would be asked, and ask none"
    )
    wandb = made.add_argument_group("a judge of its own on the serverless service, next to the policy")
    wandb.add_argument(
        "--wandb",
        action="store_true",
        help="register it as a model through ServerlessBackend and calibrate that",
    )
    wandb.add_argument("--base-model", help="base model of the judge, required with --wandb")
    wandb.add_argument("--project", default="log-investigator", help="W&B project (default %(default)s)")
    wandb.add_argument("--entity", help="W&B entity (default: that of the key)")
    return made


def _share(text: str) -> float:
    share = float(text)
    if not 0 < share <= 1:
        raise argparse.ArgumentTypeError(f"{text} is no accuracy; give one above 0 and up to 1")
    return share


async def run(args: argparse.Namespace) -> int:
    """Calibrate as the arguments say; 0 when the judge was registered, 1 when it was refused."""
    pairs = read_calibration(args.calibration)
    if args.dry_run:
        print(
            f"{len(pairs)} questions for {args.model or args.base_model}, bar {args.bar:g}; nothing was asked"
        )
        return 0
    given = {"JUDGE_API_BASE": args.base_url, "JUDGE_API_KEY": args.api_key}
    environ = {**os.environ, **{key: value for key, value in given.items() if value}}
    if args.wandb:
        judge: Judge = await register_model(args, environ)
    else:
        with warnings.catch_warnings(action="ignore"):  # that it is not calibrated is why we are here
            judge = load_judge(args.model, registry=args.registry, cache=args.cache, environ=environ)
    name = args.name or args.model or judge.name
    from tqdm import tqdm

    with tqdm(total=len(pairs), desc="calibrating", file=sys.stderr, disable=None) as bar:
        result = await calibrate(judge, pairs, bar.update)
    objections = result.objections(args.bar)
    print(
        json.dumps({**result.model_dump(mode="json"), "objections": objections}, indent=1)
        if args.json
        else table(result)
    )
    if objections:
        print(f"\nrefused: {'; '.join(objections)}", file=sys.stderr)
        return 1
    llm = judge if isinstance(judge, LLMJudge) else None
    if llm and args.flips > 0:
        print(told(await flips(llm, pairs[-args.flips :])), file=sys.stderr)
    register(
        name,
        Registered(
            model=llm.model if llm else "offline", api_base=llm.api_base if llm else None, calibration=result
        ),
        args.registry,
    )
    print(f"\nregistered in {args.registry}; use it with JUDGE_MODEL={name}", file=sys.stderr)
    if llm and os.environ.get("WANDB_API_KEY"):
        try:
            print(f"published {publish(llm, result, args.project)}", file=sys.stderr)
        except (
            Exception
        ) as trouble:  # any of three packages' errors: the judge is registered, only Weave does not show it
            print(
                f"not published to Weave ({trouble}); run this again to publish, its verdicts are kept",
                file=sys.stderr,
            )
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns the exit code."""
    return command_line.run(PROGRAM, lambda: int(asyncio.run(run(_arguments(argv)))))


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    options = parser()
    args = options.parse_args(argv)
    if args.wandb and not args.base_model:
        options.error("--wandb needs --base-model, the model to register the judge from")
    if bool(args.model) == args.wandb:
        options.error("name the judge with --model, or make one with --wandb --base-model")
    return args


if __name__ == "__main__":
    sys.exit(main())
