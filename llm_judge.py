"""The former address of `core.judges.llm`, kept for programs that import it from here."""

from core.judges.llm import LLMJudge

__all__ = ["LLMJudge"]
