"""The rules answer anything, quickly, and as well on failures they were not written from as the bar asks."""

from __future__ import annotations

import time
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failure_analysis.logs.analyzer import NO_MODEL, LogAnalyzer
from failure_analysis.logs.rules import analyze, where
from failure_analysis.logs.scoring import answer, read_labelled
from failure_analysis.records import FailureCategory, Severity

BAR = 0.85


def test_the_labelled_set_is_large_varied_and_split() -> None:
    score, rules = read_labelled("score"), read_labelled("rules")
    assert len(score) + len(rules) >= 150
    assert len(score) >= 100
    both = {row.logs for row in score} & {row.logs for row in rules}
    assert not both
    for part in (score, rules):
        assert set(FailureCategory) == {row.failure_category for row in part}
        assert min(Counter(row.failure_category for row in part).values()) >= 9
        assert set(Severity) == {row.severity for row in part}


def test_category_and_severity_reach_the_bar_on_the_part_that_scores() -> None:
    answered = answer(read_labelled("score"), LogAnalyzer(NO_MODEL))
    assert sum(one.category_right for one in answered) / len(answered) >= BAR
    assert sum(one.severity_right for one in answered) / len(answered) >= BAR


@pytest.mark.parametrize(
    ("error", "logs", "category", "fix"),
    [
        ("ModuleNotFoundError: No module named 'peft'", "", FailureCategory.IMPORT_ERROR, "pip install peft"),
        (
            "",
            "step 3\ntorch.OutOfMemoryError: CUDA out of memory.",
            FailureCategory.RESOURCE_ERROR,
            "smaller batch",
        ),
        ("KeyError: 'WANDB_API_KEY'", "", FailureCategory.VALIDATION_ERROR, "environment variable"),
        ("no idea", "nothing here says anything", FailureCategory.RUNTIME_ERROR, "Read the log"),
    ],
)
def test_a_fix_names_what_the_text_names(error: str, logs: str, category: FailureCategory, fix: str) -> None:
    found = analyze("training_job", error, logs, "asked")
    assert found.failure_category is category
    assert fix in found.fix_suggestion
    assert (found.method, found.why_method) == ("rules", "asked")


@pytest.mark.parametrize(
    ("said", "category", "severity"),
    [
        ("Forbidden import from: torchvision", FailureCategory.VALIDATION_ERROR, Severity.HIGH),
        ("forbidden import", FailureCategory.VALIDATION_ERROR, Severity.HIGH),
        (
            "Forbidden import from: yaml; Forbidden attribute: eval",
            FailureCategory.VALIDATION_ERROR,
            Severity.HIGH,
        ),
        ("syntaxerror", FailureCategory.SYNTAX_ERROR, Severity.HIGH),
        ("SyntaxError: invalid syntax (<string>, line 3)", FailureCategory.SYNTAX_ERROR, Severity.HIGH),
        ("timeout", FailureCategory.TIMEOUT, Severity.MEDIUM),
        ("Execution timeout after 60 seconds", FailureCategory.TIMEOUT, Severity.MEDIUM),
        ("not better than", FailureCategory.LOGIC_ERROR, Severity.LOW),
        (
            "Result not better than the current best: 31.2 dB < 33.0 dB",
            FailureCategory.LOGIC_ERROR,
            Severity.LOW,
        ),
    ],
)
def test_generated_code_fails_as_the_first_analyzer_of_this_kind_said(
    said: str, category: FailureCategory, severity: Severity
) -> None:
    found = analyze("llm_generated_code", said, "", "")
    assert (found.failure_category, found.severity) == (category, severity)


def test_code_that_a_sandbox_refuses_is_told_to_use_only_allowed_libraries() -> None:
    found = LogAnalyzer(NO_MODEL).analyze_failure(
        experiment_id="test_1234",
        experiment_type="llm_generated_code",
        error_message="Forbidden import from: torchvision; Forbidden attribute: eval",
        logs="Validating generated code\nForbidden import from: torchvision; Forbidden attribute: eval\n",
        code_snippet="import torch\nimport torchvision\nmodel.eval()",
    )
    assert found["failure_category"] == "validation_error"
    assert found["severity"] == "high"
    assert "torchvision" in found["root_cause"]
    assert "use only allowed libraries" in found["fix_suggestion"].lower()
    assert "torchvision" in found["fix_suggestion"]


@pytest.mark.parametrize(
    "said",
    ["HTTP 429", '{"status": 429}', "Error code: 429", "attempt 1 of 5: 429, waiting", '"POST /v1/x HTTP/1.1" 429 12', "got 429",
     "429 Client Error"],
)  # fmt: skip
def test_a_status_is_a_rate_limit(said: str) -> None:
    assert analyze("log", said, "", "").failure_category is FailureCategory.RESOURCE_ERROR


@pytest.mark.parametrize(
    "said",
    ["log 429", "order 429 not found", "processed 429 rows, then crashed", "Error: 429 rows lost", "[429/1000] boom", "step 413",
     "took 422 ms", "trace e123 crashed", "3fa2429b failed"],
)  # fmt: skip
def test_a_number_or_an_id_is_no_status(said: str) -> None:
    assert analyze("log", said, "", "").failure_category is FailureCategory.RUNTIME_ERROR


def test_the_cause_quotes_the_error_and_the_fix_names_our_own_line() -> None:
    logs = 'File "/app/cart.py", line 12, in total\n  File "/venv/site-packages/lib/x.py", line 9, in y\nKeyError: 7'
    found = analyze("log", "KeyError: 7", logs, "")
    assert found.root_cause == "KeyError: 7"
    assert found.fix_suggestion.endswith("(at /app/cart.py:12)")
    assert where("nothing") == ""


@given(st.text(max_size=300), st.text(max_size=300), st.text(max_size=20))
def test_any_text_gets_an_answer(error: str, logs: str, kind: str) -> None:
    found = analyze(kind, error, logs, "")
    assert found.root_cause
    assert found.fix_suggestion


@pytest.mark.parametrize(
    "piece",
    [
        "retry ",
        "expected ",
        "want ",
        "attempt 2 ",
        "error ",
        "get ",
        "get a ",
        "a/b.py:1 ",
        'File "',
        "E ",
        "status ",
        "\n",
        "a.b.",
    ],
)
def test_hostile_text_of_the_longest_kind_takes_no_more_than_a_few_seconds(piece: str) -> None:
    text = (piece * 5000)[:5000]
    started = time.process_time()
    analyze("log", text[:2000], text, "")
    assert time.process_time() - started < 5
