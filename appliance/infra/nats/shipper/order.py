"""One exchange of a conversation under way at a time, so that the stream has them in their order.

A message that is refused, or whose ack is lost, is sent again later: whatever of its conversation
was sent meanwhile would have overtaken it, and rows order a conversation by stream sequence.  Pure.
"""

from collections import deque
from typing import Final

from appliance.infra.spool.journal import Ticket

HELD_BYTES: Final = 4 * 1024 * 1024


class Order:
    """`held` counts the records that wait for an earlier one of their conversation.

    Behind one that goes its way they wait in memory, for milliseconds, up to HELD_BYTES; behind one
    that is parked, for however long that takes, on the disk alone."""

    def __init__(self) -> None:
        self.held = 0
        self._bytes = 0
        self._busy: dict[str, deque[Ticket] | None] = {}
        self._parked: set[str] = set()

    @property
    def full(self) -> bool:
        """No more should be taken before some have gone."""
        return self._bytes >= HELD_BYTES

    def enter(self, ticket: Ticket) -> bool:
        """True: `ticket` may go, and its conversation is busy until `leave`.  False: it is held."""
        conversation = ticket.conversation
        if not conversation:
            return True
        if conversation not in self._busy:
            self._busy[conversation] = None
            return True
        queue = self._busy[conversation]
        if queue is None:
            queue = self._busy[conversation] = deque()
        if conversation in self._parked:
            ticket.cool()
        self._bytes += len(ticket.payload)
        queue.append(ticket)
        self.held += 1
        return False

    def park(self, ticket: Ticket) -> None:
        """`ticket` waits for more than an ack, and so does whatever follows it."""
        if not ticket.conversation:
            return
        self._parked.add(ticket.conversation)
        for following in self._busy.get(ticket.conversation) or ():
            self._bytes -= len(following.payload)
            following.cool()

    def leave(self, ticket: Ticket) -> Ticket | None:
        """`ticket` is in the stream, or given up; the next one of its conversation may go, if there
        is one."""
        self._parked.discard(ticket.conversation)
        queue = self._busy.get(ticket.conversation)
        if queue:
            self.held -= 1
            following = queue.popleft()
            self._bytes -= len(following.payload)
            return following
        self._busy.pop(ticket.conversation, None)
        return None
