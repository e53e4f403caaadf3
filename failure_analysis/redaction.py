"""The former address of `core.redaction`, kept for programs that import it from here."""

from core.redaction import redact, redacted_end, redacted_message

__all__ = ["redact", "redacted_end", "redacted_message"]
