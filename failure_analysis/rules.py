"""The former address of `failure_analysis.logs.rules`, kept for programs that import it from here."""

from failure_analysis.logs.rules import analyze, error_line, where

__all__ = ["analyze", "error_line", "where"]
