"""Terminal escapes taken out of a text, also where a program wrote them as letters, and
characters without width.

A log keeps what a program sent to a terminal: colours, erased lines, links. JUnit files and JSON spell the
same as `#x1B[33m` or `\\u001b[33m`. They hide a secret behind a name, and an error behind a colour.
"""

from __future__ import annotations

import re

_ESCAPE = r"(?:\x1b|\u241b|\^\[(?=[\[\]])|#x1[bB];?|&#(?:27|x1[bB]);|\\+u001[bB]|\\+x1[bB]|\\+033|\\+e(?=\[)|%1[bB](?=%5[bB]|\[))"
_PATTERN = re.compile(
    rf"{_ESCAPE}\[8mha:[A-Za-z0-9+/=:]{{0,20000}}{_ESCAPE}\[0m"  # what Jenkins hides in its console
    rf"|{_ESCAPE}(?:\[|%5[bB])[0-?]{{0,60}}[ -/]{{0,4}}[@-~]"
    rf"|{_ESCAPE}\][^\x07\x1b\n]{{0,2000}}?(?:\x07|{_ESCAPE}\\{{1,2}}|\\+u0007|\\+a|\\+x07|(?=\n|\Z))"
    r"|\x1b[PX^_][^\x1b]{0,2000}\x1b\\|\x1b[ -/]{1,2}[0-~]|\x1b[0-~]|\x9b[0-?]{0,60}[@-~]"
)
_WIDTHLESS = re.compile("[\u00ad\u180e\u200b-\u200f\u2060-\u2064\u202a-\u202e\u2066-\u2069\ufeff]")


def plain(text: str) -> str:
    """The text as a person reads it: no escapes, no characters without width."""
    return _WIDTHLESS.sub("", _PATTERN.sub("", text))
