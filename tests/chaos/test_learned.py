"""Classifiers of rows learn what words can tell, cannot learn what they cannot, and
never look at the answer.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from chaos.baselines.features import TOLD, rows_of
from chaos.baselines.learned import fit
from chaos.baselines.measuring import measure, over_the_bar
from core.judges.offline import OfflineJudge
from project_types import ConfigurationError, LevelName, LogRecord, Scenario
from tests.builders.generated import pair
from tests.builders.scenarios import INCIDENT

START = datetime(2026, 3, 1, 14, 0, tzinfo=UTC)
SERVICES = ("gateway", "orders", "ledger", "mailer")
HARMLESS = ("cart of user {n} saved", "picture {n} resized", "mail {n} sent", "session {n} continued")


def row(number: int, service: str, level: LevelName, message: str) -> LogRecord:
    return LogRecord(
        id=f"r{number:03}",
        timestamp=START + timedelta(seconds=number),
        service=service,
        level=level,
        message=message,
    )


def told_by_words(seed: int) -> Scenario:
    """A scenario whose cause is always worded alike, at a drawn service."""
    dice = random.Random(seed)
    culprit = dice.choice(SERVICES)
    logs = [
        row(number, dice.choice(SERVICES), "INFO", dice.choice(HARMLESS).format(n=number))
        for number in range(20)
    ]
    logs.append(row(30, culprit, "WARN", f"volume at {dice.randint(90, 99)} %, writes refused"))
    logs.append(row(31, "gateway", "ERROR", f"call to {culprit} failed: status 500"))
    truth = INCIDENT.ground_truth.model_copy(
        update={
            "service": culprit,
            "evidence": (),
            "evidence_log_ids": ("r030",),
            "evidence_trace_ids": (),
            "propagation_path": (culprit,),
        }
    )
    return INCIDENT.model_copy(
        update={
            "id": f"s{seed}",
            "services": SERVICES,
            "logs": tuple(logs),
            "spans": (),
            "ground_truth": truth,
        }
    )


@pytest.mark.slow
async def test_what_words_tell_is_learnt_and_passes_the_bar() -> None:
    found = fit(told_by_words(seed) for seed in range(24))
    asked = [told_by_words(seed) for seed in range(100, 112)]
    table = await measure(asked, OfflineJudge(), {"words": found.words, "complaints": found.complaints})
    assert table["word n-grams"].slices["all"].service.value == 1.0
    assert table["gradient boosting: all row features"].slices["all"].service.value == 1.0
    assert any("word n-grams" in complaint for complaint in over_the_bar(table))


@pytest.mark.slow
async def test_of_twins_that_share_their_rows_words_never_get_both_right() -> None:
    pairs = [pair(seed, fault) for seed, fault in enumerate(["disk_full", "dns_failure", "lock_contention"])]
    asked = [scenario for both in pairs for scenario in both]
    found = fit(asked)  # even with the answers in hand
    table = await measure(asked, OfflineJudge(), {"words": found.words})
    for name, line in table.items():
        assert line.twins is not None
        assert line.twins.value == 0.0, name


@pytest.mark.slow
def test_a_rule_never_looks_at_the_answer() -> None:
    found = fit(told_by_words(seed) for seed in range(24))
    asked = told_by_words(200)
    other = asked.ground_truth.model_copy(update={"evidence_log_ids": ("r001",), "evidence": ()})
    for rule in {**found.words, **found.complaints}.values():
        blamed = [
            rule(one, random.Random(0)) for one in (asked, asked.model_copy(update={"ground_truth": other}))
        ]
        assert blamed[0] == blamed[1]


def test_complaints_are_rows_of_other_services_that_name_the_service() -> None:
    logs = (
        row(1, "gateway", "ERROR", "call to orders failed"),
        row(2, "orders", "WARN", "orders waits for ledger"),
        row(3, "ledger", "INFO", "orders asked"),
    )
    told = rows_of(INCIDENT.model_copy(update={"services": SERVICES, "logs": logs})).told
    by_service = {
        one.service: dict(zip(TOLD, values, strict=True)) for one, values in zip(logs, told, strict=True)
    }
    assert by_service["orders"]["complaints"] == by_service["orders"]["complaints at ERROR"] == 1
    assert (by_service["orders"]["own complaints"], by_service["orders"]["balance"]) == (1, 0)
    assert (by_service["ledger"]["complaints"], by_service["ledger"]["complaints about complainers"]) == (
        1,
        1,
    )
    assert not np.any(told[0, :3])


def test_too_few_decisive_rows_to_learn_from_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="--train"):
        fit([told_by_words(1)])
