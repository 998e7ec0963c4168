"""What the model made of texts, for when the same come again.  Used by `ranking.py`; pure.

Those who rerank send the same passages with one query after the other, and a call that ran out of
time is made again.  Nothing but the model costs anything there: 99 % of the time of 100 documents.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

from appliance.infra.onnx.encoder import Direction

Key = bytes


@dataclass(frozen=True, slots=True)
class Read:
    """A text's vector, a row of float32, and how many tokens of it were read."""

    row: bytes
    tokens: int


class Remembered:
    """At most `most` of them; the one unused for longest is forgotten first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._read: OrderedDict[Key, Read] = OrderedDict()

    def get(self, key: Key) -> Read | None:
        """None for a text that is not known."""
        if key in self._read:
            self._read.move_to_end(key)
        return self._read.get(key)

    def put(self, key: Key, read: Read) -> None:
        """Known from now on."""
        self._read[key] = read
        self._read.move_to_end(key)
        if len(self._read) > self._most:
            self._read.popitem(last=False)


def keys(texts: Sequence[str], *, truncate: bool, direction: Direction) -> list[Key]:
    """One a text, of all that its vector depends on."""
    how = f"{direction}{truncate}".encode()
    return [
        blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16, key=how).digest()
        for text in texts
    ]
