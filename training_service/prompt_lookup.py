"""Guesses of the tokens that come next, from what was read and written before: prompt lookup decoding.

An answer about a log repeats the log: ids, names, whole lines. So when the last few tokens stand further up as
well, what followed there is likely to follow here. The model reads a guess together with the last token, in
one step that takes little longer, since most of a step goes into reading the weights. The next tokens are
then drawn one after the other, as ever. While they are those of the guess they are already read. So a guess
changes how long a reply takes, and not what it says, up to rounding.

Speculative decoding with the text itself as the draft model (Leviathan et al. 2023; Saxena 2023). Not here:
reading and drawing (`generation`).
"""

from __future__ import annotations

import numpy as np

from training_service.prefix_tree import Tokens

ALIKE = (3, 2)
"""How many last tokens are looked for further up; more say more."""
NO_GUESS: Tokens = np.zeros(0, dtype=np.int32)


def guess(tokens: Tokens, most: int) -> Tokens:
    """Return at most `most` tokens that may follow; none where the last two tokens [of T] are new."""
    for length in ALIKE if most > 0 else ():
        if len(tokens) <= length:
            continue
        place = _last_place(tokens[:-1], tokens[-length:])
        if place >= 0:
            return tokens[place + length : place + length + most]
    return NO_GUESS


def _last_place(tokens: Tokens, wanted: Tokens) -> int:
    """Return where a run of tokens begins that stands last among these; -1 for nowhere."""
    ends = len(tokens) - len(wanted) + 1
    same = np.ones(ends, dtype=bool)
    for offset, token in enumerate(wanted):
        same &= tokens[offset : offset + ends] == token
    found = np.flatnonzero(same)
    return int(found[-1]) if len(found) else -1
