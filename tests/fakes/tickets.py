"""Tickets as a journal hands them out, without a journal."""

from pathlib import Path

import msgspec

from appliance.domain.events.exchange import Exchange
from appliance.infra.spool.folder import claim
from appliance.infra.spool.frames import frame
from appliance.infra.spool.journal import Journal, Segment, Ticket


def ticket(directory: Path, exchange: Exchange) -> Ticket:
    """One for `exchange`, in a segment of its own on the disk below `directory`."""
    payload = msgspec.json.encode(exchange)
    folder = claim(directory)
    path = folder.segment(1)
    path.write_bytes(frame(payload))
    size = path.stat().st_size
    made = Ticket(Journal(folder), Segment(1, path, size, 0.0, sealed=True), size, payload, None)
    made.conversation = exchange.conversation_id
    return made
