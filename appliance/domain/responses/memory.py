"""What a connection remembers of the responses made on it, for those that follow: nobody else can
continue them, and they go with the connection.  Pure; bounded for the gateway as a whole.
"""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

from appliance.domain.responses.record import Item

MAX_RESPONSES = 16  # of one connection: a client continues the last one, or goes back a few


@dataclass(frozen=True, slots=True)
class Remembered:
    """`items` is all that was said up to its end, what it continued included; `size_bytes` is
    theirs."""

    items: tuple[Item, ...]
    conversation_id: str
    size_bytes: int


@dataclass(eq=False, slots=True)
class Memory:
    """One connection's; newest last."""

    shared: "Memories"
    responses: OrderedDict[str, Remembered] = field(default_factory=OrderedDict)

    def remember(self, response_id: str, response: Remembered) -> None:
        """Keep it, at the cost of older ones; too large a one is not kept."""
        self.forget(response_id)
        if response.size_bytes > self.shared.most_bytes:
            return
        self.responses[response_id] = response
        for oldest in list(islice(self.responses, max(len(self.responses) - MAX_RESPONSES, 0))):
            self.forget(oldest)
        self.shared.added(self, response_id, response.size_bytes)

    def recall(self, response_id: str) -> Remembered | None:
        """None for one that was not made here, or is forgotten."""
        return self.responses.get(response_id)

    def forget(self, response_id: str) -> None:
        """Without effect on one that is not known."""
        if self.responses.pop(response_id, None) is not None:
            self.shared.removed(self, response_id)

    def close(self) -> None:
        """Forget all."""
        for response_id in list(self.responses):
            self.forget(response_id)


class Memories:
    """Those of all connections: together no more than `most_bytes`, the oldest responses going
    first, whosever they are."""

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self.size_bytes = 0
        self._sizes: OrderedDict[tuple[Memory, str], int] = OrderedDict()

    def connection(self) -> Memory:
        """An empty one."""
        return Memory(self)

    def added(self, memory: Memory, response_id: str, size_bytes: int) -> None:
        """For a Memory: it keeps one more."""
        self._sizes[memory, response_id] = size_bytes
        self.size_bytes += size_bytes
        for owner, oldest in list(self._surplus()):
            owner.forget(oldest)

    def removed(self, memory: Memory, response_id: str) -> None:
        """For a Memory: it keeps one less."""
        self.size_bytes -= self._sizes.pop((memory, response_id), 0)

    def _surplus(self) -> Iterator[tuple[Memory, str]]:
        left = self.size_bytes
        for key, size in self._sizes.items():
            if left <= self.most_bytes:
                return
            left -= size
            yield key
