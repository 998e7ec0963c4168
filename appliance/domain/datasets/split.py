"""On which side of a dataset a pair is.  Pure.

The side is drawn by a hash of what the pair itself says, never of the others: it stays where it is
whatever is added or removed, and a larger share only adds to validation.
"""

import hashlib
from typing import Literal

from appliance.domain.datasets.pair import Context, Pair, normalised, said

Side = Literal["train", "validation"]
SIDES: tuple[Side, ...] = ("train", "validation")
_SALT = b"appliance dataset split 1\0"  # another one moves every pair


def side_of(pair: Pair, context: Context, share: float) -> Side:
    """`share` is that of validation, from 0 on and below 1."""
    digest = hashlib.sha256(_SALT + _root(pair, context).encode()).digest()
    return "validation" if int.from_bytes(digest[:8], "big") < share * 2**64 else "train"


def _root(pair: Pair, context: Context) -> str:
    """What all pairs have in common that must not be torn apart.

    Of pairs, the prompt: two answers to one question.  Of conversations, the one the caller named,
    else how it began: clients send the whole of it again with every turn, each under an id of its
    own.
    """
    if context == "pair":
        return f"prompt {normalised(pair.prompt)}"
    if pair.names_conversation:
        return f"conversation {pair.conversation_id}"
    asked = said([m for m in pair.messages if m["role"] == "user"][:1])
    return f"opening {normalised(asked[0] if asked else pair.prompt)}"
