"""Counters of served adapters: what worked, what failed, and the text that Prometheus reads."""

from __future__ import annotations

import logging

import pytest

from alignment.serving_metrics import Meter


async def test_work_is_counted_by_adapter_kind_and_outcome(caplog: pytest.LogCaptureFixture) -> None:
    meter = Meter()

    async def works() -> str:
        return "four words were said"

    async def fails() -> str:
        raise OSError("the disk is full")

    with caplog.at_level(logging.INFO):
        assert await meter.measured("one@v1", "chat", works, lambda said: len(said.split())) == await works()
        with pytest.raises(OSError, match="disk"):
            await meter.measured("two@v1", "triage", fails)
    text = meter.text()
    assert 'alignment_requests_total{adapter="one@v1",kind="chat",outcome="ok"} 1' in text
    assert 'alignment_requests_total{adapter="two@v1",kind="triage",outcome="failed"} 1' in text
    assert 'alignment_written_tokens_total{adapter="one@v1",kind="chat"} 4' in text
    assert text.count("# TYPE") == 3
    assert "chat by one@v1: ok, 4 tokens" in caplog.text
